// SPDX-License-Identifier: Apache-2.0
import "./app.css";
import { RendererProvider, createDOMRenderer } from "@fluentui/react-components";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { createPortalQueryClient } from "./api/queryClient";
import { pageNonce } from "./nonce";
import { createPortalRouter } from "./router";
import { Themed } from "./theme/Themed";

const nonce = pageNonce();
const renderer = createDOMRenderer(document, nonce ? { styleElementAttributes: { nonce } } : {});
const queryClient = createPortalQueryClient();
const router = createPortalRouter(queryClient);
const root = document.getElementById("root");

if (root) {
  createRoot(root).render(
    <StrictMode>
      <RendererProvider renderer={renderer} targetDocument={document}>
        <QueryClientProvider client={queryClient}>
          <Themed>
            <RouterProvider router={router} />
          </Themed>
        </QueryClientProvider>
      </RendererProvider>
    </StrictMode>,
  );
}
