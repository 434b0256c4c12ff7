// SPDX-License-Identifier: Apache-2.0
import { MessageBar, MessageBarBody, MessageBarTitle } from "@fluentui/react-components";
import { useEffect, useState } from "react";
import type { LiveState } from "../api/live";
import css from "./ConnectionBanner.module.css";

/** Milliseconds that a connection may be away before anybody is told. */
const patience = 2500;

/** Says while the connection to the server is lost that what is shown may be old. */
export function ConnectionBanner({ state }: { state: LiveState }) {
  const [lost, setLost] = useState(false);
  useEffect(() => {
    if (state !== "lost") {
      return;
    }
    const timer = setTimeout(() => setLost(true), patience);
    return () => {
      clearTimeout(timer);
      setLost(false);
    };
  }, [state]);
  return (
    <div role="status">
      {lost && (
        <MessageBar intent="warning" className={css.banner ?? ""}>
          <MessageBarBody>
            <MessageBarTitle>Connection lost</MessageBarTitle>
            What you see may be out of date. Trying to connect again.
          </MessageBarBody>
        </MessageBar>
      )}
    </div>
  );
}
