// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { sensorHealthQuery, serviceHealthQuery } from "../../api/queries";
import type { ServiceRole } from "../../api/types";
import { type Column, Grid } from "../../components/Grid";
import { Card, Page } from "../../components/Page";
import { Health as HealthMark, RoleState } from "../../components/Status";
import { type SensorState, sensorStates, sensorTotal } from "../../components/sensors";
import { Empty, Failed, LoadingLines } from "../../components/states";
import { count, counted, words } from "../../format/number";
import list from "../list.module.css";
import css from "./Health.module.css";

const roleColumns: Column<ServiceRole>[] = [
  { id: "name", header: "Part", width: "minmax(160px, 1fr)", cell: (r) => <span className={list.strong}>{words(r.name)}</span> },
  { id: "state", header: "State", width: "140px", cell: (r) => <RoleState value={r.state} /> },
  { id: "detail", header: "Detail", width: "minmax(240px, 4fr)", cell: (r) => <span title={r.detail}>{r.detail || <span className="muted">Nothing to report</span>}</span> },
];

const stateColumns: Column<SensorState>[] = [
  { id: "state", header: "State", width: "minmax(270px, 1.2fr)", cell: (s) => <Link to="/devices" search={{ health: s.state }}><HealthMark value={s.state} /></Link> },
  { id: "count", header: "Devices", width: "100px", cell: (s) => count(s.count) },
  { id: "meaning", header: "Meaning", width: "minmax(240px, 4fr)", cell: (s) => <span className="muted">{s.meaning}</span> },
];

/** State of the parts of the service itself, and of the sensors that report to it. */
export function Health() {
  const roles = useQuery(serviceHealthQuery);
  const bad = roles.data?.filter((r) => r.state !== "ok").length ?? 0;
  return (
    <Page title="Health" mark={roles.data && <span className="muted" aria-live="polite">{bad === 0 ? "All parts work" : `${bad} of ${roles.data.length} parts have a problem`}</span>}>
      <div className={css.page}>
        <Card title="Service" flush>
          {roles.isPending && <LoadingLines label="Loading service health" />}
          {roles.isError && !roles.data && <Failed small what="The service health" error={roles.error} onRetry={() => void roles.refetch()} />}
          {roles.data?.length === 0 && <Empty small title="The server names no parts" />}
          {roles.data && roles.data.length > 0 && <Grid inline label="Parts of the service" columns={roleColumns} rows={roles.data} rowKey={(r) => r.name} rowHeight={36} />}
        </Card>
        <Sensors />
      </div>
    </Page>
  );
}

function Sensors() {
  const health = useQuery(sensorHealthQuery);
  const states = health.data && sensorStates(health.data);
  return (
    <Card title="Sensors" flush actions={states && <span className="muted">{counted(sensorTotal(states), "device")}</span>}>
      {health.isPending && <LoadingLines label="Loading sensor health" />}
      {health.isError && !states && <Failed small what="The sensor health" error={health.error} onRetry={() => void health.refetch()} />}
      {states && <Grid inline label="Sensors by state" columns={stateColumns} rows={states} rowKey={(s) => s.state} rowHeight={36} />}
    </Card>
  );
}
