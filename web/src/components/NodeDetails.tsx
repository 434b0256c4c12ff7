// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { alertQuery } from "../api/queries";
import type { ProcessTree, TreeEvent, TreeNode } from "../api/types";
import { Code, Copy } from "./Copy";
import { Fields } from "./Fields";
import css from "./NodeDetails.module.css";
import { Facts } from "./Page";
import { SeverityIcon } from "./Severity";
import { Time } from "./Time";

/** Finds what a line of the tree stands for. */
export function findLine(tree: ProcessTree, id: string): { node: TreeNode; event?: TreeEvent } | undefined {
  const dot = id.indexOf(".");
  const node = tree.nodes.find((n) => n.guid === (dot < 0 ? id : id.slice(0, dot)));
  if (!node || dot < 0) {
    return node && { node };
  }
  const event = node.events[Number(id.slice(dot + 1))];
  return event ? { node, event } : undefined;
}

/** What is known about one process or one of its events. */
export function NodeDetails({ node, event, deviceId, thisAlert }: { node: TreeNode; event?: TreeEvent | undefined; deviceId: string; thisAlert?: string | undefined }) {
  if (event) {
    return (
      <div className={css.details}>
        <h3>{event.label}</h3>
        <Facts items={[["Time", <Time key="t" value={event.time} />], ["Kind", event.kind], ["Process", `${node.fileName} (${node.pid})`]]} />
        <h4>All fields</h4>
        <Fields fields={event.fields} />
      </div>
    );
  }
  return (
    <div className={css.details}>
      <h3>{node.fileName || "Unknown process"}</h3>
      {node.alertIds.length > 0 && (
        <ul className={css.alerts} aria-label="Alerts on this process">
          {node.alertIds.map((id) => <li key={id}><AlertName id={id} here={id === thisAlert} /></li>)}
        </ul>
      )}
      <h4>Execution details</h4>
      <Facts
        items={[
          ["Started", node.start ? <Time key="s" value={node.start} /> : node.snapshot ? "Before the sensor" : ""],
          ["Ended", node.end ? <Time key="e" value={node.end} /> : <span key="e" className="muted">Not seen to end</span>],
          ["Exit code", node.exitCode],
          ["Process id", node.pid],
          ["User", node.user],
          ...(node.containerId ? [["Container", <span key="c" className={css.hash}><code>{node.containerId}</code><Copy text={node.containerId} label="Copy container id" /></span>] as [string, React.ReactNode]] : []),
        ]}
      />
      <div className={css.block}>
        <span className="muted">Path</span>
        {node.folderPath ? <Code text={node.folderPath} label="Copy path" /> : <span className="muted">Not known</span>}
      </div>
      <div className={css.block}>
        <span className="muted">Command line</span>
        {node.commandLine ? <Code text={node.commandLine} label="Copy command line" /> : <span className="muted">Not known</span>}
      </div>
      <h4>File details</h4>
      <dl className={css.hashes}>
        {([["SHA-256", node.sha256], ["SHA-1", node.sha1], ["MD5", node.md5]] as const).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value ? <span className={css.hash}><code>{value}</code><Copy text={value} label={`Copy ${name}`} /></span> : <span className="muted">Not known</span>}</dd>
          </div>
        ))}
      </dl>
      {node.sha256 && (
        <Link to="/devices/$id" params={{ id: deviceId }} search={{ tab: "timeline", q: `hash:${node.sha256}` }}>Events with this file on the timeline</Link>
      )}
    </div>
  );
}

function AlertName({ id, here }: { id: string; here: boolean }) {
  const alert = useQuery(alertQuery(id)).data;
  return (
    <span className={css.alert}>
      {alert && <SeverityIcon value={alert.severity} />}
      {here ? <span>{alert?.title ?? id} (this alert)</span> : <Link to="/alerts/$id" params={{ id }}>{alert?.title ?? id}</Link>}
    </span>
  );
}
