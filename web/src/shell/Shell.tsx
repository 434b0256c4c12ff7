// SPDX-License-Identifier: Apache-2.0
import { Outlet } from "@tanstack/react-router";
import { useState } from "react";
import { Live, LiveContext, useLive } from "../api/live";
import { Messages } from "../components/toasts";
import { ConnectionBanner } from "./ConnectionBanner";
import { Nav } from "./Nav";
import css from "./Shell.module.css";
import { TopBar } from "./TopBar";
import { useLeaveWhenSignedOut } from "./leave";

/** Frame of the portal: top bar, navigation, page, live connection. */
export function Shell() {
  const [live] = useState(() => new Live());
  const state = useLive(live);
  useLeaveWhenSignedOut();
  return (
    <LiveContext value={live}>
      <a className={css.skip} href="#main">Skip to the content</a>
      <div className={css.shell}>
        <TopBar live={state} />
        <ConnectionBanner state={state} />
        <div className={css.below}>
          <Nav />
          <main id="main" className={css.main} tabIndex={-1}>
            <Outlet />
          </main>
        </div>
      </div>
      <Messages />
    </LiveContext>
  );
}
