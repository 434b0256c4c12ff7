// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useCallback } from "react";
import { rulesQuery } from "../../api/queries";
import { FilterBar, FilterMany, FilterOne, FilterText } from "../../components/Filter";
import type { SearchParams } from "../../components/useSearchState";
import { severities } from "../../components/values";
import { words } from "../../format/number";
import { listOf, listText } from "../../search";
import { periods } from "../periods";
import { alertQueryOf, clearFilters } from "./query";

interface Props {
  search: SearchParams;
  change: (c: SearchParams) => void;
  filtered: boolean;
}

/** Filters of the alerts queue. */
export function AlertFilters({ search, change, filtered }: Props) {
  const { period } = alertQueryOf(search);
  const setText = useCallback((q: string) => change({ q }), [change]);
  const setUser = useCallback((user: string) => change({ user }), [change]);
  const chosen = listOf(search.category);
  const rules = useQuery(rulesQuery).data ?? [];
  const categories = [...new Set([...rules.map((r) => r.category), ...chosen])].filter((c) => c !== "").toSorted();
  return (
    <FilterBar>
      <FilterText label="Title, device, rule or id" value={search.q ?? ""} onChange={setText} />
      <FilterOne label="Period" options={[...periods]} value={period} fallback="30d" onChange={(v) => change({ period: v === "30d" ? undefined : v })} />
      <FilterMany label="Severity" options={severities.map((s) => ({ value: s, label: s }))} values={listOf(search.severity, severities)} onChange={(v) => change({ severity: listText(v) })} />
      <FilterMany label="Category" options={categories.map((c) => ({ value: c, label: words(c) }))} values={chosen} onChange={(v) => change({ category: listText(v) })} />
      <FilterMany
        label="Source"
        options={["EDR", "Antivirus", "Custom TI"].map((s) => ({ value: s, label: s }))}
        values={listOf(search.source)}
        onChange={(v) => change({ source: listText(v) })}
      />
      <FilterOne
        label="Assigned to"
        options={[{ value: "", label: "Anyone" }, { value: "me", label: "Me" }, { value: "none", label: "Nobody" }]}
        value={search.assigned ?? ""}
        fallback=""
        onChange={(assigned) => change({ assigned })}
      />
      <FilterText label="User" value={search.user ?? ""} onChange={setUser} narrow />
      {search.device && <Button size="small" onClick={() => change({ device: undefined })}>One device only: show all</Button>}
      {filtered && <Button size="small" appearance="subtle" onClick={() => change(clearFilters)}>Remove all filters</Button>}
    </FilterBar>
  );
}
