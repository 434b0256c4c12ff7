// SPDX-License-Identifier: Apache-2.0
import { type ReactElement, type ReactNode, useEffect, useRef, useState } from "react";
import css from "./Popup.module.css";

interface Props {
  /** Name of the panel for those who do not see it. */
  label: string;
  /** Draws the button; it must take these properties. */
  button: (props: { "aria-expanded": boolean; "aria-haspopup": "dialog"; onClick: () => void }) => ReactElement;
  children: ReactNode;
}

/** A small panel under a button. Escape or a click elsewhere closes it; focus goes in and comes back. */
export function Popup({ label, button, children }: Props) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLSpanElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) {
      return;
    }
    panel.current?.focus();
    const outside = (e: Event) => {
      if (!root.current?.contains(e.target as Node)) {
        setOpen(false);
      }
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
    };
  }, [open]);
  return (
    <span
      ref={root}
      className={css.root}
      onKeyDown={(e) => {
        if (open && e.key === "Escape") {
          e.stopPropagation();
          setOpen(false);
          root.current?.querySelector("button")?.focus();
        }
      }}
    >
      {button({ "aria-expanded": open, "aria-haspopup": "dialog", onClick: () => setOpen(!open) })}
      {open && (
        <div ref={panel} role="dialog" aria-label={label} tabIndex={-1} className={css.panel}>
          {children}
        </div>
      )}
    </span>
  );
}
