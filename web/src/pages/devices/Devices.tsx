// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import { ArrowDownloadRegular, DesktopRegular, TagRegular } from "@fluentui/react-icons";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useRouter } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import { address } from "../../api/client";
import { devicesQuery } from "../../api/queries";
import type { Device } from "../../api/types";
import { FilterBar, FilterMany, FilterOne, FilterText } from "../../components/Filter";
import { type Column, Grid } from "../../components/Grid";
import { Page } from "../../components/Page";
import { SeverityCounts } from "../../components/Severity";
import { Connection, Health, Risk } from "../../components/Status";
import { Time } from "../../components/Time";
import { Empty, Failed, LoadingRows } from "../../components/states";
import { useSearchState } from "../../components/useSearchState";
import { healthStates, nameOf, riskLevels } from "../../components/values";
import { download } from "../../format/download";
import { counted } from "../../format/number";
import { listOf, listText } from "../../search";
import css from "../list.module.css";
import { periods } from "../periods";
import { deviceQuery } from "./query";

const columns: Column<Device>[] = [
  {
    id: "name",
    header: "Device",
    width: "minmax(200px, 4fr)",
    sort: "name",
    cell: (d) => (
      <span className={css.withIcon}>
        <DesktopRegular className={css.rowIcon ?? ""} aria-hidden />
        <Link to="/devices/$id" params={{ id: d.id }} className={css.strong ?? ""} title={d.id}>{d.name || d.id}</Link>
        {d.tags.length > 0 && (
          <span title={d.tags.join(", ")} className={css.tagMark}>
            <TagRegular aria-hidden />
            <span className="visually-hidden">Tags: {d.tags.join(", ")}</span>
          </span>
        )}
      </span>
    ),
  },
  { id: "group", header: "Group", width: "minmax(72px, 0.8fr)", sort: "group", cell: (d) => d.group || <span className="muted">None</span> },
  { id: "risk", header: "Risk", width: "88px", sort: "risk", descendingFirst: true, cell: (d) => <Risk value={d.risk} /> },
  { id: "os", header: "OS", width: "minmax(96px, 0.8fr)", sort: "os", cell: (d) => `${d.osDistribution || d.osPlatform} ${d.osVersion}` },
  { id: "health", header: "Health", width: "minmax(124px, 1.2fr)", sort: "health", cell: (d) => <Health value={d.health} reason={d.healthReason} /> },
  { id: "connection", header: "Connection", width: "minmax(108px, 1fr)", cell: (d) => <Connection value={d.connectionState} reason={d.connectionReason} /> },
  { id: "lastSeen", header: "Last seen", width: "96px", sort: "lastSeen", descendingFirst: true, cell: (d) => <Time value={d.lastSeen} look="short" /> },
  { id: "internalIp", header: "Internal IP", width: "minmax(92px, 0.7fr)", sort: "internalIp", cell: (d) => <span className="mono">{d.internalIp}</span> },
  { id: "alerts", header: "Active alerts", width: "148px", sort: "activeAlerts", descendingFirst: true, cell: (d) => <SeverityCounts counts={d.activeAlerts} /> },
];

const clear = { q: undefined, os: undefined, health: undefined, risk: undefined, group: undefined, tag: undefined, period: undefined };

export function Devices() {
  const [search, change] = useSearchState();
  const router = useRouter();
  const { query, sort, filtered } = useMemo(() => deviceQuery(search), [search]);
  const list = useInfiniteQuery(devicesQuery(query));
  const rows = useMemo(() => list.data?.pages.flatMap((p) => p.items) ?? [], [list.data]);
  const total = list.data?.pages[0]?.total ?? 0;
  const { fetchNextPage } = list;
  const more = useCallback(() => void fetchNextPage(), [fetchNextPage]);
  const setText = useCallback((q: string) => change({ q }), [change]);
  return (
    <Page
      title="Devices"
      mark={list.data && <span className="muted" aria-live="polite">{counted(total, "device")}</span>}
      fill
      actions={<Button icon={<ArrowDownloadRegular />} title="All devices, whatever the filters" onClick={() => download(address("/devices.csv"))}>Export CSV</Button>}
    >
      <FilterBar>
        <FilterText label="Name, address or tag" value={search.q ?? ""} onChange={setText} />
        <FilterOne label="Seen in" options={[{ value: "", label: "Any time" }, ...periods]} value={search.period ?? ""} fallback="" onChange={(period) => change({ period })} />
        <FilterMany
          label="Risk"
          options={riskLevels.map((r) => ({ value: r, label: r === "None" ? "No known risk" : r }))}
          values={listOf(search.risk, riskLevels)}
          onChange={(v) => change({ risk: listText(v) })}
        />
        <FilterMany
          label="Health"
          options={healthStates.map((h) => ({ value: h, label: nameOf(h) }))}
          values={listOf(search.health, healthStates)}
          onChange={(v) => change({ health: listText(v) })}
        />
        <FilterText label="OS" value={search.os ?? ""} onChange={(os) => change({ os })} narrow />
        <FilterText label="Group" value={search.group ?? ""} onChange={(group) => change({ group })} narrow />
        <FilterText label="Tag" value={search.tag ?? ""} onChange={(tag) => change({ tag })} narrow />
        {filtered && <Button size="small" appearance="subtle" onClick={() => change(clear)}>Remove all filters</Button>}
      </FilterBar>
      <div className={css.panel}>
        {list.isPending && <LoadingRows label="Loading devices" />}
        {list.isError && !list.data && <Failed what="The devices" error={list.error} onRetry={() => void list.refetch()} />}
        {list.data && rows.length === 0 && <NoDevices filtered={filtered} onClear={() => change(clear)} />}
        {rows.length > 0 && (
          <Grid
            label="Devices"
            columns={columns}
            rows={rows}
            rowKey={(d) => d.id}
            total={total}
            sort={sort}
            onSort={(s) => change({ sort: s })}
            onOpen={(d) => void router.navigate({ to: "/devices/$id", params: { id: d.id } })}
            hasMore={list.hasNextPage}
            loadingMore={list.isFetchingNextPage}
            onMore={more}
          />
        )}
      </div>
    </Page>
  );
}

function NoDevices({ filtered, onClear }: { filtered: boolean; onClear: () => void }) {
  if (filtered) {
    return <Empty title="No device matches these filters" actions={<Button onClick={onClear}>Remove all filters</Button>} />;
  }
  return (
    <Empty title="No device reports yet" icon={<DesktopRegular />} actions={<Link to="/settings" search={{ tab: "enrolment" }}>Make an enrolment token</Link>}>
      Install the sensor on a host with an enrolment token. The device shows here as soon as it reports.
    </Empty>
  );
}
