// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import { ChevronDownRegular, ChevronRightRegular, MoreHorizontalRegular } from "@fluentui/react-icons";
import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import type { Alert } from "../../api/types";
import { type Column, Grid } from "../../components/Grid";
import { Severity } from "../../components/Severity";
import { StatusMark } from "../../components/Status";
import { InQueue, Time } from "../../components/Time";
import { toggled } from "../../components/selection";
import { useMedia } from "../../components/useMedia";
import { count, counted, words } from "../../format/number";
import css from "../list.module.css";
import { type GroupRow, groupByTitle, groupRows } from "./query";

export interface AlertGridProps {
  rows: Alert[];
  total?: number;
  sort?: string;
  onSort?: (s: string) => void;
  selected?: ReadonlySet<string>;
  onSelect?: (s: Set<string>) => void;
  current?: string | undefined;
  onOpen: (a: Alert) => void;
  onManage?: (a: Alert) => void;
  hasMore?: boolean;
  loadingMore?: boolean;
  onMore?: () => void;
  /** Leaves out the device column, on the page of one device. */
  oneDevice?: boolean;
}

function TitleCell({ alert, withCount }: { alert: Alert; withCount: boolean }) {
  return (
    <span className={css.twoLines}>
      <Link to="/alerts/$id" params={{ id: alert.id }} className={css.strong ?? ""} title={alert.title}>{alert.title}</Link>
      <span className={css.second}>{words(alert.category)}{withCount && alert.count > 1 && `, ${counted(alert.count, "event")}`}</span>
    </span>
  );
}

function DeviceLink({ alert }: { alert: Alert }) {
  return <Link to="/devices/$id" params={{ id: alert.deviceId }} title={alert.deviceName}>{alert.deviceName || alert.deviceId}</Link>;
}

const deviceColumn: Column<Alert> = { id: "device", header: "Device", width: "minmax(120px, 1.2fr)", sort: "device", cell: (a) => <DeviceLink alert={a} /> };

const bothColumn: Column<Alert> = {
  id: "device",
  header: "Device and user",
  width: "minmax(140px, 1.4fr)",
  sort: "device",
  cell: (a) => (
    <span className={css.twoLines}>
      <DeviceLink alert={a} />
      <span className={css.second}>{a.user || "No user"}</span>
    </span>
  ),
};

const userColumn: Column<Alert> = { id: "user", header: "User", width: "minmax(90px, 0.8fr)", sort: "user", cell: (a) => a.user || <span className="muted">No user</span> };

/** Where there is no room, the user stands below the device and the number of events below the title. */
function alertColumns(onManage: ((a: Alert) => void) | undefined, oneDevice: boolean | undefined, wide: boolean): Column<Alert>[] {
  const columns: Column<Alert>[] = [
    { id: "title", header: "Title", width: "minmax(240px, 3fr)", sort: "title", cell: (a) => <TitleCell alert={a} withCount={!wide} /> },
    ...(oneDevice ? [userColumn] : wide ? [deviceColumn, userColumn] : [bothColumn]),
    { id: "severity", header: "Severity", width: "132px", sort: "severity", descendingFirst: true, cell: (a) => <Severity value={a.severity} /> },
    { id: "last", header: "Last activity", width: "100px", sort: "lastActivity", descendingFirst: true, cell: (a) => <Time value={a.lastActivity} look="short" /> },
    { id: "queue", header: "Time in queue", width: "92px", sort: "created", cell: (a) => <InQueue since={a.created} /> },
    { id: "source", header: "Source", width: "80px", sort: "source", cell: (a) => a.detectionSource },
    { id: "status", header: "Status", width: "110px", sort: "status", cell: (a) => <StatusMark value={a.status} /> },
    { id: "assigned", header: "Assigned to", width: "minmax(90px, 0.8fr)", sort: "assignedTo", cell: (a) => a.assignedTo || <span className="muted">Not assigned</span> },
  ];
  if (wide) {
    columns.push({ id: "count", header: "Count", width: "56px", end: true, sort: "count", descendingFirst: true, cell: (a) => count(a.count) });
  }
  if (onManage) {
    columns.push({
      id: "manage",
      header: "Manage",
      hiddenHeader: true,
      width: "32px",
      cell: (a) => <Button size="small" appearance="subtle" icon={<MoreHorizontalRegular />} aria-label={`Manage alert ${a.title}`} title="Manage" onClick={() => onManage(a)} />,
    });
  }
  return columns;
}

/** Windows in which every column has room. */
const roomy = "(min-width: 1500px)";

/** Marks by which tests find the row of an alert. */
const rowData = (a: Alert) => ({ "data-testid": "alert-row", "data-alert-id": a.id });

/** Alerts as one list. */
export function AlertGrid({ onManage, oneDevice, ...props }: AlertGridProps) {
  const wide = useMedia(roomy);
  const columns = useMemo(() => alertColumns(onManage, oneDevice, wide), [onManage, oneDevice, wide]);
  return <Grid label="Alerts" columns={columns} rowHeight={46} rowKey={(a) => a.id} rowLabel={(a) => a.title} rowData={rowData} {...props} />;
}

/** Alerts of equal title together; a group opens to its alerts. */
export function GroupGrid({ rows, onManage, onOpen, ...props }: AlertGridProps) {
  const [open, setOpen] = useState<Set<string>>(new Set());
  const groups = useMemo(() => groupByTitle(rows), [rows]);
  const lines = useMemo(() => groupRows(groups, open), [groups, open]);
  const toggle = (key: string) => setOpen((o) => toggled(o, key));
  const wide = useMedia(roomy);
  const columns: Column<GroupRow>[] = alertColumns(onManage, false, wide).map((c) => ({
    ...c,
    cell: (r) => (r.kind === "alert" ? c.cell(r.alert) : groupCell(c.id, r, toggle)),
  }));
  return (
    <Grid
      label="Alerts grouped by title"
      columns={columns}
      rows={lines}
      rowHeight={46}
      rowKey={(r) => (r.kind === "alert" ? r.alert.id : `group ${r.group.key}`)}
      rowData={(r) => (r.kind === "alert" ? rowData(r.alert) : {})}
      onOpen={(r) => (r.kind === "alert" ? onOpen(r.alert) : toggle(r.group.key))}
      sort={props.sort ?? ""}
      {...(props.onSort ? { onSort: props.onSort } : {})}
      current={props.current}
      {...(props.hasMore !== undefined ? { hasMore: props.hasMore } : {})}
      {...(props.loadingMore !== undefined ? { loadingMore: props.loadingMore } : {})}
      {...(props.onMore ? { onMore: props.onMore } : {})}
    />
  );
}

function groupCell(column: string, { group, open }: Extract<GroupRow, { kind: "group" }>, toggle: (key: string) => void) {
  switch (column) {
    case "title":
      return (
        <span className={css.withIcon}>
          <Button
            size="small"
            appearance="subtle"
            icon={open ? <ChevronDownRegular /> : <ChevronRightRegular />}
            aria-expanded={open}
            aria-label={`${open ? "Close" : "Open"} group ${group.title}`}
            onClick={() => toggle(group.key)}
          />
          <span className={css.twoLines}>
            <span className={css.strong}>{group.title}</span>
            <span className={css.second}>{words(group.category)}, {counted(group.alerts.length, "alert")}</span>
          </span>
        </span>
      );
    case "device":
      return counted(group.devices, "device");
    case "severity":
      return <Severity value={group.severity} />;
    case "last":
      return <Time value={group.lastActivity} look="short" />;
    case "status":
      return `${count(group.alerts.filter((a) => a.status === "New").length)} new`;
    default:
      return null;
  }
}
