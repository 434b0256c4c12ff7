// SPDX-License-Identifier: Apache-2.0
import { Button, MessageBar, MessageBarBody, MessageBarTitle } from "@fluentui/react-components";
import { PersonAddRegular } from "@fluentui/react-icons";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams, useRouter } from "@tanstack/react-router";
import { useState } from "react";
import { ApiError } from "../../api/client";
import { alertQuery, alertTreeQuery } from "../../api/queries";
import type { Alert, ProcessTree as Tree } from "../../api/types";
import { Copy } from "../../components/Copy";
import { History } from "../../components/History";
import { ManageAlerts, useChangeAlerts } from "../../components/ManageAlerts";
import { NodeDetails, findLine } from "../../components/NodeDetails";
import { Card, Facts, Page } from "../../components/Page";
import { Severity } from "../../components/Severity";
import { Label, StatusMark } from "../../components/Status";
import { Tabs } from "../../components/Tabs";
import { Time } from "../../components/Time";
import { Empty, Failed, LoadingLines, LoadingRows } from "../../components/states";
import { ProcessTree } from "../../components/tree/ProcessTree";
import { useSearchState } from "../../components/useSearchState";
import { nameOf } from "../../components/values";
import { count, words } from "../../format/number";
import { unwrapped } from "../../format/prose";
import { useCan, useSession } from "../../session";
import { useSettings } from "../../settings";
import css from "./Alert.module.css";
import { Evidence } from "./Evidence";
import { incomplete } from "./incomplete";
import { around } from "./links";

export function AlertPage() {
  const { id = "" } = useParams({ strict: false });
  const alert = useQuery(alertQuery(id));
  if (alert.isPending) {
    return <Page title="Alert" crumbs={[{ label: "Alerts", href: "/alerts" }, { label: "Alert" }]}><LoadingRows label="Loading alert" /></Page>;
  }
  if (!alert.data) {
    const gone = alert.error instanceof ApiError && alert.error.status === 404;
    return (
      <Page title="Alert" crumbs={[{ label: "Alerts", href: "/alerts" }, { label: "Alert" }]}>
        {gone ? <Empty title="There is no such alert" actions={<Link to="/alerts">To the alerts queue</Link>} /> : <Failed what="The alert" error={alert.error} onRetry={() => void alert.refetch()} />}
      </Page>
    );
  }
  return <Loaded alert={alert.data} />;
}

type SideTab = "about" | "manage" | "details";

const sideTabs: { value: SideTab; label: string }[] = [
  { value: "about", label: "About" },
  { value: "manage", label: "Manage" },
  { value: "details", label: "Details" },
];

/** Says that events around the alert are missing, what and when. */
function Incomplete({ alert }: { alert: Alert }) {
  const { zone } = useSettings();
  const lines = incomplete(alert, zone);
  return (
    lines.length > 0 && (
      <MessageBar intent="warning" layout="multiline" data-testid="evidence-incomplete">
        <MessageBarBody>
          <MessageBarTitle>Evidence incomplete.</MessageBarTitle>
          <ul className={css.incomplete}>{lines.map((l) => <li key={l}>{l}</li>)}</ul>
        </MessageBarBody>
      </MessageBar>
    )
  );
}

function Loaded({ alert }: { alert: Alert }) {
  const [search, change] = useSearchState();
  const tree = useQuery(alertTreeQuery(alert.id));
  const [tab, setTab] = useState<SideTab>(search.node ? "details" : "about");
  const router = useRouter();
  const selected = search.node ?? tree.data?.focus ?? "";
  const found = tree.data && findLine(tree.data, selected);
  return (
    <Page
      title={alert.title}
      mark={<Severity value={alert.severity} />}
      crumbs={[{ label: "Alerts", href: "/alerts" }, { label: alert.deviceName, href: `/devices/${alert.deviceId}` }, { label: "Alert" }]}
      actions={<AssignButton alert={alert} />}
    >
      <div className={css.page}>
        <Incomplete alert={alert} />
        <Context alert={alert} />
        <div className={css.columns}>
          <div className={css.left}>
            <Card title="Alert story" flush className={css.story} actions={<Link {...around(alert.deviceId, alert.lastActivity)}>Device timeline at this time</Link>}>
              <Story
                tree={tree.data}
                pending={tree.isPending}
                error={tree.error}
                onRetry={() => void tree.refetch()}
                selected={selected}
                onSelect={(node) => {
                  setTab("details");
                  change({ node });
                }}
                onMore={() => void router.navigate(around(alert.deviceId, alert.lastActivity))}
              />
            </Card>
            <Card title="Evidence" flush><Evidence alert={alert} /></Card>
          </div>
          <aside className={css.right} aria-label="Alert side">
            <div className={css.tabs}><Tabs label="Alert" tabs={sideTabs} value={tab} onChange={setTab} controls="side" /></div>
            <div role="tabpanel" id="side" aria-labelledby={`side-${tab}`} className={css.panel}>
              {tab === "about" ? (
                <About alert={alert} />
              ) : tab === "manage" ? (
                <>
                  <ManageAlerts alerts={[alert]} />
                  <h3>Comments and history</h3>
                  <History comments={alert.comments} />
                </>
              ) : tree.isPending ? (
                <LoadingLines label="Loading details" />
              ) : found ? (
                <NodeDetails node={found.node} event={found.event} deviceId={alert.deviceId} thisAlert={alert.id} />
              ) : (
                <Empty small title="Choose a process or event">Its details show here.</Empty>
              )}
            </div>
          </aside>
        </div>
      </div>
    </Page>
  );
}

