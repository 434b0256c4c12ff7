// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { alertQuery } from "../../api/queries";
import type { Alert } from "../../api/types";
import { History } from "../../components/History";
import { ManageAlerts } from "../../components/ManageAlerts";
import { Facts } from "../../components/Page";
import { Severity } from "../../components/Severity";
import { SidePane } from "../../components/SidePane";
import { Time } from "../../components/Time";
import { Failed, LoadingLines } from "../../components/states";
import { counted, words } from "../../format/number";

/** One alert beside the queue: manage it, read its history. */
export function AlertPane({ id, onClose }: { id: string; onClose: () => void }) {
  const alert = useQuery(alertQuery(id));
  return (
    <SidePane title={alert.data?.title ?? "Alert"} onClose={onClose} takeFocus>
      {alert.isPending && <LoadingLines label="Loading alert" lines={8} />}
      {alert.isError && !alert.data && <Failed small what="The alert" error={alert.error} onRetry={() => void alert.refetch()} />}
      {alert.data && <Loaded alert={alert.data} />}
    </SidePane>
  );
}

function Loaded({ alert }: { alert: Alert }) {
  return (
    <>
      <Link to="/alerts/$id" params={{ id: alert.id }}>Go to the alert page</Link>
      <Facts
        items={[
          ["Severity", <Severity key="s" value={alert.severity} />],
          ["Category", words(alert.category)],
          ["Device", <Link key="d" to="/devices/$id" params={{ id: alert.deviceId }}>{alert.deviceName}</Link>],
          ["User", alert.user],
          ["First activity", <Time key="f" value={alert.firstActivity} />],
          ["Last activity", <Time key="l" value={alert.lastActivity} />],
          ["Events", alert.count],
        ]}
      />
      <ManageAlerts alerts={[alert]} />
      <h3>Comments and history</h3>
      <History comments={alert.comments} />
    </>
  );
}

/** All selected alerts at once. */
export function BulkPane({ alerts, onClose }: { alerts: Alert[]; onClose: () => void }) {
  return (
    <SidePane title={`Manage ${counted(alerts.length, "alert")}`} onClose={onClose} takeFocus>
      <ManageAlerts alerts={alerts} />
    </SidePane>
  );
}
