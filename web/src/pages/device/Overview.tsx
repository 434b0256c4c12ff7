// SPDX-License-Identifier: Apache-2.0
import { MessageBar, MessageBarBody, MessageBarTitle } from "@fluentui/react-components";
import { CheckmarkCircleFilled, ErrorCircleFilled, EyeOffRegular } from "@fluentui/react-icons";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { deviceUsersQuery, topAlertsQuery } from "../../api/queries";
import type { Device, Hook } from "../../api/types";
import { Copy } from "../../components/Copy";
import { Card, Facts } from "../../components/Page";
import { Severity, SeverityCounts } from "../../components/Severity";
import { Connection, Health, Label, Risk } from "../../components/Status";
import { Ago, Time } from "../../components/Time";
import { lossText } from "../../components/loss";
import { Empty, Failed, LoadingLines } from "../../components/states";
import { words } from "../../format/number";
import css from "./Device.module.css";
import { mostAndLeast } from "./users";

/** What is known about a device, at a glance. */
export function Overview({ device }: { device: Device }) {
  return (
    <div className={css.overview}>
      {device.identityClash && (
        <MessageBar intent="error" layout="multiline">
          <MessageBarBody><MessageBarTitle>Two hosts use this identity.</MessageBarTitle> The disk or the key of this device was probably copied. Revoke the identity and enrol both hosts again.</MessageBarBody>
        </MessageBar>
      )}
      {device.offboarded && <MessageBar intent="warning"><MessageBarBody>The identity of this device was revoked. It cannot report.</MessageBarBody></MessageBar>}
      <div className={css.tiles}>
        <Details device={device} />
        <HealthCard device={device} />
        <div className={css.stack}>
          <RiskCard device={device} />
          <Users device={device} />
        </div>
      </div>
      <Card title="Collection" flush><Hooks hooks={device.hooks} /></Card>
      <LatestAlerts device={device} />
    </div>
  );
}

function Details({ device: d }: { device: Device }) {
  return (
    <Card title="Device details">
      <Facts
        items={[
          ["Operating system", `${d.osDistribution || d.osPlatform} ${d.osVersion}`.trim()],
          ["Kernel", d.kernelVersion && <code key="k">{d.kernelVersion}</code>],
          ["Architecture", d.osArchitecture],
          ["Group", d.group || <span key="g" className="muted">None</span>],
          ["Tags", d.tags.length > 0 ? <span key="t" className={css.tags}>{d.tags.map((t) => <Label key={t}>{t}</Label>)}</span> : <span key="t" className="muted">None</span>],
          ["Sensor", d.sensorVersion],
          ["Device id", <span key="i" className={css.id}><code className="ellipsis" title={d.id}>{d.id}</code><Copy text={d.id} label="Copy device id" /></span>],
        ]}
      />
    </Card>
  );
}

function HealthCard({ device: d }: { device: Device }) {
  const lost = Object.entries(d.lost).filter(([, n]) => n > 0).toSorted(([a], [b]) => a.localeCompare(b));
  return (
    <Card title="Sensor health and reporting">
      <p><Health value={d.health} /></p>
      <p className={css.reason}>{d.healthReason}</p>
      <p><Connection value={d.connectionState} /></p>
      <p className={css.reason}>{d.connectionReason}</p>
      {d.lastSilence && <p className={css.reason}>Last silence, until <Time value={d.lastSilence.to} />: {d.lastSilence.text}</p>}
      <Facts
        items={[
          ["Last events", <Ago key="t" value={d.lastTelemetry} />],
          ["Last heartbeat", <Ago key="h" value={d.lastHeartbeat} />],
          ["First seen", <Time key="f" value={d.firstSeen} />],
          ...(d.clockChanged ? [["Clock was set", <Time key="c" value={d.clockChanged} />] as [string, ReactNode]] : []),
          ["Last seen", <Time key="l" value={d.lastSeen} />],
          ["Internal IP", d.internalIp && <code key="i">{d.internalIp}</code>],
          ["External IP", d.externalIp && <code key="e">{d.externalIp}</code>],
        ]}
      />
      <h3 className={css.sub}>Losses since enrolment</h3>
      {lost.length === 0 ? <p className="muted">None known</p> : <ul>{lost.map(([name, n]) => <li key={name}>{lossText(name, n)}</li>)}</ul>}
    </Card>
  );
}

