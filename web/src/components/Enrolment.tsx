// SPDX-License-Identifier: Apache-2.0
import { Button, Field, Input, MessageBar, MessageBarBody, Select, Spinner } from "@fluentui/react-components";
import { ArrowDownloadRegular } from "@fluentui/react-icons";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { address } from "../api/client";
import { createToken } from "../api/queries";
import { Code } from "./Copy";
import css from "./Enrolment.module.css";
import { Time } from "./Time";

const lifetimes = [
  { hours: 1, label: "1 hour" },
  { hours: 24, label: "1 day" },
  { hours: 168, label: "7 days" },
  { hours: 720, label: "30 days" },
];

/** Makes an enrolment token and shows, once, the command that uses it. */
export function NewEnrolment() {
  const client = useQueryClient();
  const [group, setGroup] = useState("");
  const [uses, setUses] = useState("1");
  const [hours, setHours] = useState("24");
  const create = useMutation({
    mutationFn: () => createToken(group.trim(), Number(uses), Number(hours)),
    onSuccess: () => client.invalidateQueries({ queryKey: ["enrolment-tokens"] }),
  });
  const n = Number(uses);
  const usesProblem = Number.isInteger(n) && n >= 1 && n <= 1_000_000 ? "" : "A whole number from 1 to 1 000 000.";
  const submit = (e: FormEvent) => {
    e.preventDefault();
    create.mutate();
  };
  return (
    <div className={css.enrolment}>
      <form onSubmit={submit} className={css.form}>
        <Field label="Device group" hint="Optional"><Input value={group} maxLength={128} onChange={(_, d) => setGroup(d.value)} /></Field>
        <Field label="Devices it admits" validationState={usesProblem ? "error" : "none"} validationMessage={usesProblem || undefined}>
          <Input type="number" min={1} value={uses} onChange={(_, d) => setUses(d.value)} />
        </Field>
        <Field label="Valid for">
          <Select value={hours} onChange={(_, d) => setHours(d.value)}>
            {lifetimes.map((l) => <option key={l.hours} value={l.hours}>{l.label}</option>)}
          </Select>
        </Field>
        <Button type="submit" appearance="primary" className={css.submit} disabled={usesProblem !== "" || create.isPending} icon={create.isPending ? <Spinner size="tiny" /> : undefined}>Create token</Button>
      </form>
      {create.isError && <MessageBar intent="error"><MessageBarBody>{create.error.message}</MessageBarBody></MessageBar>}
      {create.data && (
        <div className={css.made} aria-live="polite">
          <p>Run this as root on each host. The token shows only now and is valid until <Time value={create.data.expires} />.</p>
          <Code text={create.data.installCommand} label="Copy install command" />
          <details>
            <summary>Install by hand</summary>
            <p>Download the sensor, then run <code>picket-sensor install</code> with this token:</p>
            <Code text={create.data.token} label="Copy token" />
          </details>
        </div>
      )}
      <Downloads />
    </div>
  );
}

/** Links to the sensor for each processor. */
export function Downloads() {
  return (
    <div className={css.downloads}>
      {(["amd64", "arm64"] as const).map((arch) => (
        <Button key={arch} size="small" as="a" href={address("/downloads/sensor", { arch })} download icon={<ArrowDownloadRegular />}>Sensor for Linux {arch}</Button>
      ))}
    </div>
  );
}
