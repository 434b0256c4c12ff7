// SPDX-License-Identifier: Apache-2.0
import { Button, Field, Input, MessageBar, MessageBarBody } from "@fluentui/react-components";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { saveSetup, setupQuery } from "../api/queries";
import type { Setup } from "../api/types";
import css from "./Organisation.module.css";

/** Name of the organisation and how long its events are kept. */
export function Organisation({ setup, action, onSaved, readOnly }: { setup: Setup; action: string; onSaved: () => void; readOnly?: boolean }) {
  const client = useQueryClient();
  const [organisation, setOrganisation] = useState(setup.organisation);
  const [days, setDays] = useState(setup.retentionDays);
  const save = useMutation({
    mutationFn: () => saveSetup({ organisation: organisation.trim(), retentionDays: days }),
    onSuccess: (s) => {
      client.setQueryData(setupQuery.queryKey, s);
      onSaved();
    },
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    save.mutate();
  };
  const shorter = days < setup.retentionDays && setup.done;
  return (
    <form onSubmit={submit} className={css.form}>
      {save.isError && <MessageBar intent="error"><MessageBarBody>{save.error.message}</MessageBarBody></MessageBar>}
      <Field label="Organisation name" required>
        <Input name="organisation" value={organisation} maxLength={200} disabled={readOnly ?? false} onChange={(_, d) => setOrganisation(d.value)} />
      </Field>
      <Field label={`Keep events for ${days} days`} hint="30 to 180 days. Longer retention needs more disk space.">
        {(field) => <input {...field} type="range" className="slider" min={30} max={180} step={5} value={days} disabled={readOnly ?? false} onChange={(e) => setDays(e.target.valueAsNumber)} />}
      </Field>
      {shorter && <MessageBar intent="warning"><MessageBarBody>Events older than {days} days will be deleted.</MessageBarBody></MessageBar>}
      <div>
        <Button type="submit" appearance="primary" disabled={organisation.trim() === "" || save.isPending || readOnly}>{action}</Button>
      </div>
    </form>
  );
}
