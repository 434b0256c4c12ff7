// SPDX-License-Identifier: Apache-2.0
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import type { Alert, Evidence as Item } from "../../api/types";
import { Copy } from "../../components/Copy";
import { type Column, Grid } from "../../components/Grid";
import { Time } from "../../components/Time";
import { Empty } from "../../components/states";
import list from "../list.module.css";
import { describeEvidence } from "./evidence";
import { around } from "./links";

type Row = Item & { key: string };

/** The entities and events that an alert rests on. */
export function Evidence({ alert }: { alert: Alert }) {
  const rows = useMemo(() => alert.evidence.map((e, i): Row => ({ ...e, key: String(i) })), [alert.evidence]);
  const columns = useMemo(
    (): Column<Row>[] => [
      {
        id: "time",
        header: "Time",
        width: "96px",
        cell: (e) => <Link {...around(alert.deviceId, e.time, e)} title="Show on the timeline"><Time value={e.time} look="short" /></Link>,
      },
      { id: "type", header: "Entity", width: "70px", cell: (e) => e.entityType },
      { id: "role", header: "Role", width: "76px", cell: (e) => e.role },
      { id: "what", header: "Description", width: "minmax(200px, 3fr)", cell: (e) => <code title={describeEvidence(e).what}>{describeEvidence(e).what}</code> },
      {
        id: "detail",
        header: "Details",
        width: "minmax(110px, 1.5fr)",
        cell: (e) => {
          const { detail } = describeEvidence(e);
          return detail && <span className={list.withIcon}><code className="ellipsis" title={detail}>{detail}</code><Copy text={detail} label="Copy details" /></span>;
        },
      },
    ],
    [alert.deviceId],
  );
  if (rows.length === 0) {
    return <Empty small title="No evidence was kept with this alert" />;
  }
  return <Grid inline label="Evidence" columns={columns} rows={rows} rowKey={(e) => e.key} rowHeight={36} />;
}
