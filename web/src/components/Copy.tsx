// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import { CheckmarkRegular, CopyRegular } from "@fluentui/react-icons";
import { useEffect, useState } from "react";
import css from "./Copy.module.css";
import { copyText } from "./copy";

/** Button that copies a text and says that it did. */
export function Copy({ text, label, showLabel }: { text: string; label: string; showLabel?: boolean }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) {
      return;
    }
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  const name = copied ? "Copied" : label;
  return (
    <Button
      size="small"
      appearance="subtle"
      icon={copied ? <CheckmarkRegular /> : <CopyRegular />}
      aria-label={name}
      title={name}
      className={css.button}
      onClick={(e) => {
        e.stopPropagation();
        void copyText(text).then(() => setCopied(true));
      }}
    >
      {showLabel ? name : undefined}
    </Button>
  );
}

/** A command or path in monospace that wraps, with its copy button. */
export function Code({ text, label }: { text: string; label: string }) {
  return (
    <div className={css.code}>
      <code>{text}</code>
      <Copy text={text} label={label} />
    </div>
  );
}
