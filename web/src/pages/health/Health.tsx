// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { serviceHealthQuery } from "../../api/queries";
import type { ServiceRole } from "../../api/types";
import { type Column, Grid } from "../../components/Grid";
import { Page } from "../../components/Page";
import { RoleState } from "../../components/Status";
import { Empty, Failed, LoadingRows } from "../../components/states";
import { words } from "../../format/number";
import list from "../list.module.css";

const columns: Column<ServiceRole>[] = [
  { id: "name", header: "Part", width: "minmax(160px, 1fr)", cell: (r) => <span className={list.strong}>{words(r.name)}</span> },
  { id: "state", header: "State", width: "140px", cell: (r) => <RoleState value={r.state} /> },
  { id: "detail", header: "Detail", width: "minmax(240px, 4fr)", cell: (r) => <span title={r.detail}>{r.detail || <span className="muted">Nothing to report</span>}</span> },
];

/** State of the parts of the service itself. */
export function Health() {
  const roles = useQuery(serviceHealthQuery);
  const bad = roles.data?.filter((r) => r.state !== "ok").length ?? 0;
  return (
    <Page title="Service health" mark={roles.data && <span className="muted" aria-live="polite">{bad === 0 ? "All parts work" : `${bad} of ${roles.data.length} parts have a problem`}</span>} fill>
      <div className={list.panel}>
        {roles.isPending && <LoadingRows label="Loading service health" rows={4} />}
        {roles.isError && !roles.data && <Failed what="The service health" error={roles.error} onRetry={() => void roles.refetch()} />}
        {roles.data?.length === 0 && <Empty title="The server names no parts" />}
        {roles.data && roles.data.length > 0 && <Grid label="Parts of the service" columns={columns} rows={roles.data} rowKey={(r) => r.name} />}
      </div>
    </Page>
  );
}
