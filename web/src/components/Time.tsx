// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from "react";
import { ago, clock, dateTime, parseTime, shortTime, timeInQueue } from "../format/time";
import { useSettings } from "../settings";

/** The moment now, renewed every interval. */
export function useNow(interval = 30_000): Date {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const timer = setInterval(() => setNow(new Date()), interval);
    return () => clearInterval(timer);
  }, [interval]);
  return now;
}

type Look = "dateTime" | "clock" | "ms" | "short";

/** A moment in the chosen zone; the full ISO time shows on hover. */
export function Time({ value, look = "dateTime" }: { value: string | null | undefined; look?: Look }) {
  const { zone } = useSettings();
  const now = useNow();
  const d = parseTime(value);
  if (!d) {
    return <span className="muted">Never</span>;
  }
  const text = look === "dateTime" ? dateTime(d, zone) : look === "short" ? shortTime(d, now, zone) : clock(d, zone, look === "ms");
  return <time dateTime={value ?? undefined} title={value ?? undefined}>{text}</time>;
}

/** How long ago a moment was; the full ISO time shows on hover. */
export function Ago({ value }: { value: string | null | undefined }) {
  const now = useNow();
  const d = parseTime(value);
  return d ? <time dateTime={value ?? undefined} title={value ?? undefined}>{ago(d, now)}</time> : <span className="muted">Never</span>;
}

/** How many days something waits. */
export function InQueue({ since }: { since: string }) {
  const { zone } = useSettings();
  const now = useNow();
  const d = parseTime(since);
  return <span title={since}>{d ? timeInQueue(d, now, zone) : ""}</span>;
}
