// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import { DismissRegular } from "@fluentui/react-icons";
import { type ReactNode, useEffect, useRef } from "react";
import css from "./SidePane.module.css";

/** Details beside a list. Escape closes it and focus goes back to where it came from. */
export function SidePane({ title, children, onClose, takeFocus }: { title: ReactNode; children: ReactNode; onClose: () => void; takeFocus?: boolean }) {
  const pane = useRef<HTMLElement>(null);
  useEffect(() => {
    if (!takeFocus) {
      return;
    }
    const before = document.activeElement as HTMLElement | null;
    pane.current?.focus();
    return () => before?.focus?.();
  }, [takeFocus]);
  return (
    <aside
      ref={pane}
      tabIndex={-1}
      className={css.pane}
      aria-label="Details"
      onKeyDown={(e) => {
        if (e.key === "Escape" && !e.defaultPrevented) {
          e.stopPropagation();
          onClose();
        }
      }}
    >
      <div className={css.header}>
        <h2 className={css.title}>{title}</h2>
        <Button appearance="subtle" size="small" icon={<DismissRegular />} aria-label="Close details" title="Close details" onClick={onClose} />
      </div>
      <div className={css.body}>{children}</div>
    </aside>
  );
}
