// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { leastWidth } from "./tracks";

it("adds least sizes, gaps and padding", () => {
  expect(leastWidth("40px minmax(100px, 2fr)")).toBe(176);
  expect(leastWidth("minmax(240px, 3fr) minmax(140px, 1.4fr) 132px")).toBe(240 + 140 + 132 + 24 + 24);
  expect(leastWidth("")).toBe(24);
});
