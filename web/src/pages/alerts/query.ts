// SPDX-License-Identifier: Apache-2.0
import type { Alert, AlertFilter } from "../../api/types";
import { severities, statuses } from "../../components/values";
import { listOf, oneOf, some } from "../../search";
import { periodValues } from "../periods";

type Search = Partial<Record<string, string>>;

const sorts = ["lastActivity", "firstActivity", "created", "severity", "status", "title", "device", "user", "category", "source", "assignedTo", "count"];

/** Queues of the alerts page. Each is a set of filters with a name. */
export const queues = [
  { id: "active", label: "Active", status: "New,InProgress", assigned: "" },
  { id: "new", label: "New", status: "New", assigned: "" },
  { id: "progress", label: "In progress", status: "InProgress", assigned: "" },
  { id: "resolved", label: "Resolved", status: "Resolved", assigned: "" },
  { id: "mine", label: "Assigned to me", status: "New,InProgress", assigned: "me" },
  { id: "all", label: "All", status: "New,InProgress,Resolved", assigned: "" },
] as const;

const defaultStatus = "New,InProgress";
const defaultPeriod = "30d";

/** Queue that the search parameters amount to; undefined when they are none of them. */
export function queueOf(search: Search): string | undefined {
  const status = search.status ?? defaultStatus;
  return queues.find((q) => q.status === status && q.assigned === (search.assigned ?? ""))?.id;
}

/** Search parameters that choose a queue; the default one leaves the address clean. */
export function queueSearch(id: string): Search {
  const q = queues.find((x) => x.id === id) ?? queues[0];
  return { status: q.status === defaultStatus ? undefined : q.status, assigned: q.assigned || undefined };
}

export const clearFilters: Search = {
  severity: undefined, category: undefined, device: undefined, user: undefined, source: undefined, q: undefined, period: undefined, status: undefined, assigned: undefined,
};

/** Query of the alerts queue for the search parameters of its page; unknown values do not filter. */
export function alertQueryOf(search: Search): { query: AlertFilter; sort: string; period: string; view: "flat" | "grouped"; filtered: boolean } {
  const sort = search.sort && sorts.includes(search.sort.replace(/^-/, "")) ? search.sort : "-lastActivity";
  const period = oneOf(search.period, periodValues, defaultPeriod);
  const status = some(listOf(search.status, statuses)) ?? listOf(defaultStatus, statuses);
  const filters: AlertFilter = {
    severity: some(listOf(search.severity, severities)),
    category: some(listOf(search.category)),
    source: some(listOf(search.source)),
    device: search.device,
    user: search.user,
    q: search.q,
  };
  return {
    query: { ...filters, status: status.length === statuses.length ? undefined : status, assigned: search.assigned, period, sort },
    sort,
    period,
    view: oneOf(search.view, ["flat", "grouped"], "flat"),
    filtered: period !== defaultPeriod || Object.values(filters).some((v) => v !== undefined && v !== ""),
  };
}

export interface Group {
  key: string;
  title: string;
  category: string;
  severity: string;
  alerts: Alert[];
  devices: number;
  lastActivity: string;
}

const rank: Record<string, number> = { High: 3, Medium: 2, Low: 1, Informational: 0 };

/** Alerts of equal title together, in the order in which each title first comes. */
export function groupByTitle(alerts: readonly Alert[]): Group[] {
  const groups = new Map<string, Group>();
  for (const a of alerts) {
    const g = groups.get(a.title);
    if (!g) {
      groups.set(a.title, { key: a.title, title: a.title, category: a.category, severity: a.severity, alerts: [a], devices: 1, lastActivity: a.lastActivity });
      continue;
    }
    g.alerts.push(a);
    if ((rank[a.severity] ?? 0) > (rank[g.severity] ?? 0)) {
      g.severity = a.severity;
    }
    if (a.lastActivity > g.lastActivity) {
      g.lastActivity = a.lastActivity;
    }
  }
  for (const g of groups.values()) {
    g.devices = new Set(g.alerts.map((a) => a.deviceId)).size;
  }
  return [...groups.values()];
}

/** Row of the grouped view: a group, or an alert of a group that is open. */
export type GroupRow = { kind: "group"; group: Group; open: boolean } | { kind: "alert"; alert: Alert };

/** Rows of the grouped view with some groups open. */
export function groupRows(groups: readonly Group[], open: ReadonlySet<string>): GroupRow[] {
  return groups.flatMap((group): GroupRow[] => {
    const isOpen = open.has(group.key);
    return [{ kind: "group", group, open: isOpen }, ...(isOpen ? group.alerts.map((alert): GroupRow => ({ kind: "alert", alert })) : [])];
  });
}
