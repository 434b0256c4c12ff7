// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { unwrapped } from "./prose";

it.each([
  ["one\ntwo\n", "one two"],
  ["one  \n  two", "one two"],
  ["one\n\ntwo\nthree", "one\n\ntwo three"],
  ["Do:\n1. this\n2. that\nand that", "Do:\n1. this\n2. that and that"],
  ["- a\n- b", "- a\n- b"],
  ["10\n20 things", "10 20 things"],
  ["", ""],
])("joins %j", (text, want) => {
  expect(unwrapped(text)).toBe(want);
});
