// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import { BranchRegular } from "@fluentui/react-icons";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { alertQuery, deviceTreeQuery } from "../../../api/queries";
import type { TimelineEvent } from "../../../api/types";
import { Copy } from "../../../components/Copy";
import { Fields } from "../../../components/Fields";
import { NodeDetails, findLine } from "../../../components/NodeDetails";
import { Severity } from "../../../components/Severity";
import { Failed, LoadingRows } from "../../../components/states";
import { ProcessTree } from "../../../components/tree/ProcessTree";
import css from "./Timeline.module.css";

/** All that is known about an event: its alerts, the processes behind it, every field. */
export function EventDetails({ event, deviceId }: { event: TimelineEvent; deviceId: string }) {
  const [tree, setTree] = useState(false);
  return (
    <div className={css.details}>
      {event.alertIds.length > 0 && (
        <ul className={css.alerts} aria-label="Alerts on this event">
          {event.alertIds.map((id) => <li key={id}><AlertLine id={id} /></li>)}
        </ul>
      )}
      <div className={css.tools}>
        <span className="muted">{event.table}, {event.actionType}</span>
        <Copy text={window.location.href} label="Copy link to this event" showLabel />
        {event.processGuid && (
          <Button size="small" icon={<BranchRegular />} aria-expanded={tree} onClick={() => setTree(!tree)}>{tree ? "Hide the process tree" : "Show the process tree"}</Button>
        )}
      </div>
      {!tree && event.chain.length > 0 && <Chain chain={event.chain} fields={event.fields} />}
      {tree && <Tree deviceId={deviceId} guid={event.processGuid} />}
      <Fields fields={event.fields} />
    </div>
  );
}

function AlertLine({ id }: { id: string }) {
  const alert = useQuery(alertQuery(id)).data;
  return (
    <span className={css.alert}>
      {alert && <Severity value={alert.severity} />}
      <Link to="/alerts/$id" params={{ id }}>{alert?.title ?? id}</Link>
    </span>
  );
}

/** The processes that led to an event, one under the other. */
function Chain({ chain, fields }: { chain: readonly string[]; fields: Readonly<Record<string, string>> }) {
  const commands: Record<number, string | undefined> =
    fields.ProcessCommandLine !== undefined && chain.at(-1) === fields.FileName
      ? { [chain.length - 1]: fields.ProcessCommandLine, [chain.length - 2]: fields.InitiatingProcessCommandLine }
      : { [chain.length - 1]: fields.InitiatingProcessCommandLine };
  return (
    <ol className={css.chainList} aria-label="Process chain">
      {chain.map((name, i) => (
        <li key={`${i}${name}`} style={{ paddingInlineStart: i * 18 }}>
          {i > 0 && <span className={css.elbow} aria-hidden />}
          <span className={css.chainName}>{name}</span>
          {commands[i] && <code className={css.chainCommand}>{commands[i]}</code>}
        </li>
      ))}
    </ol>
  );
}

function Tree({ deviceId, guid }: { deviceId: string; guid: string }) {
  const tree = useQuery(deviceTreeQuery(deviceId, guid));
  const [selected, setSelected] = useState(guid);
  if (tree.isPending) {
    return <LoadingRows label="Loading the process tree" rows={4} />;
  }
  if (!tree.data) {
    return <Failed small what="The process tree" error={tree.error} onRetry={() => void tree.refetch()} />;
  }
  const found = findLine(tree.data, selected);
  return (
    <div className={css.tree}>
      <ProcessTree tree={tree.data} selected={selected} onSelect={setSelected} />
      {found && <div className={css.node}><NodeDetails node={found.node} event={found.event} deviceId={deviceId} /></div>}
    </div>
  );
}
