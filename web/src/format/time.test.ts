// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { addDays, ago, calendarDays, clock, dateTime, dayHeading, dayOf, duration, endOfDay, isDay, parseTime, shortTime, startOfDay, timeInQueue } from "./time";

const t = new Date("2026-03-04T09:05:07.250Z");

describe("parseTime", () => {
  it("reads RFC 3339 and refuses the rest", () => {
    expect(parseTime("2026-03-04T09:05:07.25Z")?.getTime()).toBe(t.getTime());
    for (const bad of ["", undefined, null, "yesterday", "0001-01-01T00:00:00Z"]) {
      expect(parseTime(bad)).toBeNull();
    }
  });
});

describe("text of a moment", () => {
  it("is padded, 24-hour and free of the locale", () => {
    expect(dayOf(t, "utc")).toBe("2026-03-04");
    expect(clock(t, "utc")).toBe("09:05:07");
    expect(clock(t, "utc", true)).toBe("09:05:07.250");
    expect(dateTime(t, "utc")).toBe("2026-03-04 09:05:07");
  });
  it("is short where the rest is plain", () => {
    expect(shortTime(t, t, "utc")).toBe("09:05:07");
    expect(shortTime(new Date("2026-03-03T23:59:59Z"), t, "utc")).toBe("03-03 23:59");
    expect(shortTime(new Date("2025-12-31T23:59:59Z"), t, "utc")).toBe("2025-12-31");
  });
  it("follows the local zone", () => {
    const local = new Date(2026, 2, 4, 23, 59, 1);
    expect(dateTime(local, "local")).toBe("2026-03-04 23:59:01");
  });
});

describe("ages", () => {
  it.each([
    [0, "just now"],
    [9_999, "just now"],
    [10_000, "10 s ago"],
    [60_000, "1 min ago"],
    [3_599_000, "59 min ago"],
    [3_600_000, "1 h ago"],
    [86_400_000 * 12, "12 d ago"],
    [-60_000, "in the future"],
  ])("%d ms is %s", (ms, want) => {
    expect(ago(new Date(t.getTime() - ms), t)).toBe(want);
  });
  it("names the time in queue by calendar day, not by 24 hours", () => {
    expect(timeInQueue(new Date("2026-03-04T00:00:01Z"), t, "utc")).toBe("Today");
    expect(timeInQueue(new Date("2026-03-03T23:59:59Z"), t, "utc")).toBe("Yesterday");
    expect(timeInQueue(new Date("2026-02-27T12:00:00Z"), t, "utc")).toBe("5d");
    expect(timeInQueue(new Date("2026-03-05T12:00:00Z"), t, "utc")).toBe("Today");
  });
  it("cuts durations down to one unit", () => {
    expect(duration(59_999)).toBe("59 s");
    expect(duration(86_400_000)).toBe("1 d");
  });
});

describe("days", () => {
  it("counts over the end of a leap February", () => {
    expect(calendarDays("2028-02-28", "2028-03-01")).toBe(2);
    expect(addDays("2028-02-28", 1)).toBe("2028-02-29");
    expect(addDays("2026-01-01", -1)).toBe("2025-12-31");
  });
  it("has half-open bounds", () => {
    expect(startOfDay("2026-03-04", "utc").toISOString()).toBe("2026-03-04T00:00:00.000Z");
    expect(endOfDay("2026-03-04", "utc").toISOString()).toBe("2026-03-05T00:00:00.000Z");
    expect(endOfDay("2026-03-04", "local").getTime()).toBe(startOfDay("2026-03-05", "local").getTime());
  });
  it("is headed by name", () => {
    expect(dayHeading("2026-03-04", t, "utc")).toBe("Today, Wednesday, 4 March 2026");
    expect(dayHeading("2026-03-03", t, "utc")).toBe("Yesterday, Tuesday, 3 March 2026");
    expect(dayHeading("2026-02-01", t, "utc")).toBe("Sunday, 1 February 2026");
  });
  it("exists or does not", () => {
    expect(isDay("2028-02-29")).toBe(true);
    for (const bad of ["2026-02-29", "2026-2-1", "2026-13-01", "", "today"]) {
      expect(isDay(bad)).toBe(false);
    }
  });
});
