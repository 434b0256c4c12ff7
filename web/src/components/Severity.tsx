// SPDX-License-Identifier: Apache-2.0
import { ErrorCircleFilled, InfoFilled, WarningFilled, ArrowCircleDownFilled } from "@fluentui/react-icons";
import type { ReactNode } from "react";
import css from "./Severity.module.css";
import { severities } from "./values";

interface Look {
  className: string;
  icon: ReactNode;
}

function look(severity: string): Look {
  switch (severity) {
    case "High":
      return { className: css.high ?? "", icon: <ErrorCircleFilled /> };
    case "Medium":
      return { className: css.medium ?? "", icon: <WarningFilled /> };
    case "Low":
      return { className: css.low ?? "", icon: <ArrowCircleDownFilled /> };
    default:
      return { className: css.informational ?? "", icon: <InfoFilled /> };
  }
}

/** Severity as coloured bar, icon of its own shape, and word. */
export function Severity({ value }: { value: string }) {
  const { className, icon } = look(value);
  return (
    <span className={`${css.severity} ${className}`}>
      <span className={css.bar} aria-hidden />
      <span className={css.icon} aria-hidden>{icon}</span>
      {value}
    </span>
  );
}

/** Severity as icon; the word is there for those who cannot see it. */
export function SeverityIcon({ value }: { value: string }) {
  const { className, icon } = look(value);
  return (
    <span className={`${css.severity} ${className}`} title={`${value} severity`}>
      <span className={css.icon} aria-hidden>{icon}</span>
      <span className="visually-hidden">{value} severity</span>
    </span>
  );
}

export interface Counts {
  high: number;
  medium: number;
  low: number;
  informational: number;
}

const countKeys = { High: "high", Medium: "medium", Low: "low", Informational: "informational" } as const;

export function countOf(c: Counts, severity: (typeof severities)[number]): number {
  return c[countKeys[severity]];
}

/** Four numbers of alerts, one per severity. */
export function SeverityCounts({ counts }: { counts: Counts }) {
  const total = counts.high + counts.medium + counts.low + counts.informational;
  if (total === 0) {
    return <span className="muted">None</span>;
  }
  return (
    <span className={css.counts}>
      {severities.map((s) => {
        const n = countOf(counts, s);
        const { className, icon } = look(s);
        return (
          <span key={s} className={`${css.count} ${n > 0 ? className : css.zero}`} title={`${n} ${s.toLowerCase()}`}>
            <span className={css.icon} aria-hidden>{icon}</span>
            {n}
            <span className="visually-hidden"> {s.toLowerCase()}</span>
          </span>
        );
      })}
    </span>
  );
}

/** Colour class of a severity, for bars drawn elsewhere. */
export function severityClass(severity: string): string {
  return look(severity).className;
}
