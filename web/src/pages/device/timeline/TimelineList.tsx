// SPDX-License-Identifier: Apache-2.0
import { Button, Spinner } from "@fluentui/react-components";
import {
  AppGenericRegular, ChevronDownRegular, ChevronRightRegular, DocumentRegular, GlobeRegular, InfoRegular, KeyRegular, LinkRegular, PersonRegular, PinRegular, PuzzlePieceRegular, ServerLinkRegular, ShieldRegular,
  WarningFilled,
} from "@fluentui/react-icons";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from "react";
import type { TimelineEvent } from "../../../api/types";
import { SeverityIcon, severityClass } from "../../../components/Severity";
import { Time, useNow } from "../../../components/Time";
import { lossText, missingText } from "../../../components/loss";
import { toggled } from "../../../components/selection";
import { dayHeading } from "../../../format/time";
import { useSettings } from "../../../settings";
import { EventDetails } from "./EventDetails";
import css from "./Timeline.module.css";
import { type Band, type Row, familyOf } from "./rows";

const icons: Record<string, ReactNode> = {
  process: <AppGenericRegular />,
  file: <DocumentRegular />,
  network: <GlobeRegular />,
  dns: <ServerLinkRegular />,
  logon: <KeyRegular />,
  image: <LinkRegular />,
  registry: <PuzzlePieceRegular />,
  sensor: <ShieldRegular />,
  account: <PersonRegular />,
  persistence: <PinRegular />,
};

interface Props {
  deviceId: string;
  rows: Row[];
  selected: string | undefined;
  onSelect: (key: string | undefined) => void;
  hasMore: boolean;
  loadingMore: boolean;
  failedMore: boolean;
  onMore: () => void;
}

/** The lines of a timeline. Only those in view exist in the page; arrows walk, Enter opens one. */
export function TimelineList({ deviceId, rows, selected, onSelect, hasMore, loadingMore, failedMore, onMore }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState<Set<string>>(() => new Set(selected ? [selected] : []));
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: (i) => (rows[i]?.kind === "day" ? 34 : 33),
    getItemKey: (i) => rowKey(rows[i], i),
    overscan: 15,
    scrollPaddingStart: 28, // the sticky day
  });
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (hasMore && !loadingMore && !failedMore && last >= rows.length - 40) {
      onMore();
    }
  }, [hasMore, loadingMore, failedMore, last, rows.length, onMore]);

  // An event that the address names is brought into view once.
  const sought = useRef(selected);
  useEffect(() => {
    const i = sought.current ? rows.findIndex((r) => r.kind === "event" && r.key === sought.current) : -1;
    if (i >= 0) {
      sought.current = undefined;
      virtual.scrollToIndex(i, { align: "start" });
    }
  }, [rows, virtual]);

  const focusLine = useRef<number | null>(null);
  useEffect(() => {
    // A line out of view exists only some renders after it was scrolled to.
    const line = focusLine.current === null ? null : scroller.current?.querySelector<HTMLElement>(`[data-line="${focusLine.current}"]`);
    if (line) {
      focusLine.current = null;
      line.focus({ preventScroll: true });
    }
  });
  const keyDown = (e: KeyboardEvent) => {
    const line = (e.target as HTMLElement).dataset.line;
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (line === undefined || step === undefined) {
      return;
    }
    e.preventDefault();
    for (let i = Number(line) + step; i >= 0 && i < rows.length; i += step) {
      if (rows[i]?.kind === "event") {
        focusLine.current = i;
        virtual.scrollToIndex(i);
        setOpen((o) => new Set(o)); // draw again, so that the line to focus exists
        return;
      }
    }
  };
  const toggle = (key: string) => {
    const opens = !open.has(key);
    setOpen(toggled(open, key));
    onSelect(opens ? key : undefined);
  };
  const top = virtual.range?.startIndex ?? 0;
  return (
    <>
      <div className={css.head} aria-hidden>
        <span className={css.headTime}>Time</span>
        <span className={css.headEvent}>Event</span>
        <span className={css.headChain}>Details</span>
        <span className={css.headUser}>User</span>
      </div>
      <div className={css.scroller} ref={scroller} onKeyDown={keyDown}>
        <StickyDay rows={rows} top={top} />
        <div role="list" aria-label="Events, newest first" className={css.list} style={{ height: virtual.getTotalSize() }}>
          {items.map((v) => {
            const row = rows[v.index];
            return (
              row && (
                <div key={v.key} role="listitem" data-index={v.index} data-testid={row.kind === "event" ? "timeline-row" : undefined} ref={virtual.measureElement} className={css.item} style={{ transform: `translateY(${v.start}px)` }}>
                  <Line row={row} index={v.index} open={row.kind === "event" && open.has(row.key)} marked={row.kind === "event" && row.key === selected} onToggle={toggle} deviceId={deviceId} />
                </div>
              )
            );
          })}
        </div>
        {loadingMore && <Spinner className={css.more} size="tiny" label="Loading older events" />}
        {failedMore && !loadingMore && <div className={css.more} role="alert">Older events could not be loaded. <Button size="small" onClick={onMore}>Try again</Button></div>}
        {!hasMore && <p className={css.end}>No older events match.</p>}
      </div>
    </>
  );
}

