// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import { CheckmarkCircleFilled, DismissRegular, ErrorCircleFilled, WarningFilled } from "@fluentui/react-icons";
import { useSyncExternalStore } from "react";
import { type Message, messages } from "./messages";
import css from "./toasts.module.css";

const icons = { done: <CheckmarkCircleFilled />, failed: <ErrorCircleFilled />, warning: <WarningFilled /> };

/** Corner where messages show; a landmark of its own, since they stand over every page. */
export function Messages() {
  const list = useSyncExternalStore(messages.subscribe, messages.current);
  return (
    <section aria-label="Messages" className={css.messages}>
      <div role="status" className={css.list}>
        {list.map((m) => <Toast key={m.id} message={m} />)}
      </div>
    </section>
  );
}

function Toast({ message: m }: { message: Message }) {
  return (
    <div className={css.toast}>
      <span className={`${css.icon} ${css[m.intent]}`} aria-hidden>{icons[m.intent]}</span>
      <div className={css.words}>
        <div className={css.title}>{m.title}</div>
        {m.text && <div>{m.text}</div>}
      </div>
      <Button size="small" appearance="subtle" icon={<DismissRegular />} aria-label="Dismiss message" onClick={() => messages.dismiss(m.id)} />
    </div>
  );
}

/** Says that something went well. */
export function toastDone(title: string): void {
  messages.show("done", title, "", 4000);
}

/** Says that something failed, and why. */
export function toastFailed(title: string, error: unknown): void {
  messages.show("failed", title, error instanceof Error ? error.message : String(error), 10_000);
}
