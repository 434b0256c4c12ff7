// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { bound, chipsOf, dayBefore, daysAgo, exportProblem, filterNames, noFilters, timelineQueryOf } from "./filters";

describe("timelineQueryOf", () => {
  it("asks for everything by default", () => {
    expect(timelineQueryOf({}, "utc")).toEqual({ level: "verbose", types: undefined, q: undefined, user: undefined, from: undefined, to: undefined });
  });
  it("turns days into moments with both days included", () => {
    expect(timelineQueryOf({ from: "2026-03-03", to: "2026-03-04" }, "utc")).toMatchObject({ from: "2026-03-03T00:00:00.000Z", to: "2026-03-05T00:00:00.000Z" });
  });
  it("keeps exact times and drops what is no time", () => {
    expect(timelineQueryOf({ to: "2026-03-04T10:01:00Z" }, "utc").to).toBe("2026-03-04T10:01:00.000Z");
    expect(timelineQueryOf({ to: "soon" }, "utc").to).toBeUndefined();
  });
  it("drops types and levels that the API would refuse", () => {
    expect(timelineQueryOf({ level: "all", types: "process,nonsense,dns", q: "  ", user: "root" }, "utc")).toMatchObject({ level: "verbose", types: ["process", "dns"], q: undefined, user: "root" });
  });
});

describe("chipsOf", () => {
  it("has none when nothing filters", () => {
    expect(chipsOf({ event: "b~1", tab: "timeline" }, "utc")).toEqual([]);
  });
  it("has one per filter, in the order of the filter bar", () => {
    const chips = chipsOf({ level: "behaviors", types: "process,dns", q: "hash:ab", user: "root", from: "2026-03-03", to: "2026-03-04T10:01:00Z" }, "utc");
    expect(chips).toEqual([
      { name: "level", text: "Level: Behaviors" },
      { name: "types", text: "Type: Process or DNS" },
      { name: "q", text: "Search: hash:ab" },
      { name: "user", text: "User: root" },
      { name: "from", text: "From 2026-03-03" },
      { name: "to", text: "Until 2026-03-04 10:01:00" },
    ]);
  });
  it("is emptied by removing all filters", () => {
    expect(Object.keys(noFilters).toSorted()).toEqual([...filterNames].toSorted());
    expect(chipsOf({ level: "behaviors", q: "x", ...noFilters }, "utc")).toEqual([]);
  });
});

describe("days", () => {
  const now = new Date("2026-03-04T09:00:00Z");
  it("are counted back and forth alike", () => {
    for (const n of [1, 4, 29, 179]) {
      expect(daysAgo(dayBefore(n, now, "utc"), now, "utc")).toBe(n);
    }
    expect(dayBefore(0, now, "utc")).toBeUndefined();
    expect(daysAgo(undefined, now, "utc")).toBe(0);
    expect(daysAgo("2026-03-09", now, "utc")).toBe(0);
  });
  it("are bounds of their own zone", () => {
    expect(bound("2026-03-04", "local", false)?.getTime()).toBe(new Date(2026, 2, 4).getTime());
  });
  it("can be exported up to seven at once", () => {
    expect(exportProblem("2026-03-01", "2026-03-07")).toBe("");
    expect(exportProblem("2026-03-01", "2026-03-08")).toContain("7 days");
    expect(exportProblem("2026-03-02", "2026-03-01")).toContain("after");
    expect(exportProblem("", "2026-03-01")).toContain("both");
  });
});
