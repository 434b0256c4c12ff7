// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { parseSettings } from "./settings";

it("keeps known values", () => {
  expect(parseSettings('{"theme":"dark","zone":"local","navCollapsed":true}')).toEqual({ theme: "dark", zone: "local", navCollapsed: true });
});

it.each([null, "", "{", "null", "[]", '{"theme":"pink","zone":3,"navCollapsed":"yes"}'])("falls back to the defaults for %s", (text) => {
  expect(parseSettings(text)).toEqual({ theme: "system", zone: "utc", navCollapsed: false });
});
