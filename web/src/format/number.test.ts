// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { count, counted, words } from "./number";

it("groups digits", () => {
  expect(count(0)).toBe("0");
  expect(count(999)).toBe("999");
  expect(count(1_234_567)).toBe("1\u202f234\u202f567");
});

it("chooses the noun by number", () => {
  expect(counted(1, "alert")).toBe("1 alert");
  expect(counted(0, "alert")).toBe("0 alerts");
  expect(counted(2, "entry", "entries")).toBe("2 entries");
});

it.each([
  ["InProgress", "In progress"],
  ["NoSensorDataImpairedCommunication", "No sensor data impaired communication"],
  ["DnsQueryResponse", "Dns query response"],
  ["EDR", "EDR"],
  ["CustomTIFeed", "Custom TI feed"],
  ["", ""],
])("spells %s as %s", (id, want) => {
  expect(words(id)).toBe(want);
});