function RiskCard({ device: d }: { device: Device }) {
  return (
    <Card title="Device risk">
      <Facts items={[["Risk level", <Risk key="r" value={d.risk} />], ["Active alerts", <SeverityCounts key="a" counts={d.activeAlerts} />]]} />
      <p className={css.foot}><Link to="/alerts" search={{ device: d.id, period: "180d" }}>Active alerts of this device in the queue</Link></p>
    </Card>
  );
}

function Users({ device }: { device: Device }) {
  const users = useQuery(deviceUsersQuery(device.id));
  if (users.isPending) {
    return <Card title="Logged-on users, 30 days"><LoadingLines lines={3} label="Loading users" /></Card>;
  }
  if (!users.data) {
    return <Card title="Logged-on users, 30 days"><Failed small what="The users" error={users.error} onRetry={() => void users.refetch()} /></Card>;
  }
  const { most, least } = mostAndLeast(users.data);
  const name = (u: typeof most) => (u ? <span key={u.account}>{u.account} <span className="muted">{u.isLocalAdmin ? "Local admin" : "Standard user"}</span></span> : "");
  return (
    <Card title="Logged-on users, 30 days">
      {users.data.length === 0 ? (
        <p className="muted">Nobody was seen to log on.</p>
      ) : (
        <>
          <Facts items={[["Users", users.data.length], ["Most frequent", name(most)], ["Least frequent", name(least)]]} />
          <p className={css.foot}><Link to="." search={{ tab: "users" }}>See all users</Link></p>
        </>
      )}
    </Card>
  );
}

function Hooks({ hooks }: { hooks: readonly Hook[] }) {
  if (hooks.length === 0) {
    return <Empty small title="The sensor has not told how it collects" />;
  }
  return (
    <div className={css.tableFrame}>
      <table className={css.table}>
        <caption className="visually-hidden">What the sensor collects, how, and what it cannot see</caption>
        <thead>
          <tr><th scope="col">Events</th><th scope="col">State</th><th scope="col">Collected by</th><th scope="col">What this cannot see</th><th scope="col">Why nothing better</th></tr>
        </thead>
        <tbody>
          {hooks.map((h) => (
            <tr key={`${h.kind}${h.rung}`}>
              <th scope="row">{words(h.kind)}</th>
              <td>
                <span className={css.state}>
                  {h.attached ? <CheckmarkCircleFilled className={css.good ?? ""} aria-hidden /> : <ErrorCircleFilled className={css.bad ?? ""} aria-hidden />}
                  {h.attached ? "Collected" : "Not collected"}
                </span>
              </td>
              <td><code>{h.rung || "off"}</code></td>
              <td>{h.blindSpot ? <span className={css.blind}><EyeOffRegular aria-hidden /> {h.blindSpot}</span> : <span className="muted">Nothing known</span>}</td>
              <td>{h.error || <span className="muted">-</span>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function LatestAlerts({ device }: { device: Device }) {
  const alerts = useQuery(topAlertsQuery({ device: device.id, sort: "-lastActivity" }, 5));
  return (
    <Card title="Latest alerts" actions={<Link to="." search={{ tab: "alerts" }}>All alerts of this device</Link>}>
      {alerts.isPending && <LoadingLines label="Loading alerts" />}
      {alerts.isError && !alerts.data && <Failed small what="The alerts" error={alerts.error} onRetry={() => void alerts.refetch()} />}
      {alerts.data?.items.length === 0 && <p className="muted">No alert was raised on this device.</p>}
      <ul className={css.latest}>
        {alerts.data?.items.map((a) => (
          <li key={a.id}>
            <Severity value={a.severity} />
            <Link to="/alerts/$id" params={{ id: a.id }} className="ellipsis">{a.title}</Link>
            <Time value={a.lastActivity} />
          </li>
        ))}
      </ul>
    </Card>
  );
}
