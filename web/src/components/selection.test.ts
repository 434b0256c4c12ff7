// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { rangeBetween, toggled } from "./selection";

it("turns one key over and leaves the old selection alone", () => {
  const old = new Set(["a"]);
  expect([...toggled(old, "b")]).toEqual(["a", "b"]);
  expect([...toggled(old, "a")]).toEqual([]);
  expect([...old]).toEqual(["a"]);
});

it("spans a range in both directions", () => {
  const keys = ["a", "b", "c", "d"];
  expect(rangeBetween(keys, "b", "d")).toEqual(["b", "c", "d"]);
  expect(rangeBetween(keys, "d", "b")).toEqual(["b", "c", "d"]);
  expect(rangeBetween(keys, "gone", "b")).toEqual(["b"]);
});
