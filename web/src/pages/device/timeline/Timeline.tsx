// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import { ArrowUpRegular } from "@fluentui/react-icons";
import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useContext, useEffect, useMemo, useState } from "react";
import { LiveContext } from "../../../api/live";
import { timelineQuery } from "../../../api/queries";
import type { Device } from "../../../api/types";
import { Empty, Failed, LoadingRows } from "../../../components/states";
import { useSearchState } from "../../../components/useSearchState";
import { useSettings } from "../../../settings";
import list from "../../list.module.css";
import css from "./Timeline.module.css";
import { TimelineFilters } from "./TimelineFilters";
import { TimelineList } from "./TimelineList";
import { chipsOf, noFilters, timelineQueryOf } from "./filters";
import { timelineRows } from "./rows";

/** Everything that a device did, newest first. */
export function Timeline({ device }: { device: Device }) {
  const [search, change] = useSearchState();
  const { zone } = useSettings();
  const client = useQueryClient();
  const { level, types, q, user, from, to, event } = search;
  const options = useMemo(() => timelineQuery(device.id, timelineQueryOf({ level, types, q, user, from, to }, zone)), [device.id, level, types, q, user, from, to, zone]);
  const events = useInfiniteQuery(options);
  const pages = events.data?.pages;
  const rows = useMemo(() => timelineRows(pages ?? [], zone), [pages, zone]);
  const chips = chipsOf(search, zone);
  const [waiting, clearWaiting] = useNewEvents(device.id, !to);
  const { fetchNextPage } = events;
  const more = useCallback(() => void fetchNextPage(), [fetchNextPage]);
  const reload = () => {
    clearWaiting();
    void client.resetQueries({ queryKey: options.queryKey });
  };
  return (
    <>
      <TimelineFilters device={device} search={search} change={change} chips={chips} />
      <div className={`${list.panel} ${css.panel}`}>
        {waiting && (
          <Button className={css.pill} shape="circular" appearance="primary" size="small" icon={<ArrowUpRegular />} onClick={reload}>New events</Button>
        )}
        {events.isPending && <LoadingRows label="Loading the timeline" rows={12} />}
        {events.isError && !events.data && <Failed what="The timeline" error={events.error} onRetry={() => void events.refetch()} />}
        {events.data && rows.length === 0 && (
          chips.length > 0 ? (
            <Empty title="No event matches these filters" actions={<Button onClick={() => change(noFilters)}>Remove all filters</Button>} />
          ) : (
            <Empty title="No events yet">Events show here as soon as the sensor sends them.</Empty>
          )
        )}
        {rows.length > 0 && (
          <TimelineList
            key={JSON.stringify(options.queryKey)}
            deviceId={device.id}
            rows={rows}
            selected={event}
            onSelect={(key) => change({ event: key })}
            hasMore={events.hasNextPage}
            loadingMore={events.isFetchingNextPage}
            failedMore={events.isFetchNextPageError}
            onMore={more}
          />
        )}
      </div>
    </>
  );
}

/** Whether the device sent events since the timeline was loaded. */
function useNewEvents(deviceId: string, follow: boolean): [boolean, () => void] {
  const live = useContext(LiveContext);
  const [waiting, setWaiting] = useState("");
  useEffect(
    () =>
      live.onTimeline((id) => {
        if (id === deviceId) {
          setWaiting(id);
        }
      }),
    [live, deviceId],
  );
  return [follow && waiting === deviceId, useCallback(() => setWaiting(""), [])];
}
