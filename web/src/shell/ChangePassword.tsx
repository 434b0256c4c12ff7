// SPDX-License-Identifier: Apache-2.0
import { Button, Dialog, DialogActions, DialogBody, DialogContent, DialogSurface, DialogTitle, Field, Input, MessageBar, MessageBarBody } from "@fluentui/react-components";
import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { changePassword } from "../api/queries";
import { toastDone } from "../components/toasts";

/** Dialog in which people change their own password. */
export function ChangePassword({ onClose }: { onClose: () => void }) {
  const [old, setOld] = useState("");
  const [next, setNext] = useState("");
  const [again, setAgain] = useState("");
  const change = useMutation({
    mutationFn: () => changePassword(old, next),
    onSuccess: () => {
      toastDone("Password changed");
      onClose();
    },
  });
  const differs = again !== "" && again !== next;
  const submit = (e: FormEvent) => {
    e.preventDefault();
    change.mutate();
  };
  return (
    <Dialog open onOpenChange={(_, d) => !d.open && onClose()}>
      <DialogSurface aria-label="Change password">
        <form onSubmit={submit}>
          <DialogBody>
            <DialogTitle>Change password</DialogTitle>
            <DialogContent style={{ display: "grid", gap: 12 }}>
              {change.isError && <MessageBar intent="error"><MessageBarBody>{change.error.message}</MessageBarBody></MessageBar>}
              <Field label="Present password" required><Input type="password" autoComplete="current-password" value={old} onChange={(_, d) => setOld(d.value)} /></Field>
              <Field label="New password" required><Input type="password" autoComplete="new-password" value={next} onChange={(_, d) => setNext(d.value)} /></Field>
              <Field label="New password again" required validationState={differs ? "error" : "none"} validationMessage={differs ? "The two differ." : undefined}>
                <Input type="password" autoComplete="new-password" value={again} onChange={(_, d) => setAgain(d.value)} />
              </Field>
            </DialogContent>
            <DialogActions>
              <Button onClick={onClose}>Cancel</Button>
              <Button type="submit" appearance="primary" disabled={old === "" || next === "" || again !== next || change.isPending}>Change</Button>
            </DialogActions>
          </DialogBody>
        </form>
      </DialogSurface>
    </Dialog>
  );
}
