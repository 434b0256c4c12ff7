// SPDX-License-Identifier: Apache-2.0

// Times as analysts read them: short, 24-hour, year first, always a dot as
// decimal sign, in UTC or in the browser's zone. No locale is involved, so two
// people who compare screens see the same text.

export type Zone = "utc" | "local";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

interface Parts {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  ms: number;
}

function parts(d: Date, zone: Zone): Parts {
  return zone === "utc"
    ? {
        year: d.getUTCFullYear(), month: d.getUTCMonth() + 1, day: d.getUTCDate(),
        hour: d.getUTCHours(), minute: d.getUTCMinutes(), second: d.getUTCSeconds(), ms: d.getUTCMilliseconds(),
      }
    : {
        year: d.getFullYear(), month: d.getMonth() + 1, day: d.getDate(),
        hour: d.getHours(), minute: d.getMinutes(), second: d.getSeconds(), ms: d.getMilliseconds(),
      };
}

function two(n: number): string {
  return String(n).padStart(2, "0");
}

/** Parses an API time; null for absent, empty and Go's zero time. */
export function parseTime(text: string | null | undefined): Date | null {
  if (!text || text.startsWith("0001-01-01")) {
    return null;
  }
  const d = new Date(text);
  return Number.isNaN(d.getTime()) ? null : d;
}

/** Calendar day of a moment in the zone: 2026-03-04. */
export function dayOf(d: Date, zone: Zone): string {
  const p = parts(d, zone);
  return `${p.year}-${two(p.month)}-${two(p.day)}`;
}

/** Clock time, with milliseconds when asked for: 09:05:07.250. */
export function clock(d: Date, zone: Zone, ms = false): string {
  const p = parts(d, zone);
  const text = `${two(p.hour)}:${two(p.minute)}:${two(p.second)}`;
  return ms ? `${text}.${String(p.ms).padStart(3, "0")}` : text;
}

/** Day and clock time. */
export function dateTime(d: Date, zone: Zone): string {
  return `${dayOf(d, zone)} ${clock(d, zone)}`;
}

/** Clock time of today, day and time of this year's other days, else the day. */
export function shortTime(d: Date, now: Date, zone: Zone): string {
  const that = dayOf(d, zone);
  const today = dayOf(now, zone);
  if (that === today) {
    return clock(d, zone);
  }
  return that.slice(0, 4) === today.slice(0, 4) ? `${that.slice(5)} ${clock(d, zone).slice(0, 5)}` : that;
}

const monthNames = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const weekdayNames = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** Heading of a day: Today, Yesterday, or Wednesday, 4 March 2026. */
export function dayHeading(dayText: string, now: Date, zone: Zone): string {
  const [y, m, d] = dayText.split("-").map(Number) as [number, number, number];
  const weekday = weekdayNames[new Date(Date.UTC(y, m - 1, d)).getUTCDay()] ?? "";
  const long = `${weekday}, ${d} ${monthNames[m - 1] ?? ""} ${y}`;
  switch (calendarDays(dayText, dayOf(now, zone))) {
    case 0:
      return `Today, ${long}`;
    case 1:
      return `Yesterday, ${long}`;
    default:
      return long;
  }
}

/** Whole calendar days from one day to another. */
export function calendarDays(from: string, to: string): number {
  return Math.round((Date.parse(`${to}T00:00:00Z`) - Date.parse(`${from}T00:00:00Z`)) / day);
}

/** How long an alert waits: Today, Yesterday, 5d. */
export function timeInQueue(since: Date, now: Date, zone: Zone): string {
  const n = calendarDays(dayOf(since, zone), dayOf(now, zone));
  if (n <= 0) {
    return "Today";
  }
  return n === 1 ? "Yesterday" : `${n}d`;
}

/** Age in one unit: just now, 3 min ago, 5 h ago, 12 d ago. */
export function ago(d: Date, now: Date): string {
  const age = now.getTime() - d.getTime();
  if (age < -5 * second) {
    return "in the future";
  }
  if (age < 10 * second) {
    return "just now";
  }
  return `${duration(age)} ago`;
}

/** Length of time in one unit. */
export function duration(ms: number): string {
  if (ms < minute) {
    return `${Math.floor(ms / second)} s`;
  }
  if (ms < hour) {
    return `${Math.floor(ms / minute)} min`;
  }
  if (ms < day) {
    return `${Math.floor(ms / hour)} h`;
  }
  return `${Math.floor(ms / day)} d`;
}

/** Offset of the browser's zone at a moment: UTC+02:00. */
export function zoneName(d: Date, zone: Zone): string {
  if (zone === "utc") {
    return "UTC";
  }
  const offset = -d.getTimezoneOffset();
  const abs = Math.abs(offset);
  return `UTC${offset < 0 ? "-" : "+"}${two(Math.floor(abs / 60))}:${two(abs % 60)}`;
}

/** First moment of a calendar day in the zone. */
export function startOfDay(dayText: string, zone: Zone): Date {
  const [y, m, d] = dayText.split("-").map(Number) as [number, number, number];
  return zone === "utc" ? new Date(Date.UTC(y, m - 1, d)) : new Date(y, m - 1, d);
}

/** First moment after a calendar day in the zone. */
export function endOfDay(dayText: string, zone: Zone): Date {
  const [y, m, d] = dayText.split("-").map(Number) as [number, number, number];
  return zone === "utc" ? new Date(Date.UTC(y, m - 1, d + 1)) : new Date(y, m - 1, d + 1);
}

/** Calendar day a number of days after (or before) another. */
export function addDays(dayText: string, n: number): string {
  return new Date(Date.parse(`${dayText}T00:00:00Z`) + n * day).toISOString().slice(0, 10);
}

/** Reports whether text is a calendar day that exists. */
export function isDay(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(`${text}T00:00:00Z`)) && addDays(text, 0) === text;
}
