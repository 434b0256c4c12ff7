// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { Suspense, lazy } from "react";
import { ApiError } from "../../api/client";
import { deviceQuery } from "../../api/queries";
import type { Device as DeviceType } from "../../api/types";
import { Page } from "../../components/Page";
import { Tabs } from "../../components/Tabs";
import { Connection, Health, Label, Risk } from "../../components/Status";
import { Empty, Failed, LoadingRows } from "../../components/states";
import { useSearchState } from "../../components/useSearchState";
import { oneOf } from "../../search";
import { DeviceActions } from "./DeviceActions";
import { DeviceAlerts } from "./DeviceAlerts";
import { DeviceUsers } from "./DeviceUsers";
import { Overview } from "./Overview";
import css from "./Device.module.css";

const Timeline = lazy(() => import("./timeline/Timeline").then((m) => ({ default: m.Timeline })));

const tabs = ["overview", "alerts", "timeline", "users"] as const;
const tabNames = { overview: "Overview", alerts: "Alerts", timeline: "Timeline", users: "Users" } as const;
const tabList = tabs.map((value) => ({ value, label: tabNames[value] }));

export function Device() {
  const { id = "" } = useParams({ strict: false });
  const device = useQuery(deviceQuery(id));
  const crumbs = [{ label: "Devices", href: "/devices" }, { label: device.data?.name ?? "Device" }];
  if (device.isPending) {
    return <Page title="Device" crumbs={crumbs}><LoadingRows label="Loading device" /></Page>;
  }
  if (!device.data) {
    const gone = device.error instanceof ApiError && device.error.status === 404;
    return (
      <Page title="Device" crumbs={crumbs}>
        {gone ? <Empty title="There is no such device" actions={<Link to="/devices">To the devices</Link>} /> : <Failed what="The device" error={device.error} onRetry={() => void device.refetch()} />}
      </Page>
    );
  }
  return <Loaded device={device.data} crumbs={crumbs} />;
}

function Loaded({ device, crumbs }: { device: DeviceType; crumbs: { label: string; href?: string }[] }) {
  const [search, change] = useSearchState();
  const tab = oneOf(search.tab, tabs, "overview");
  return (
    <Page
      title={device.name || device.id}
      crumbs={crumbs}
      fill={tab === "timeline" || tab === "alerts"}
      mark={
        <span className={css.marks}>
          <Risk value={device.risk} />
          <Health value={device.health} reason={device.healthReason} />
          <Connection value={device.connectionState} reason={device.connectionReason} />
          {device.tags.map((t) => <Label key={t}>{t}</Label>)}
        </span>
      }
      actions={<DeviceActions device={device} />}
      below={
        <Tabs label="Device" tabs={tabList} value={tab} onChange={(t) => change({ tab: t === "overview" ? undefined : t, event: undefined }, "push")} />
      }
    >
      {tab === "overview" && <Overview device={device} />}
      {tab === "alerts" && <DeviceAlerts device={device} />}
      {tab === "timeline" && <Suspense fallback={<LoadingRows label="Loading the timeline" />}><Timeline device={device} /></Suspense>}
      {tab === "users" && <DeviceUsers device={device} />}
    </Page>
  );
}
