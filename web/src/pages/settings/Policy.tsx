// SPDX-License-Identifier: Apache-2.0
import { Button, Field, MessageBar, MessageBarBody, Textarea } from "@fluentui/react-components";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { policyQuery, savePolicy } from "../../api/queries";
import { Card } from "../../components/Page";
import { Failed, LoadingLines } from "../../components/states";
import { toastDone } from "../../components/toasts";
import { useCan } from "../../session";
import { policyText, readPolicy } from "./policy";

/** What the sensors collect, leave out, hide and may take. */
export function Policy() {
  const policy = useQuery(policyQuery);
  return (
    <Card title="Sensor policy">
      {policy.isPending && <LoadingLines label="Loading the policy" />}
      {policy.isError && !policy.data && <Failed what="The policy" error={policy.error} onRetry={() => void policy.refetch()} />}
      {policy.data && <Editor key={policy.data.version} version={policy.data.version} initial={policyText(policy.data.policy)} />}
    </Card>
  );
}

function Editor({ version, initial }: { version: number; initial: string }) {
  const client = useQueryClient();
  const can = useCan("settings.manage");
  const [text, setText] = useState(initial);
  const read = readPolicy(text);
  const wrong = "error" in read ? read.error : undefined;
  const save = useMutation({
    mutationFn: (policy: Record<string, unknown>) => savePolicy(version, policy),
    onSuccess: (p) => {
      client.setQueryData(policyQuery.queryKey, p);
      toastDone("Policy saved and sent to connected sensors");
    },
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    if ("policy" in read) save.mutate(read.policy);
  };
  return (
    <form onSubmit={submit}>
      {save.isError && <MessageBar intent="error"><MessageBarBody>{save.error.message}</MessageBarBody></MessageBar>}
      <Field
        label={version === 0 ? "Policy, not set so far: sensors use their defaults" : `Policy, version ${version}`}
        hint="JSON. Keys: disabledKinds, exclude, limits, ceiling, redact, scriptContent, flushMilliseconds, healthSeconds, spoolBytes, logLevel. A key that sensors do not know is refused."
        validationMessage={wrong}
        validationState={wrong ? "error" : "none"}
      >
        <Textarea value={text} rows={16} resize="vertical" disabled={!can} textarea={{ style: { fontFamily: "monospace" }, spellCheck: false }} onChange={(_, d) => setText(d.value)} />
      </Field>
      <p>
        <Button type="submit" appearance="primary" disabled={!can || wrong !== undefined || text === initial || save.isPending}>Save</Button>
      </p>
    </form>
  );
}
