// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import type { Rule } from "../../api/types";
import { matchingRules } from "./filter";

function rule(id: string, severity: string, title: string, ...techniques: string[]): Rule {
  return { id, severity, title, techniques, level: severity.toLowerCase(), category: "Execution", enabled: true, author: "", description: "" };
}

const rules = [rule("r1", "High", "Reverse shell", "T1059.004"), rule("r2", "Low", "Crontab edited", "T1053.003"), rule("r3", "Medium", "Shell from web server")];
const ids = (search: Record<string, string>) => matchingRules(rules, search).map((r) => r.id);

it("filters by severity and text together", () => {
  expect(ids({})).toEqual(["r1", "r2", "r3"]);
  expect(ids({ level: "High,Low" })).toEqual(["r1", "r2"]);
  expect(ids({ q: " SHELL " })).toEqual(["r1", "r3"]);
  expect(ids({ q: "t1053" })).toEqual(["r2"]);
  expect(ids({ q: "shell", level: "Medium" })).toEqual(["r3"]);
  expect(ids({ level: "Pink" })).toEqual(["r1", "r2", "r3"]);
});
