// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { setupQuery } from "../../api/queries";
import { Organisation } from "../../components/Organisation";
import { Card, Page } from "../../components/Page";
import { Tabs } from "../../components/Tabs";
import { Empty, Failed, LoadingLines } from "../../components/states";
import { toastDone } from "../../components/toasts";
import { useSearchState } from "../../components/useSearchState";
import { oneOf } from "../../search";
import { useCan } from "../../session";
import { Audit } from "./Audit";
import { Policy } from "./Policy";
import { Tokens } from "./Tokens";

const tabs = ["general", "policy", "enrolment", "audit"] as const;
const tabNames = { general: "General", policy: "Sensor policy", enrolment: "Enrolment", audit: "Audit log" } as const;
const tabList = tabs.map((value) => ({ value, label: tabNames[value] }));

/** Settings of the organisation. */
export function Settings() {
  const [search, change] = useSearchState();
  const tab = oneOf(search.tab, tabs, "general");
  const canEnrol = useCan("enrolment.manage");
  const canAudit = useCan("audit.read");
  return (
    <Page
      title="Settings"
      fill={tab === "audit"}
      below={
        <Tabs label="Settings" tabs={tabList} value={tab} onChange={(t) => change({ tab: t === "general" ? undefined : t }, "push")} />
      }
    >
      {tab === "general" && <General />}
      {tab === "policy" && <Policy />}
      {tab === "enrolment" && (canEnrol ? <Tokens /> : <Refused />)}
      {tab === "audit" && (canAudit ? <Audit /> : <Refused />)}
    </Page>
  );
}

function Refused() {
  return <Empty title="Your role does not include this">Ask an administrator of your organisation.</Empty>;
}

function General() {
  const setup = useQuery(setupQuery);
  const can = useCan("settings.manage");
  return (
    <Card title="Organisation">
      {setup.isPending && <LoadingLines label="Loading settings" />}
      {setup.isError && !setup.data && <Failed what="The settings" error={setup.error} onRetry={() => void setup.refetch()} />}
      {setup.data && <Organisation setup={setup.data} action="Save" readOnly={!can} onSaved={() => toastDone("Settings saved")} />}
    </Card>
  );
}
