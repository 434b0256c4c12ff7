// SPDX-License-Identifier: Apache-2.0
import type { Rule } from "../../api/types";
import { severities } from "../../components/values";
import { listOf } from "../../search";

/** Rules that the search parameters let through: by severity, and by text in title, technique, category, id or description. */
export function matchingRules(rules: readonly Rule[], search: Partial<Record<string, string>>): Rule[] {
  const levels = listOf(search.level, severities);
  const text = (search.q ?? "").trim().toLowerCase();
  return rules.filter(
    (r) =>
      (levels.length === 0 || levels.some((l) => l === r.severity)) &&
      (text === "" || [r.title, r.id, r.category, r.description, ...r.techniques].some((v) => v.toLowerCase().includes(text))),
  );
}
