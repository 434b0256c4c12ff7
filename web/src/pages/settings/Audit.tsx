// SPDX-License-Identifier: Apache-2.0
import { useInfiniteQuery } from "@tanstack/react-query";
import { useCallback, useMemo } from "react";
import { auditQuery } from "../../api/queries";
import type { AuditEntry } from "../../api/types";
import { type Column, Grid } from "../../components/Grid";
import { Outcome } from "../../components/Status";
import { Time } from "../../components/Time";
import { Empty, Failed, LoadingRows } from "../../components/states";
import list from "../list.module.css";

function detailText(detail: AuditEntry["detail"]): string {
  return Object.entries(detail ?? {}).map(([k, v]) => `${k}: ${v}`).join(", ");
}

const columns: Column<AuditEntry>[] = [
  { id: "seq", header: "No.", width: "60px", end: true, cell: (e) => e.seq },
  { id: "time", header: "Time", width: "150px", cell: (e) => <Time value={e.time} /> },
  { id: "actor", header: "Who", width: "minmax(90px, 1fr)", cell: (e) => e.actor },
  { id: "action", header: "Action", width: "minmax(130px, 1fr)", cell: (e) => <code>{e.action}</code> },
  { id: "outcome", header: "Outcome", width: "100px", cell: (e) => <Outcome value={e.outcome} /> },
  { id: "target", header: "Target", width: "minmax(120px, 1.2fr)", cell: (e) => <code title={e.target}>{e.target}</code> },
  { id: "address", header: "Address", width: "120px", cell: (e) => <code>{e.address}</code> },
  { id: "detail", header: "Detail", width: "minmax(180px, 2fr)", cell: (e) => <span title={detailText(e.detail)}>{detailText(e.detail)}</span> },
];

/** Who did what in this organisation, newest first. */
export function Audit() {
  const entries = useInfiniteQuery(auditQuery);
  const rows = useMemo(() => entries.data?.pages.flatMap((p) => p.items) ?? [], [entries.data]);
  const { fetchNextPage } = entries;
  const more = useCallback(() => void fetchNextPage(), [fetchNextPage]);
  return (
    <div className={list.panel}>
      {entries.isPending && <LoadingRows label="Loading the audit log" />}
      {entries.isError && !entries.data && <Failed what="The audit log" error={entries.error} onRetry={() => void entries.refetch()} />}
      {entries.data && rows.length === 0 && <Empty title="The audit log is empty" />}
      {rows.length > 0 && (
        <Grid label="Audit log, newest first" columns={columns} rows={rows} rowKey={(e) => String(e.seq)} rowHeight={34} hasMore={entries.hasNextPage} loadingMore={entries.isFetchingNextPage} onMore={more} />
      )}
    </div>
  );
}
