// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { formatSearch, knownParams, listOf, listText, nextSort, oneOf, parseSearch } from "./search";

it("keeps addresses readable and reads them back", () => {
  const search = { severity: "High,Medium", q: "path:/0a1b~ 100% & more", status: "", view: undefined };
  const text = formatSearch(search);
  expect(text).toBe("?severity=High,Medium&q=path:/0a1b~+100%25+%26+more");
  expect(parseSearch(text)).toEqual({ severity: "High,Medium", q: "path:/0a1b~ 100% & more" });
  expect(formatSearch({})).toBe("");
});

it("drops unknown, empty, oversized and non-text parameters", () => {
  const check = knownParams("q", "status");
  expect(check({ q: "x", status: "", other: "y" })).toEqual({ q: "x" });
  expect(check({ q: "x".repeat(2001), status: 3 })).toEqual({});
});

it("reads lists once each and only allowed values", () => {
  expect(listOf("High,,High,Pink,Low", ["High", "Low"])).toEqual(["High", "Low"]);
  expect(listOf("a,b")).toEqual(["a", "b"]);
  expect(listOf(undefined)).toEqual([]);
  expect(listText([])).toBeUndefined();
  expect(listText(["a", "b"])).toBe("a,b");
  expect(oneOf("flat", ["flat", "grouped"], "grouped")).toBe("flat");
  expect(oneOf("x", ["flat", "grouped"], "grouped")).toBe("grouped");
});

it("turns the order on each click", () => {
  expect(nextSort("name", "lastSeen", true)).toBe("-lastSeen");
  expect(nextSort("-lastSeen", "lastSeen", true)).toBe("lastSeen");
  expect(nextSort("lastSeen", "lastSeen", true)).toBe("-lastSeen");
  expect(nextSort("-lastSeen", "name", false)).toBe("name");
});
