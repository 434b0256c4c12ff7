// SPDX-License-Identifier: Apache-2.0
import { Button, Field, MessageBar, MessageBarBody, Radio, RadioGroup, Select, Spinner, Textarea } from "@fluentui/react-components";
import { PersonAddRegular } from "@fluentui/react-icons";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { changeAlerts } from "../api/queries";
import type { Alert, AlertChange } from "../api/types";
import { counted } from "../format/number";
import { useCan, useSession } from "../session";
import css from "./ManageAlerts.module.css";
import { toastDone, toastFailed } from "./toasts";
import { classifications, determinations, nameOf, statuses } from "./values";

/** Changes alerts and fetches what shows them again. */
export function useChangeAlerts(ids: readonly string[]) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (change: AlertChange) => changeAlerts(ids, change),
    onSuccess: async () => {
      toastDone(ids.length === 1 ? "Alert changed" : `${counted(ids.length, "alert")} changed`);
      await Promise.all([client.invalidateQueries({ queryKey: ["alerts"] }), ...ids.map((id) => client.invalidateQueries({ queryKey: ["alert", id] })), client.invalidateQueries({ queryKey: ["devices"] })]);
    },
    onError: (e) => toastFailed("The change failed", e),
  });
}

/** Value that all alerts share, or "" when they differ. */
function shared<T extends string>(alerts: readonly Alert[], of: (a: Alert) => T): T | "" {
  const values = new Set(alerts.map(of));
  const [only] = values;
  return values.size === 1 && only !== undefined ? only : "";
}

/** Status, assignment, classification and comment of one alert or of many at once. */
export function ManageAlerts({ alerts }: { alerts: readonly Alert[] }) {
  const { user } = useSession();
  const can = useCan("alerts.manage");
  const change = useChangeAlerts(alerts.map((a) => a.id));
  const [comment, setComment] = useState("");
  const classification = shared(alerts, (a) => a.classification);
  const assigned = shared(alerts, (a) => a.assignedTo);
  const differ = new Set(alerts.map((a) => a.assignedTo)).size > 1;
  const busy = change.isPending || !can;
  return (
    <div className={css.form}>
      {!can && <MessageBar><MessageBarBody>Your role may read alerts but not change them.</MessageBarBody></MessageBar>}
      <Field label="Status">
        <RadioGroup layout="horizontal" value={shared(alerts, (a) => a.status)} disabled={busy} onChange={(_, d) => change.mutate({ status: statuses.find((s) => s === d.value) })}>
          {statuses.map((s) => <Radio key={s} value={s} label={nameOf(s)} />)}
        </RadioGroup>
      </Field>
      <div className={css.assign}>
        <div>
          <div className={css.label}>Assigned to</div>
          <div>{differ ? <span className="muted">Various people</span> : assigned || <span className="muted">Not assigned</span>}</div>
        </div>
        {assigned !== user && <Button size="small" icon={<PersonAddRegular />} disabled={busy} onClick={() => change.mutate({ assignedTo: user })}>Assign to me</Button>}
        {assigned !== "" && assigned === user && <Button size="small" disabled={busy} onClick={() => change.mutate({ assignedTo: "" })}>Unassign</Button>}
      </div>
      <Field label="Classification">
        <Select
          value={classification}
          disabled={busy}
          onChange={(_, d) => change.mutate({ classification: d.value as NonNullable<AlertChange["classification"]>, ...(d.value === "TruePositive" ? {} : { determination: "" }) })}
        >
          <option value="">Not set</option>
          {classifications.map((c) => <option key={c} value={c}>{nameOf(c)}</option>)}
        </Select>
      </Field>
      {classification === "TruePositive" && (
        <Field label="Determination">
          <Select value={shared(alerts, (a) => a.determination)} disabled={busy} onChange={(_, d) => change.mutate({ determination: d.value })}>
            <option value="">Not set</option>
            {determinations.map((c) => <option key={c} value={c}>{nameOf(c)}</option>)}
          </Select>
        </Field>
      )}
      <form
        className={css.comment}
        onSubmit={(e) => {
          e.preventDefault();
          change.mutate({ comment: comment.trim() }, { onSuccess: () => setComment("") });
        }}
      >
        <Field label="Comment">
          <Textarea value={comment} maxLength={4000} disabled={!can} onChange={(_, d) => setComment(d.value)} resize="vertical" />
        </Field>
        <Button type="submit" size="small" disabled={busy || comment.trim() === ""} icon={change.isPending ? <Spinner size="extra-tiny" /> : undefined}>Add comment</Button>
      </form>
    </div>
  );
}
