// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import { CheckmarkCircleRegular, DismissRegular, EditRegular, PersonAddRegular, ShieldCheckmarkRegular } from "@fluentui/react-icons";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { useCallback, useMemo, useState } from "react";
import { alertsQuery } from "../../api/queries";
import type { Alert } from "../../api/types";
import { useChangeAlerts } from "../../components/ManageAlerts";
import { Page } from "../../components/Page";
import { Tabs } from "../../components/Tabs";
import { FilterOne } from "../../components/Filter";
import { Empty, Failed, LoadingRows } from "../../components/states";
import { useSearchState } from "../../components/useSearchState";
import { counted } from "../../format/number";
import { useCan, useSession } from "../../session";
import css from "../list.module.css";
import { AlertFilters } from "./AlertFilters";
import { AlertGrid, GroupGrid } from "./AlertGrid";
import { AlertPane, BulkPane } from "./AlertPane";
import { alertQueryOf, clearFilters, queueOf, queueSearch, queues } from "./query";

/** Pane that edits all selected alerts instead of showing one. */
const bulk = "selection";

const queueTabs = queues.map((q) => ({ value: q.id, label: q.label }));

export function Alerts() {
  const [search, change] = useSearchState();
  const router = useRouter();
  const { query, sort, view, filtered } = useMemo(() => alertQueryOf(search), [search]);
  const list = useInfiniteQuery(alertsQuery(query));
  const rows = useMemo(() => list.data?.pages.flatMap((p) => p.items) ?? [], [list.data]);
  const total = list.data?.pages[0]?.total ?? 0;
  const [selected, setSelected] = useState<Set<string>>(new Set());
  const chosen = useMemo(() => rows.filter((a) => selected.has(a.id)), [rows, selected]);
  const { fetchNextPage } = list;
  const more = useCallback(() => void fetchNextPage(), [fetchNextPage]);
  const queue = queueOf(search);
  const openPage = (a: Alert) => void router.navigate({ to: "/alerts/$id", params: { id: a.id } });
  const props = {
    rows, total, sort, selected,
    onSelect: setSelected,
    current: search.pane,
    onSort: (s: string) => change({ sort: s }),
    onOpen: openPage,
    onManage: (a: Alert) => change({ pane: search.pane === a.id ? undefined : a.id }),
    hasMore: list.hasNextPage,
    loadingMore: list.isFetchingNextPage,
    onMore: more,
  };
  return (
    <Page
      title="Alerts"
      mark={list.data && <span className="muted" aria-live="polite">{counted(total, "alert")}</span>}
      fill
      actions={
        <FilterOne
          label="View"
          options={[{ value: "flat", label: "Flat" }, { value: "grouped", label: "Grouped by title" }]}
          value={view}
          fallback="flat"
          onChange={(v) => change({ view: v === "flat" ? undefined : v })}
        />
      }
      below={
        <Tabs label="Queues" tabs={queueTabs} value={queue} onChange={(q) => change({ ...queueSearch(q), pane: undefined })} />
      }
    >
      <AlertFilters search={search} change={change} filtered={filtered} />
      <div className={css.split}>
        <div className={css.panel}>
          {chosen.length > 0 && <SelectionBar chosen={chosen} onClear={() => setSelected(new Set())} onEdit={() => change({ pane: bulk })} />}
          {list.isPending && <LoadingRows label="Loading alerts" />}
          {list.isError && !list.data && <Failed what="The alerts" error={list.error} onRetry={() => void list.refetch()} />}
          {list.data && rows.length === 0 && <NoAlerts filtered={filtered || queue !== "active"} onClear={() => change(clearFilters)} />}
          {rows.length > 0 && (view === "grouped" ? <GroupGrid {...props} /> : <AlertGrid {...props} />)}
        </div>
        {search.pane === bulk && chosen.length > 0 && <BulkPane alerts={chosen} onClose={() => change({ pane: undefined })} />}
        {search.pane && search.pane !== bulk && <AlertPane id={search.pane} onClose={() => change({ pane: undefined })} />}
      </div>
    </Page>
  );
}

function SelectionBar({ chosen, onClear, onEdit }: { chosen: Alert[]; onClear: () => void; onEdit: () => void }) {
  const { user } = useSession();
  const can = useCan("alerts.manage");
  const change = useChangeAlerts(chosen.map((a) => a.id));
  return (
    <div className={css.toolbar} role="toolbar" aria-label="Selected alerts">
      <strong aria-live="polite">{counted(chosen.length, "alert")} selected</strong>
      <Button size="small" icon={<EditRegular />} onClick={onEdit}>Manage</Button>
      <Button size="small" icon={<PersonAddRegular />} disabled={!can || change.isPending} onClick={() => change.mutate({ assignedTo: user })}>Assign to me</Button>
      <Button size="small" icon={<CheckmarkCircleRegular />} disabled={!can || change.isPending} onClick={() => change.mutate({ status: "Resolved" })}>Resolve</Button>
      <Button size="small" appearance="subtle" icon={<DismissRegular />} onClick={onClear}>Clear selection</Button>
    </div>
  );
}

function NoAlerts({ filtered, onClear }: { filtered: boolean; onClear: () => void }) {
  if (filtered) {
    return <Empty title="No alert matches" actions={<Button onClick={onClear}>Show active alerts of 30 days</Button>} />;
  }
  return <Empty title="No active alerts in the last 30 days" icon={<ShieldCheckmarkRegular />}>A new alert shows here within seconds.</Empty>;
}
