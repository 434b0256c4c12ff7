// SPDX-License-Identifier: Apache-2.0
import type { DeviceFilter } from "../../api/types";
import { healthStates, riskLevels } from "../../components/values";
import { listOf, some } from "../../search";
import { periodValues } from "../periods";

const sorts = ["name", "health", "risk", "os", "group", "firstSeen", "lastSeen", "internalIp", "activeAlerts"];

/** Query of the devices list for the search parameters of its page; unknown values do not filter. */
export function deviceQuery(search: Partial<Record<string, string>>): { query: DeviceFilter; sort: string; filtered: boolean } {
  const sort = search.sort && sorts.includes(search.sort.replace(/^-/, "")) ? search.sort : "name";
  const filters: DeviceFilter = {
    q: search.q,
    os: search.os,
    group: search.group,
    tag: search.tag,
    period: periodValues.find((p) => p === search.period),
    health: some(listOf(search.health, healthStates)),
    risk: some(listOf(search.risk, riskLevels)),
  };
  return { query: { ...filters, sort }, sort, filtered: Object.values(filters).some((v) => v !== undefined && v !== "") };
}
