// SPDX-License-Identifier: Apache-2.0
import type { AlertComment } from "../api/types";
import css from "./ManageAlerts.module.css";
import { Time } from "./Time";

/** Comments on an alert and changes to it, newest first. */
export function History({ comments }: { comments: readonly AlertComment[] }) {
  if (comments.length === 0) {
    return <p className="muted">Nothing happened yet.</p>;
  }
  const newest = comments.toSorted((a, b) => b.time.localeCompare(a.time));
  return (
    <ol className={css.history}>
      {newest.map((c, i) => (
        <li key={`${c.time}${i}`} className={c.by === "Picket" ? "" : css.person}>
          <span className={css.dot} aria-hidden />
          <div>
            <div className={css.text}>{c.text}</div>
            <div className={css.meta}>{c.by}, <Time value={c.time} /></div>
          </div>
        </li>
      ))}
    </ol>
  );
}
