// SPDX-License-Identifier: Apache-2.0
import { type KeyboardEvent, useRef } from "react";
import css from "./Tabs.module.css";

interface Props<T extends string> {
  label: string;
  tabs: readonly { value: T; label: string }[];
  /** Chosen tab; none of them: the first can be reached by the keyboard. */
  value: T | undefined;
  onChange: (value: T) => void;
  /** Id of the element that shows the chosen tab. */
  controls?: string;
}

/** Tabs by the ARIA pattern: one stop of the tab key, arrows choose. */
export function Tabs<T extends string>({ label, tabs, value, onChange, controls }: Props<T>) {
  const list = useRef<HTMLDivElement>(null);
  const at = tabs.findIndex((t) => t.value === value);
  const keyDown = (e: KeyboardEvent) => {
    const moves: Record<string, number> = { ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1 };
    const to = moves[e.key];
    const next = to === undefined ? undefined : tabs[to % tabs.length];
    if (next) {
      e.preventDefault();
      onChange(next.value);
      list.current?.querySelector<HTMLElement>(`[data-tab="${next.value}"]`)?.focus();
    }
  };
  return (
    <div role="tablist" aria-label={label} className={css.tabs} ref={list} onKeyDown={keyDown}>
      {tabs.map((t, i) => (
        <button
          key={t.value}
          type="button"
          role="tab"
          data-tab={t.value}
          id={controls && `${controls}-${t.value}`}
          aria-selected={t.value === value}
          aria-controls={controls}
          tabIndex={i === Math.max(0, at) ? 0 : -1}
          className={css.tab}
          onClick={() => onChange(t.value)}
        >
          <span className={css.text} data-text={t.label}>{t.label}</span>
        </button>
      ))}
    </div>
  );
}
