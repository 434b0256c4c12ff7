// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import type { DeviceUser } from "../../api/types";
import { byLogon, mostAndLeast } from "./users";

function user(account: string, daysSeen: number, lastSeen: string, ...logonTypes: string[]): DeviceUser {
  return { account, daysSeen, lastSeen, logonTypes, domain: "", firstSeen: lastSeen, isLocalAdmin: false };
}

it("finds the most and the least frequent user", () => {
  const a = user("a", 3, "2026-03-01T00:00:00Z");
  const b = user("b", 9, "2026-03-01T00:00:00Z");
  const c = user("c", 3, "2026-03-02T00:00:00Z");
  expect(mostAndLeast([a, b, c])).toEqual({ most: b, least: a });
  expect(mostAndLeast([a])).toEqual({ most: a, least: undefined });
  expect(mostAndLeast([])).toEqual({ most: undefined, least: undefined });
});

it("sorts users by how they logged on", () => {
  const users = [user("ann", 1, "", "RemoteInteractive"), user("cron", 1, "", "Batch"), user("root", 1, "", "Interactive", "Service"), user("x", 1, "")];
  const got = byLogon(users);
  expect(got.interactive.map((u) => u.account)).toEqual(["ann", "root"]);
  expect(got.other.map((u) => u.account)).toEqual(["cron", "root", "x"]);
});