function rowKey(row: Row | undefined, i: number): string {
  switch (row?.kind) {
    case "day":
      return `day ${row.day}`;
    case "gap":
      return `gap ${row.band.from} ${row.band.to} ${row.band.losses[0]?.class ?? ""}`;
    case "event":
      return `${row.key} ${row.event.table} ${row.event.time}`;
    default:
      return String(i);
  }
}

function StickyDay({ rows, top }: { rows: Row[]; top: number }) {
  const { zone } = useSettings();
  const now = useNow();
  let i = Math.min(top, rows.length - 1);
  while (i > 0 && rows[i]?.kind !== "day") {
    i--;
  }
  const row = rows[i];
  return <div className={css.sticky} aria-hidden>{row?.kind === "day" && dayHeading(row.day, now, zone)}</div>;
}

interface LineProps {
  row: Row;
  index: number;
  open: boolean;
  marked: boolean;
  onToggle: (key: string) => void;
  deviceId: string;
}

function Line({ row, index, open, marked, onToggle, deviceId }: LineProps) {
  const { zone } = useSettings();
  const now = useNow();
  switch (row.kind) {
    case "day":
      return <h2 className={css.day}>{dayHeading(row.day, now, zone)}</h2>;
    case "gap":
      return <LossBand band={row.band} />;
    case "event":
      return (
        <div className={`${css.event} ${row.lossy ? css.lossy : ""} ${row.event.severity ? `${css.alerted} ${severityClass(row.event.severity)}` : ""}`}>
          <button type="button" data-line={index} className={`${css.line} ${marked ? css.marked : ""}`} aria-expanded={open} onClick={() => onToggle(row.key)}>
            <Summary event={row.event} />
            <span className={css.chevron} aria-hidden>{open ? <ChevronDownRegular /> : <ChevronRightRegular />}</span>
          </button>
          {open && <EventDetails event={row.event} deviceId={deviceId} />}
        </div>
      );
  }
}

/** A time in which events were lost, above the events that happened in it. */
function LossBand({ band }: { band: Band }) {
  return (
    <div className={css.gap} data-testid="timeline-gap">
      <WarningFilled aria-hidden className={css.gapIcon ?? ""} />
      <span>
        {band.losses.map((l) => lossText(l.class, l.lost)).join("; ")}
        <span className={css.gapNote}>{missingText(band.losses.map((l) => l.class))}</span>
      </span>
      <span className={css.gapTime}>
        {band.from !== band.to && <><Time value={band.from} look="clock" /> to </>}
        <Time value={band.to} look="clock" />
      </span>
    </div>
  );
}

function Summary({ event }: { event: TimelineEvent }) {
  return (
    <>
      <span className={css.time}><Time value={event.time} look="ms" /></span>
      <span className={css.icon} aria-hidden>{icons[familyOf(event)] ?? <InfoRegular />}</span>
      <span className={css.title} title={event.title}>
        {event.severity && <SeverityIcon value={event.severity} />}
        <span className={css.titleText}>{event.title}</span>
      </span>
      <span className={css.chain} title={event.chain.join(" > ")}>{event.chain.join(" > ")}</span>
      <span className={css.user}>{event.user}</span>
    </>
  );
}
