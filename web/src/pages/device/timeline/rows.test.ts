// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { TimelineEvent, TimelinePage } from "../../../api/types";
import { familyOf, lossBands, timelineRows } from "./rows";

function event(time: string, reportId: number): TimelineEvent {
  return { time, reportId, bootId: "b", table: "DeviceProcessEvents", actionType: "ProcessCreated", title: "", chain: [], user: "", processGuid: "", alertIds: [], severity: "", fields: {} };
}

function gap(from: string, to: string, lost = 1, lossClass = "ring") {
  return { from, to, lost, class: lossClass };
}

const show = (pages: TimelinePage[]) =>
  timelineRows(pages, "utc").map((r) => (r.kind === "day" ? `# ${r.day}` : r.kind === "event" ? r.key + (r.lossy ? " lossy" : "") : `lost ${r.band.losses.map((l) => l.lost).join("+")}`));

describe("timelineRows", () => {
  it("heads each day once and draws gaps where they are", () => {
    const page: TimelinePage = {
      items: [event("2026-03-04T10:00:00Z", 9), event("2026-03-04T08:00:00Z", 8), event("2026-03-03T23:00:00Z", 7)],
      gaps: [gap("2026-03-04T08:30:00Z", "2026-03-04T09:00:00Z", 5), gap("2026-03-04T10:30:00Z", "2026-03-04T10:40:00Z", 2)],
      next: "",
    };
    expect(show([page])).toEqual(["# 2026-03-04", "lost 2", "b~9", "lost 5", "b~8", "# 2026-03-03", "b~7"]);
  });
  it("heads a day that has only a gap", () => {
    expect(show([{ items: [event("2026-03-03T23:00:00Z", 7)], gaps: [gap("2026-03-04T01:00:00Z", "2026-03-04T02:00:00Z")], next: "" }])).toEqual([
      "# 2026-03-04", "lost 1", "# 2026-03-03", "b~7",
    ]);
  });
  it("joins pages, draws a gap that both name once, and holds older gaps back", () => {
    const shared = gap("2026-03-04T07:00:00Z", "2026-03-04T07:30:00Z", 3);
    const first: TimelinePage = { items: [event("2026-03-04T08:00:00Z", 8)], gaps: [shared], next: "x" };
    expect(show([first])).toEqual(["# 2026-03-04", "b~8"]);
    const second: TimelinePage = { items: [event("2026-03-04T06:00:00Z", 6)], gaps: [shared], next: "" };
    expect(show([first, second])).toEqual(["# 2026-03-04", "b~8", "lost 3", "b~6"]);
  });
  it("marks the events that losses lie around", () => {
    const page: TimelinePage = {
      items: [event("2026-03-04T10:00:10Z", 9), event("2026-03-04T10:00:03Z", 8), event("2026-03-04T10:00:01Z", 7), event("2026-03-04T09:00:00Z", 6)],
      gaps: [gap("2026-03-04T10:00:01Z", "2026-03-04T10:00:05Z", 5), gap("2026-03-04T10:00:02Z", "2026-03-04T10:00:04Z", 2, "spool.low")],
      next: "",
    };
    expect(show([page])).toEqual(["# 2026-03-04", "b~9", "lost 5+2", "b~8 lossy", "b~7 lossy", "b~6"]);
  });
  it("shows gaps of a device that has nothing else", () => {
    expect(show([{ items: [], gaps: [gap("2026-03-04T07:00:00Z", "2026-03-04T07:30:00Z", 4)], next: "" }])).toEqual(["# 2026-03-04", "lost 4"]);
    expect(show([])).toEqual([]);
  });
});

describe("lossBands", () => {
  it("joins what overlaps or follows at once, sums classes, and counts what two pages name once", () => {
    const bands = lossBands([
      gap("2026-03-04T10:00:00Z", "2026-03-04T10:00:03Z", 1, "a"),
      gap("2026-03-04T10:00:02Z", "2026-03-04T10:00:05Z", 2, "a"),
      gap("2026-03-04T10:00:02Z", "2026-03-04T10:00:05Z", 2, "a"),
      gap("2026-03-04T10:00:04Z", "2026-03-04T10:00:05Z", 4, "b"),
      gap("2026-03-04T09:59:59Z", "2026-03-04T10:00:00Z", 8, "a"),
      gap("2026-03-04T09:00:00Z", "2026-03-04T09:00:01Z", 9, "a"),
    ]);
    expect(bands.map((b) => [b.from, b.to, b.losses.map((l) => `${l.class} ${l.lost}`).join()])).toEqual([
      ["2026-03-04T09:59:59Z", "2026-03-04T10:00:05Z", "a 11,b 4"],
      ["2026-03-04T09:00:00Z", "2026-03-04T09:00:01Z", "a 9"],
    ]);
    expect(lossBands([])).toEqual([]);
  });
});

it("tells families", () => {
  expect(familyOf({ table: "DeviceEvents", actionType: "DnsQueryRequest" })).toBe("dns");
  expect(familyOf({ table: "DeviceEvents", actionType: "SensorLoss" })).toBe("sensor");
  expect(familyOf({ table: "DeviceEvents", actionType: "DeviceSilent" })).toBe("sensor");
  expect(familyOf({ table: "DeviceEvents", actionType: "ClockChanged" })).toBe("sensor");
  expect(familyOf({ table: "DeviceEvents", actionType: "UserAccountCreated" })).toBe("account");
  expect(familyOf({ table: "DeviceEvents", actionType: "ScheduledTaskCreated" })).toBe("persistence");
  expect(familyOf({ table: "DeviceEvents", actionType: "ShellProfileModified" })).toBe("persistence");
  expect(familyOf({ table: "DeviceEvents", actionType: "Unheard" })).toBe("other");
  expect(familyOf({ table: "DeviceInfo", actionType: "" })).toBe("other");
});
