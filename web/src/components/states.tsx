// SPDX-License-Identifier: Apache-2.0
import { Button, Skeleton, SkeletonItem } from "@fluentui/react-components";
import { ArrowClockwiseRegular, DocumentSearchRegular, ErrorCircleRegular } from "@fluentui/react-icons";
import type { ReactNode } from "react";
import { ApiError } from "../api/client";
import css from "./states.module.css";

/** Nothing to show, said in words, with the way on where there is one. */
export function Empty({ title, children, actions, icon, small }: { title: string; children?: ReactNode; actions?: ReactNode; icon?: ReactNode; small?: boolean }) {
  return (
    <div className={`${css.state} ${small ? css.small : ""}`}>
      <span className={css.icon} aria-hidden>{icon ?? <DocumentSearchRegular />}</span>
      <p className={css.title}>{title}</p>
      {children && <div className={css.text}>{children}</div>}
      {actions && <div className={css.actions}>{actions}</div>}
    </div>
  );
}

/** What went wrong, and another try. */
export function Failed({ error, onRetry, what, small }: { error: unknown; onRetry?: () => void; what: string; small?: boolean }) {
  const text = error instanceof Error ? error.message : String(error);
  const id = error instanceof ApiError ? error.requestId : "";
  return (
    <div className={`${css.state} ${css.error} ${small ? css.small : ""}`} role="alert">
      <span className={css.icon} aria-hidden><ErrorCircleRegular /></span>
      <p className={css.title}>{what} could not be loaded</p>
      <p className={css.text}>{text}</p>
      {id && <p className="muted">Request <code>{id}</code></p>}
      {onRetry && (
        <div className={css.actions}>
          <Button icon={<ArrowClockwiseRegular />} onClick={onRetry}>Try again</Button>
        </div>
      )}
    </div>
  );
}

/** Grey rows in place of a list that is on its way. */
export function LoadingRows({ rows = 8, label }: { rows?: number; label: string }) {
  return (
    <Skeleton aria-label={label} className={css.skeleton}>
      {Array.from({ length: rows }, (_, i) => (
        <div className={css.row} key={i}>
          <SkeletonItem size={16} />
          <SkeletonItem size={16} />
          <SkeletonItem size={16} />
          <SkeletonItem size={16} />
        </div>
      ))}
    </Skeleton>
  );
}

/** Grey lines in place of a card's text. */
export function LoadingLines({ lines = 4, label }: { lines?: number; label: string }) {
  return (
    <Skeleton aria-label={label} className={css.skeleton}>
      {Array.from({ length: lines }, (_, i) => <SkeletonItem size={16} key={i} />)}
    </Skeleton>
  );
}
