// SPDX-License-Identifier: Apache-2.0

// Filters of a device's timeline: how they stand in the address, what they ask
// the API for, and how they read as chips.
import type { TimelineFilter } from "../../../api/types";
import { type Zone, addDays, calendarDays, dateTime, dayOf, endOfDay, isDay, parseTime, startOfDay } from "../../../format/time";
import { listOf, oneOf, some } from "../../../search";

export type Search = Partial<Record<string, string>>;

export const levels = [
  { value: "verbose", label: "Verbose", help: "Everything that the sensor reported" },
  { value: "behaviors", label: "Behaviors", help: "Detections and the events that analysts read first" },
  { value: "detections", label: "Detections", help: "Events with alerts only" },
] as const;

export const eventTypes = [
  { value: "alert", label: "Alert" },
  { value: "process", label: "Process" },
  { value: "file", label: "File" },
  { value: "network", label: "Network" },
  { value: "dns", label: "DNS" },
  { value: "logon", label: "Logon" },
  { value: "image", label: "Image load" },
  { value: "registry", label: "Registry" },
  { value: "sensor", label: "Sensor" },
  { value: "other", label: "Other" },
] as const;

export const searchTypes = [
  { type: "hash", help: "SHA-1, SHA-256 or MD5, whole", example: "hash:da39a3ee5e6b4b0d3255bfef95601890afd80709" },
  { type: "file", help: "part of a file name", example: "file:id_rsa" },
  { type: "ext", help: "file extension", example: "ext:sh" },
  { type: "path", help: "part of a path", example: "path:/etc/cron.d/" },
  { type: "cmd", help: "part of a command line", example: "cmd:base64 -d" },
  { type: "user", help: "part of an account name", example: "user:root" },
  { type: "ip", help: "address, whole", example: "ip:203.0.113.9" },
  { type: "url", help: "part of a URL or DNS name", example: "url:example.net" },
] as const;

const typeValues = eventTypes.map((t) => t.value);
const levelValues = levels.map((l) => l.value);

/** Names of the search parameters that filter. */
export const filterNames = ["level", "types", "q", "user", "from", "to"] as const;

/** Change of the address that removes every filter. */
export const noFilters: Search = Object.fromEntries(filterNames.map((n) => [n, undefined]));

/** Moment that a bound in the address stands for: a day's begin (or end), or an exact time. */
export function bound(text: string | undefined, zone: Zone, end: boolean): Date | null {
  if (text && isDay(text)) {
    return end ? endOfDay(text, zone) : startOfDay(text, zone);
  }
  return parseTime(text);
}

export interface Filters {
  level: (typeof levelValues)[number];
  types: (typeof typeValues)[number][];
  q: string;
  user: string;
}

/** Filters in the address, without what the API would refuse. */
export function filtersOf(search: Search): Filters {
  return {
    level: oneOf(search.level, levelValues, "verbose"),
    types: listOf(search.types, typeValues),
    q: (search.q ?? "").trim(),
    user: (search.user ?? "").trim(),
  };
}

/** Query of the timeline for the filters in the address. */
export function timelineQueryOf(search: Search, zone: Zone): TimelineFilter {
  const f = filtersOf(search);
  return {
    level: f.level,
    types: some(f.types),
    q: f.q || undefined,
    user: f.user || undefined,
    from: bound(search.from, zone, false)?.toISOString(),
    to: bound(search.to, zone, true)?.toISOString(),
  };
}

export interface Chip {
  name: (typeof filterNames)[number];
  text: string;
}

/** What filters the timeline now, one chip each. */
export function chipsOf(search: Search, zone: Zone): Chip[] {
  const f = filtersOf(search);
  const chips: Chip[] = [];
  if (f.level !== "verbose") {
    chips.push({ name: "level", text: `Level: ${levels.find((l) => l.value === f.level)?.label ?? f.level}` });
  }
  if (f.types.length > 0) {
    chips.push({ name: "types", text: `Type: ${f.types.map((t) => eventTypes.find((x) => x.value === t)?.label ?? t).join(" or ")}` });
  }
  if (f.q) {
    chips.push({ name: "q", text: `Search: ${f.q}` });
  }
  if (f.user) {
    chips.push({ name: "user", text: `User: ${f.user}` });
  }
  const text = (name: "from" | "to") => {
    const at = bound(search[name], zone, name === "to");
    return at && (isDay(search[name] ?? "") ? search[name] : dateTime(at, zone));
  };
  for (const name of ["from", "to"] as const) {
    const t = text(name);
    if (t) {
      chips.push({ name, text: `${name === "from" ? "From" : "Until"} ${t}` });
    }
  }
  return chips;
}

/** Whole days from the day that a bound names back from today; 0 for none. */
export function daysAgo(to: string | undefined, now: Date, zone: Zone): number {
  const at = bound(to, zone, false);
  return at ? Math.max(0, calendarDays(dayOf(at, zone), dayOf(now, zone))) : 0;
}

/** Bound in the address for a day so many days ago; none for today. */
export function dayBefore(days: number, now: Date, zone: Zone): string | undefined {
  return days > 0 ? addDays(dayOf(now, zone), -days) : undefined;
}

/** Why a span of days cannot be exported; "" when it can. */
export function exportProblem(from: string, to: string): string {
  if (!isDay(from) || !isDay(to)) {
    return "Choose both days.";
  }
  const n = calendarDays(from, to);
  if (n < 0) {
    return "The first day is after the last.";
  }
  return n > 6 ? "An export spans at most 7 days." : "";
}
