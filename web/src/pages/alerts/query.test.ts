// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { Alert } from "../../api/types";
import { alertQueryOf, groupByTitle, groupRows, queueOf, queueSearch, queues } from "./query";

function alert(id: string, title: string, severity: Alert["severity"], deviceId: string, lastActivity: string): Alert {
  return {
    id, title, severity, deviceId, lastActivity, deviceName: deviceId, category: "Execution", status: "New", description: "", recommended: "", techniques: [], ruleId: "", ruleAuthor: "",
    detectionSource: "EDR", classification: "", determination: "", assignedTo: "", user: "", firstActivity: lastActivity, created: lastActivity, updated: lastActivity, count: 1, processGuid: "",
    evidenceLost: 0, losses: [], lossesUnknown: false, evidence: [], comments: [], revision: 1,
  };
}

describe("alertQueryOf", () => {
  it("shows active alerts of 30 days, latest first, by default", () => {
    expect(alertQueryOf({})).toEqual({
      query: { severity: undefined, category: undefined, source: undefined, device: undefined, user: undefined, q: undefined, status: ["New", "InProgress"], assigned: undefined, period: "30d", sort: "-lastActivity" },
      sort: "-lastActivity", period: "30d", view: "flat", filtered: false,
    });
  });
  it("hands on what the address asks for and ignores what the API would refuse", () => {
    const got = alertQueryOf({ severity: "High,Pink", status: "Resolved,Closed", period: "2y", sort: "-drop table", view: "grouped", device: "d1" });
    expect(got.query).toMatchObject({ severity: ["High"], status: ["Resolved"], period: "30d", sort: "-lastActivity", device: "d1" });
    expect(got.view).toBe("grouped");
    expect(got.filtered).toBe(true);
  });
  it("does not filter by status when all are wanted", () => {
    expect(alertQueryOf({ status: "New,InProgress,Resolved" }).query.status).toBeUndefined();
  });
});

describe("queues", () => {
  it("survive the way into the address and back", () => {
    for (const q of queues) {
      expect(queueOf(queueSearch(q.id))).toBe(q.id);
    }
  });
  it("are not guessed for other filters", () => {
    expect(queueOf({ status: "New,Resolved" })).toBeUndefined();
    expect(queueOf({ assigned: "none" })).toBeUndefined();
  });
});

describe("groupByTitle", () => {
  const alerts = [
    alert("1", "B", "Low", "d1", "2026-03-04T10:00:00Z"),
    alert("2", "A", "Medium", "d1", "2026-03-04T09:00:00Z"),
    alert("3", "B", "High", "d2", "2026-03-04T11:00:00Z"),
    alert("4", "B", "Medium", "d1", "2026-03-04T08:00:00Z"),
  ];
  it("keeps the order and sums up each group", () => {
    const got = groupByTitle(alerts).map((g) => [g.title, g.severity, g.alerts.length, g.devices, g.lastActivity]);
    expect(got).toEqual([
      ["B", "High", 3, 2, "2026-03-04T11:00:00Z"],
      ["A", "Medium", 1, 1, "2026-03-04T09:00:00Z"],
    ]);
  });
  it("shows the alerts of open groups only", () => {
    const rows = groupRows(groupByTitle(alerts), new Set(["A"]));
    expect(rows.map((r) => (r.kind === "group" ? r.group.title : r.alert.id))).toEqual(["B", "A", "2"]);
  });
});
