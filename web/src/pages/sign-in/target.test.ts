// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { safeTarget } from "./target";

it("goes back to the page that was asked for", () => {
  expect(safeTarget("/alerts?severity=High,Medium#x")).toBe("/alerts?severity=High,Medium#x");
});

it.each([undefined, "", "//evil.example", "/\\evil.example", "https://evil.example/", "javascript:alert(1)", "alerts", "/sign-in?to=/x", "/\t/evil.example", "/\n/evil.example"])(
  "goes to the dashboard for %j",
  (to) => {
    expect(safeTarget(to)).toBe("/");
  },
);
