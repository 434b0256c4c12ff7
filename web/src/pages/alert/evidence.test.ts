// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import type { Evidence } from "../../api/types";
import { describeEvidence } from "./evidence";
import { around } from "./links";

function evidence(entityType: string, fields: Record<string, string>): Evidence {
  return { entityType, fields, role: "Related", time: "2026-03-04T10:00:00Z", table: "DeviceEvents", reportId: 1, bootId: "b", processGuid: "" };
}

it.each([
  ["Process", { FileName: "curl", ProcessCommandLine: "curl -s x", SHA1: "aa" }, "curl -s x", "aa"],
  ["File", { FileName: "x", FolderPath: "/tmp/x" }, "/tmp/x", ""],
  ["Ip", { RemoteIP: "203.0.113.9", RemotePort: "443", Protocol: "Tcp" }, "203.0.113.9:443", "Tcp"],
  ["Ip", { RemoteIP: "2001:db8::1", RemotePort: "443" }, "[2001:db8::1]:443", ""],
  ["Url", { DnsQueryName: "evil.example", DnsAnswers: "203.0.113.9" }, "evil.example", "203.0.113.9"],
  ["User", { InitiatingProcessAccountName: "root" }, "root", ""],
  ["Mailbox", { ActionType: "Something" }, "Something", ""],
  ["File", {}, "", ""],
] as const)("describes %s %j", (type, fields, what, detail) => {
  expect(describeEvidence(evidence(type, fields))).toEqual({ what, detail });
});

it("points the timeline just after the event, so that the event is on top of it", () => {
  expect(around("d", "2026-03-04T10:00:00.75Z", { bootId: "b", reportId: 7 }).search).toEqual({ tab: "timeline", level: "verbose", to: "2026-03-04T10:01:00Z", event: "b~7" });
  expect(around("d", "").search).toEqual({ tab: "timeline", level: "verbose" });
});
