// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef } from "react";
import type { LiveState } from "../api/live";
import { messages } from "../components/messages";
import { toastDone } from "../components/toasts";

/** Says when the connection to the server is lost for longer than a moment, and when it is back. */
export function ConnectionToast({ state }: { state: LiveState }) {
  const shown = useRef(0);
  useEffect(() => {
    if (state === "open" && shown.current !== 0) {
      messages.dismiss(shown.current);
      shown.current = 0;
      toastDone("Connected again");
    }
    if (state !== "lost" || shown.current !== 0) {
      return;
    }
    const timer = setTimeout(() => {
      shown.current = messages.show("warning", "Connection to the server lost", "What you see may be out of date. Trying to connect again.", 0);
    }, 2500);
    return () => clearTimeout(timer);
  }, [state]);
  return null;
}
