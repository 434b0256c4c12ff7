// SPDX-License-Identifier: Apache-2.0
import { Toast, ToastBody, ToastTitle, useToastController } from "@fluentui/react-components";
import { useEffect, useRef } from "react";
import type { LiveState } from "../api/live";
import { toasterId } from "../components/toasts";

const id = "connection";

/** Says when the connection to the server is lost for longer than a moment, and when it is back. */
export function ConnectionToast({ state }: { state: LiveState }) {
  const { dispatchToast, dismissToast } = useToastController(toasterId);
  const shown = useRef(false);
  useEffect(() => {
    if (state === "open" && shown.current) {
      shown.current = false;
      dismissToast(id);
      dispatchToast(<Toast><ToastTitle>Connected again</ToastTitle></Toast>, { intent: "success", timeout: 3000 });
    }
    if (state !== "lost" || shown.current) {
      return;
    }
    const timer = setTimeout(() => {
      shown.current = true;
      dispatchToast(
        <Toast>
          <ToastTitle>Connection to the server lost</ToastTitle>
          <ToastBody>What you see may be out of date. Trying to connect again.</ToastBody>
        </Toast>,
        { intent: "warning", timeout: -1, toastId: id },
      );
    }, 2500);
    return () => clearTimeout(timer);
  }, [state, dispatchToast, dismissToast]);
  return null;
}
