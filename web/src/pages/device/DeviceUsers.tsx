// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { deviceUsersQuery } from "../../api/queries";
import type { Device, DeviceUser } from "../../api/types";
import { type Column, Grid } from "../../components/Grid";
import { Card } from "../../components/Page";
import { Time } from "../../components/Time";
import { Empty, Failed, LoadingRows } from "../../components/states";
import { words } from "../../format/number";
import css from "./Device.module.css";
import { byLogon } from "./users";

/** Accounts that used a device, by how they logged on. */
export function DeviceUsers({ device }: { device: Device }) {
  const users = useQuery(deviceUsersQuery(device.id));
  const columns = useMemo(
    (): Column<DeviceUser>[] => [
      { id: "user", header: "User", width: "minmax(160px, 2fr)", cell: (u) => <Link to="." search={{ tab: "timeline", user: u.account }} title="On the timeline">{u.domain ? `${u.domain}\\${u.account}` : u.account}</Link> },
      { id: "type", header: "User type", width: "minmax(110px, 1fr)", cell: (u) => (u.isLocalAdmin ? "Local admin" : "Standard user") },
      { id: "logon", header: "Logon types", width: "minmax(140px, 1.5fr)", cell: (u) => u.logonTypes.map(words).join(", ") || <span className="muted">Not known</span> },
      { id: "days", header: "Days seen", width: "80px", end: true, cell: (u) => u.daysSeen },
      { id: "first", header: "First seen", width: "150px", cell: (u) => <Time value={u.firstSeen} /> },
      { id: "last", header: "Last seen", width: "150px", cell: (u) => <Time value={u.lastSeen} /> },
    ],
    [],
  );
  if (users.isPending) {
    return <LoadingRows label="Loading users" />;
  }
  if (!users.data) {
    return <Failed what="The users" error={users.error} onRetry={() => void users.refetch()} />;
  }
  if (users.data.length === 0) {
    return <Empty title="Nobody was seen to log on in the last 30 days" />;
  }
  const groups = byLogon(users.data);
  const list = (label: string, rows: DeviceUser[]) =>
    rows.length > 0 && <Card title={label} flush><Grid inline label={label} columns={columns} rows={rows} rowKey={(u) => `${u.domain}\\${u.account}`} rowHeight={36} /></Card>;
  return (
    <div className={css.overview}>
      {list("Interactive and remote interactive", groups.interactive)}
      {list("Network, batch and service", groups.other)}
    </div>
  );
}
