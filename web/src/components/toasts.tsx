// SPDX-License-Identifier: Apache-2.0
import { Toast, ToastBody, ToastTitle, useToastController } from "@fluentui/react-components";
import { useCallback } from "react";

export const toasterId = "toaster";

/** Short messages at the corner: one for what went well, one for what did not. */
export function useToasts(): { done: (text: string) => void; failed: (what: string, error: unknown) => void } {
  const { dispatchToast } = useToastController(toasterId);
  const done = useCallback(
    (text: string) => dispatchToast(<Toast><ToastTitle>{text}</ToastTitle></Toast>, { intent: "success", timeout: 3000 }),
    [dispatchToast],
  );
  const failed = useCallback(
    (what: string, error: unknown) =>
      dispatchToast(
        <Toast>
          <ToastTitle>{what}</ToastTitle>
          <ToastBody>{error instanceof Error ? error.message : String(error)}</ToastBody>
        </Toast>,
        { intent: "error", timeout: 8000 },
      ),
    [dispatchToast],
  );
  return { done, failed };
}