function AssignButton({ alert }: { alert: Alert }) {
  const { user } = useSession();
  const can = useCan("alerts.manage");
  const change = useChangeAlerts([alert.id]);
  if (!can || alert.assignedTo === user) {
    return null;
  }
  return <Button icon={<PersonAddRegular />} disabled={change.isPending} onClick={() => change.mutate({ assignedTo: user })}>Assign to me</Button>;
}

function Context({ alert }: { alert: Alert }) {
  const items: [string, React.ReactNode][] = [
    ["Status", <StatusMark key="s" value={alert.status} />],
    ["Classification", alert.classification ? `${nameOf(alert.classification)}${alert.determination ? `, ${nameOf(alert.determination)}` : ""}` : <span key="c" className="muted">Not set</span>],
    ["Assigned to", alert.assignedTo || <span key="a" className="muted">Not assigned</span>],
    ["Device", <Link key="d" to="/devices/$id" params={{ id: alert.deviceId }}>{alert.deviceName || alert.deviceId}</Link>],
    ["User", alert.user || <span key="u" className="muted">None</span>],
    ["First activity", <Time key="f" value={alert.firstActivity} />],
    ["Last activity", <Time key="l" value={alert.lastActivity} />],
    ["Events", count(alert.count)],
  ];
  return (
    <dl className={css.context}>
      {items.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function About({ alert }: { alert: Alert }) {
  return (
    <>
      <h3>Description</h3>
      <p className={css.prose}>{unwrapped(alert.description) || "The rule has no description."}</p>
      <h3>Recommended actions</h3>
      <p className={css.prose}>{unwrapped(alert.recommended) || "The rule recommends nothing in particular."}</p>
      {alert.techniques.length > 0 && (
        <>
          <h3>ATT&CK techniques</h3>
          <div className={css.techniques}>{alert.techniques.map((t) => <Label key={t}>{t}</Label>)}</div>
        </>
      )}
      <h3>Detection</h3>
      <Facts
        items={[
          ["Category", words(alert.category)],
          ["Source", alert.detectionSource],
          ["Rule", alert.ruleId ? <Link key="r" to="/rules" search={{ rule: alert.ruleId }}>{alert.ruleId}</Link> : ""],
          ["Author", alert.ruleAuthor],
          ["Alert id", <span key="i" className={css.id}><code>{alert.id}</code><Copy text={alert.id} label="Copy alert id" /></span>],
        ]}
      />
    </>
  );
}

interface StoryProps {
  tree: Tree | undefined;
  pending: boolean;
  error: Error | null;
  onRetry: () => void;
  selected: string;
  onSelect: (id: string) => void;
  onMore: () => void;
}

function Story({ tree, pending, error, onRetry, selected, onSelect, onMore }: StoryProps) {
  if (pending) {
    return <LoadingRows label="Loading the story" rows={5} />;
  }
  if (!tree) {
    return error instanceof ApiError && error.status === 404 ? <Empty small title="No process tree">{error.message}</Empty> : <Failed small what="The story" error={error} onRetry={onRetry} />;
  }
  if (tree.nodes.length === 0) {
    return <Empty small title="No process is known for this alert" />;
  }
  return <ProcessTree key={tree.focus} tree={tree} selected={selected} onSelect={onSelect} onMore={onMore} />;
}
