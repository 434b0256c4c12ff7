// SPDX-License-Identifier: Apache-2.0

// Lines of a timeline: events under the heading of their day, with the known
// gaps drawn where they are.
import type { TimelineEvent, TimelineGap, TimelinePage } from "../../../api/types";
import { type Zone, dayOf } from "../../../format/time";

export type Row = { kind: "day"; day: string } | { kind: "event"; event: TimelineEvent; key: string; lossy: boolean } | { kind: "gap"; band: Band };

/** A time in which events were lost, with what of each class. */
export interface Band {
  from: string;
  to: string;
  losses: TimelineGap[];
}

/** Name of an event within its device, as it stands in the address. */
export function eventKey(e: Pick<TimelineEvent, "bootId" | "reportId">): string {
  return `${e.bootId}~${e.reportId}`;
}

/** Lines for the pages loaded so far, newest first. Gaps older than the last event wait until older events are loaded. */
export function timelineRows(pages: readonly TimelinePage[], zone: Zone): Row[] {
  const bands = lossBands(pages.flatMap((p) => p.gaps));
  const rows: Row[] = [];
  let day = "";
  let next = 0;
  const head = (time: string) => {
    const d = dayOf(new Date(time), zone);
    if (d !== day) {
      day = d;
      rows.push({ kind: "day", day });
    }
  };
  const bandsUntil = (time: number) => {
    for (let b = bands[next]; b && Date.parse(b.to) >= time; b = bands[++next]) {
      head(b.to);
      rows.push({ kind: "gap", band: b });
    }
  };
  for (const event of pages.flatMap((p) => p.items)) {
    const time = Date.parse(event.time);
    bandsUntil(time);
    head(event.time);
    const band = bands[next - 1];
    rows.push({ kind: "event", event, key: eventKey(event), lossy: band !== undefined && Date.parse(band.from) <= time });
  }
  if (!pages.at(-1)?.next) {
    bandsUntil(Number.NEGATIVE_INFINITY);
  }
  return rows;
}

/** Losses gathered into the times in which they happened, newest first. A loss that several pages name counts once. */
export function lossBands(gaps: readonly TimelineGap[]): Band[] {
  const seen = new Map<string, TimelineGap>();
  for (const g of gaps) {
    seen.set(`${g.from} ${g.to} ${g.class}`, g);
  }
  const bands: Band[] = [];
  for (const g of [...seen.values()].toSorted((a, b) => Date.parse(b.to) - Date.parse(a.to) || a.class.localeCompare(b.class))) {
    const band = bands.at(-1);
    if (band && Date.parse(g.to) >= Date.parse(band.from)) {
      band.from = Date.parse(g.from) < Date.parse(band.from) ? g.from : band.from;
      add(band.losses, g);
    } else {
      bands.push({ from: g.from, to: g.to, losses: [{ ...g }] });
    }
  }
  return bands;
}

function add(losses: TimelineGap[], g: TimelineGap): void {
  const same = losses.find((l) => l.class === g.class);
  if (same) {
    same.lost += g.lost;
  } else {
    losses.push({ ...g });
  }
}

// Families of the many kinds of DeviceEvents, by how their names begin and end.
const deviceFamilies: readonly (readonly [RegExp, string])[] = [
  [/^Dns/, "dns"],
  [/^(Sensor|DeviceSilent$|DeviceSuspended$|DeviceResumed$|ClockChanged$)/, "sensor"],
  [/^(UserAccount|SecurityGroup|PasswordChanged|SshAuthorizedKeys|RootCertificate)/, "account"],
  [/^(ScheduledTask|Service|Package|BrowserExtension|SecurityLogCleared|AuditPolicyModification)|Modified$/, "persistence"],
];

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
      return deviceFamilies.find(([pattern]) => pattern.test(e.actionType))?.[1] ?? "other";
    default:
      return "other";
  }
}
