// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { tokenState } from "./tokens";

const now = new Date("2026-03-04T10:00:00Z");

it.each([
  [{ revoked: null, expires: "2026-03-04T10:00:01Z", used: 0, uses: 1 }, "Valid"],
  [{ revoked: null, expires: "2026-03-04T10:00:00Z", used: 0, uses: 1 }, "Expired"],
  [{ revoked: null, expires: "2026-03-05T10:00:00Z", used: 2, uses: 2 }, "Used up"],
  [{ revoked: "2026-03-01T10:00:00Z", expires: "2026-03-02T10:00:00Z", used: 2, uses: 2 }, "Revoked"],
])("%j is %s", (token, want) => {
  expect(tokenState(token, now)).toBe(want);
});
