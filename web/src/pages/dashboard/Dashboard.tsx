// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { sensorHealthQuery, serviceHealthQuery, topAlertsQuery, topDevicesQuery } from "../../api/queries";
import { Card, Page } from "../../components/Page";
import { Severity, SeverityCounts, SeverityIcon, countOf, severityClass } from "../../components/Severity";
import { Health, Risk, RoleState } from "../../components/Status";
import { Time } from "../../components/Time";
import { Empty, Failed, LoadingLines } from "../../components/states";
import { sensorStates, sensorTotal } from "../../components/sensors";
import { severities } from "../../components/values";
import { count } from "../../format/number";
import css from "./Dashboard.module.css";

/** What needs attention now. */
export function Dashboard() {
  return (
    <Page title="Dashboard">
      <div className={css.grid}>
        <ActiveAlerts />
        <SensorHealth />
        <ServiceHealth />
        <LatestAlerts />
        <AtRisk />
      </div>
    </Page>
  );
}

function ActiveAlerts() {
  const health = useQuery(sensorHealthQuery);
  const fresh = useQuery(topAlertsQuery({ status: ["New"] }, 1));
  const progress = useQuery(topAlertsQuery({ status: ["InProgress"] }, 1));
  const counts = health.data?.activeAlerts;
  const total = counts ? counts.high + counts.medium + counts.low + counts.informational : 0;
  return (
    <Card title={<Link to="/alerts">Active alerts</Link>}>
      {health.isPending && <LoadingLines label="Loading alerts" />}
      {health.isError && !health.data && <Failed small what="The alerts" error={health.error} onRetry={() => void health.refetch()} />}
      {counts && (
        <>
          <p className={css.big}>{count(total)}</p>
          <p className="muted">
            <Link to="/alerts" search={{ status: "New", period: "180d" }}>{count(fresh.data?.total ?? 0)} new</Link>
            {", "}
            <Link to="/alerts" search={{ status: "InProgress", period: "180d" }}>{count(progress.data?.total ?? 0)} in progress</Link>
          </p>
          <div className={css.bar} aria-hidden>
            {severities.map((s) => countOf(counts, s) > 0 && <span key={s} className={severityClass(s)} style={{ flexGrow: countOf(counts, s) }} />)}
          </div>
          <ul className={css.legend}>
            {severities.map((s) => (
              <li key={s}>
                <Link to="/alerts" search={{ severity: s, period: "180d" }}><Severity value={s} /></Link>
                <strong>{count(countOf(counts, s))}</strong>
              </li>
            ))}
          </ul>
        </>
      )}
    </Card>
  );
}

function SensorHealth() {
  const health = useQuery(sensorHealthQuery);
  const h = health.data;
  const rows = h ? sensorStates(h) : [];
  const total = sensorTotal(rows);
  return (
    <Card title={<Link to="/devices">Sensor health</Link>}>
      {health.isPending && <LoadingLines label="Loading sensor health" />}
      {health.isError && !h && <Failed small what="The sensor health" error={health.error} onRetry={() => void health.refetch()} />}
      {h && (
        <>
          <p className={css.big}>{count(total)}</p>
          <p className="muted">{total === 1 ? "device" : "devices"}</p>
          <ul className={css.legend}>
            {rows.map(({ state, count: n }) => (
              <li key={state}>
                <Link to="/devices" search={{ health: state }}><Health value={state} /></Link>
                <strong>{count(n)}</strong>
              </li>
            ))}
          </ul>
        </>
      )}
    </Card>
  );
}

function ServiceHealth() {
  const roles = useQuery(serviceHealthQuery);
  return (
    <Card title={<Link to="/health">Service health</Link>}>
      {roles.isPending && <LoadingLines label="Loading service health" />}
      {roles.isError && !roles.data && <Failed small what="The service health" error={roles.error} onRetry={() => void roles.refetch()} />}
      <ul className={css.legend}>
        {roles.data?.map((r) => (
          <li key={r.name} title={r.detail}>
            <span>{r.name}</span>
            <RoleState value={r.state} />
          </li>
        ))}
      </ul>
    </Card>
  );
}

function LatestAlerts() {
  const alerts = useQuery(topAlertsQuery({ status: ["New", "InProgress"], sort: "-lastActivity" }, 8));
  return (
    <Card title="Latest active alerts" className={css.wide} actions={<Link to="/alerts">All alerts</Link>}>
      {alerts.isPending && <LoadingLines label="Loading alerts" />}
      {alerts.isError && !alerts.data && <Failed small what="The alerts" error={alerts.error} onRetry={() => void alerts.refetch()} />}
      {alerts.data?.items.length === 0 && <Empty small title="No active alerts">A new alert shows here within seconds.</Empty>}
      <ul className={css.list}>
        {alerts.data?.items.map((a) => (
          <li key={a.id} className={css.alert}>
            <SeverityIcon value={a.severity} />
            <Link to="/alerts/$id" params={{ id: a.id }} className="ellipsis">{a.title}</Link>
            <Link to="/devices/$id" params={{ id: a.deviceId }} className={`ellipsis ${css.device}`}>{a.deviceName}</Link>
            <span className={css.time}><Time value={a.lastActivity} look="short" /></span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function AtRisk() {
  const devices = useQuery(topDevicesQuery({ risk: ["High", "Medium", "Low"], sort: "-activeAlerts" }, 8));
  return (
    <Card title="Devices at risk" actions={<Link to="/devices" search={{ sort: "-activeAlerts" }}>All devices</Link>}>
      {devices.isPending && <LoadingLines label="Loading devices" />}
      {devices.isError && !devices.data && <Failed small what="The devices" error={devices.error} onRetry={() => void devices.refetch()} />}
      {devices.data?.items.length === 0 && <Empty small title="No device is at risk" />}
      <ul className={css.list}>
        {devices.data?.items.map((d) => (
          <li key={d.id} className={css.risk}>
            <Link to="/devices/$id" params={{ id: d.id }} className="ellipsis">{d.name}</Link>
            <Risk value={d.risk} brief />
            <SeverityCounts counts={d.activeAlerts} />
          </li>
        ))}
      </ul>
    </Card>
  );
}
