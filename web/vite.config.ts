// SPDX-License-Identifier: Apache-2.0
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const server = process.env.PICKET_URL ?? "http://127.0.0.1:8443";

export default defineConfig({
  plugins: [react()],
  // The server replaces the placeholder with a fresh nonce in every answer.
  html: { cspNonce: "__CSP_NONCE__" },
  build: {
    target: "es2023",
    assetsInlineLimit: 0, // data: URLs would need a weaker content security policy
    modulePreload: { polyfill: false }, // every browser of the target preloads by itself
    chunkSizeWarningLimit: 900,
    reportCompressedSize: true,
  },
  server: {
    host: "127.0.0.1",
    proxy: { "/api": { target: server, secure: false } },
  },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
