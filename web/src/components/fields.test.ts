// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { isCommand, sortedFields } from "./fields";

it("puts what happened before who did it and where, and leaves out what is empty", () => {
  const got = sortedFields({ DeviceId: "d", InitiatingProcessId: "1", Zeta: "z", ProcessCommandLine: "ls", Alpha: "a", Timestamp: "t", FileName: "", ReportId: "4" });
  expect(got.map(([k]) => k)).toEqual(["Timestamp", "ProcessCommandLine", "Alpha", "Zeta", "InitiatingProcessId", "DeviceId", "ReportId"]);
});

it("knows which columns hold commands", () => {
  expect(isCommand("InitiatingProcessParentCommandLine")).toBe(true);
  expect(isCommand("FileName")).toBe(false);
});
