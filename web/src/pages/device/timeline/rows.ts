// SPDX-License-Identifier: Apache-2.0

// Lines of a timeline: events under the heading of their day, with the known
// gaps drawn where they are.
import type { TimelineEvent, TimelineGap, TimelinePage } from "../../../api/types";
import { type Zone, dayOf } from "../../../format/time";

export type Row = { kind: "day"; day: string } | { kind: "event"; event: TimelineEvent; key: string } | { kind: "gap"; gap: TimelineGap };

/** Name of an event within its device, as it stands in the address. */
export function eventKey(e: Pick<TimelineEvent, "bootId" | "reportId">): string {
  return `${e.bootId}~${e.reportId}`;
}

/** Lines for the pages loaded so far, newest first. Gaps older than the last event wait until older events are loaded. */
export function timelineRows(pages: readonly TimelinePage[], zone: Zone): Row[] {
  const gaps = uniqueGaps(pages);
  const rows: Row[] = [];
  let day = "";
  let nextGap = 0;
  const head = (time: string) => {
    const d = dayOf(new Date(time), zone);
    if (d !== day) {
      day = d;
      rows.push({ kind: "day", day });
    }
  };
  const gapsUntil = (time: number) => {
    for (let g = gaps[nextGap]; g && Date.parse(g.to) >= time; g = gaps[++nextGap]) {
      head(g.to);
      rows.push({ kind: "gap", gap: g });
    }
  };
  for (const event of pages.flatMap((p) => p.items)) {
    gapsUntil(Date.parse(event.time));
    head(event.time);
    rows.push({ kind: "event", event, key: eventKey(event) });
  }
  if (!pages.at(-1)?.next) {
    gapsUntil(Number.NEGATIVE_INFINITY);
  }
  return rows;
}

function uniqueGaps(pages: readonly TimelinePage[]): TimelineGap[] {
  const seen = new Map<string, TimelineGap>();
  for (const g of pages.flatMap((p) => p.gaps)) {
    seen.set(`${g.from} ${g.to} ${g.class}`, g);
  }
  return [...seen.values()].toSorted((a, b) => Date.parse(b.to) - Date.parse(a.to));
}

/** Family of an event, which chooses its icon. */
export function familyOf(e: Pick<TimelineEvent, "table" | "actionType">): string {
  switch (e.table) {
    case "DeviceProcessEvents":
      return "process";
    case "DeviceFileEvents":
      return "file";
    case "DeviceNetworkEvents":
      return "network";
    case "DeviceLogonEvents":
      return "logon";
    case "DeviceImageLoadEvents":
      return "image";
    case "DeviceRegistryEvents":
      return "registry";
    case "DeviceEvents":
      return e.actionType.startsWith("Dns") ? "dns" : e.actionType.startsWith("Sensor") ? "sensor" : "other";
    default:
      return "other";
  }
}
