// SPDX-License-Identifier: Apache-2.0
import { useInfiniteQuery } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { useCallback, useMemo, useState } from "react";
import { alertsQuery } from "../../api/queries";
import type { Device } from "../../api/types";
import { Empty, Failed, LoadingRows } from "../../components/states";
import { useSearchState } from "../../components/useSearchState";
import { AlertGrid } from "../alerts/AlertGrid";
import { AlertPane } from "../alerts/AlertPane";
import css from "../list.module.css";

/** Alerts of one device, of any status. */
export function DeviceAlerts({ device }: { device: Device }) {
  const [search, change] = useSearchState();
  const router = useRouter();
  const sort = search.sort ?? "-lastActivity";
  const list = useInfiniteQuery(alertsQuery({ device: device.id, sort }));
  const rows = useMemo(() => list.data?.pages.flatMap((p) => p.items) ?? [], [list.data]);
  const [pane, setPane] = useState<string | null>(null);
  const { fetchNextPage } = list;
  const more = useCallback(() => void fetchNextPage(), [fetchNextPage]);
  return (
    <div className={css.split}>
      <div className={css.panel}>
        {list.isPending && <LoadingRows label="Loading alerts" />}
        {list.isError && !list.data && <Failed what="The alerts" error={list.error} onRetry={() => void list.refetch()} />}
        {list.data && rows.length === 0 && <Empty title="No alert was raised on this device" />}
        {rows.length > 0 && (
          <AlertGrid
            oneDevice
            rows={rows}
            total={list.data?.pages[0]?.total ?? rows.length}
            sort={sort}
            onSort={(s) => change({ sort: s })}
            current={pane ?? undefined}
            onOpen={(a) => void router.navigate({ to: "/alerts/$id", params: { id: a.id } })}
            onManage={(a) => setPane(a.id === pane ? null : a.id)}
            hasMore={list.hasNextPage}
            loadingMore={list.isFetchingNextPage}
            onMore={more}
          />
        )}
      </div>
      {pane && <AlertPane id={pane} onClose={() => setPane(null)} />}
    </div>
  );
}
