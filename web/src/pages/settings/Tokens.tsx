// SPDX-License-Identifier: Apache-2.0
import { Button, Dialog, DialogActions, DialogBody, DialogContent, DialogSurface, DialogTitle } from "@fluentui/react-components";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { revokeToken, tokensQuery } from "../../api/queries";
import type { EnrolmentToken } from "../../api/types";
import { NewEnrolment } from "../../components/Enrolment";
import { type Column, Grid } from "../../components/Grid";
import { Card } from "../../components/Page";
import { Time, useNow } from "../../components/Time";
import { Empty, Failed, LoadingRows } from "../../components/states";
import { toastDone, toastFailed } from "../../components/toasts";
import { count } from "../../format/number";
import css from "./Settings.module.css";
import { tokenState } from "./tokens";

/** Enrolment tokens: make, list, revoke. */
export function Tokens() {
  const tokens = useQuery(tokensQuery);
  const now = useNow();
  const columns = useMemo(
    (): Column<EnrolmentToken>[] => [
      { id: "group", header: "Device group", width: "minmax(120px, 1.5fr)", cell: (t) => t.group || <span className="muted">None</span> },
      { id: "state", header: "State", width: "90px", cell: (t) => tokenState(t, now) },
      { id: "uses", header: "Used", width: "110px", cell: (t) => `${count(t.used)} of ${count(t.uses)}` },
      { id: "created", header: "Created", width: "150px", cell: (t) => <Time value={t.created} /> },
      { id: "by", header: "By", width: "minmax(80px, 1fr)", cell: (t) => t.createdBy },
      { id: "expires", header: "Expires", width: "150px", cell: (t) => <Time value={t.expires} /> },
      { id: "revoke", header: "Actions", hiddenHeader: true, width: "80px", cell: (t) => tokenState(t, now) === "Valid" && <Revoke token={t} /> },
    ],
    [now],
  );
  return (
    <div className={css.stack}>
      <Card title="New enrolment token"><NewEnrolment /></Card>
      <Card title="Enrolment tokens" flush>
        {tokens.isPending && <LoadingRows label="Loading tokens" rows={3} />}
        {tokens.isError && !tokens.data && <Failed what="The tokens" error={tokens.error} onRetry={() => void tokens.refetch()} />}
        {tokens.data?.length === 0 && <Empty small title="No enrolment token was made yet" />}
        {tokens.data && tokens.data.length > 0 && <Grid inline label="Enrolment tokens" columns={columns} rows={tokens.data} rowKey={(t) => t.id} rowHeight={38} />}
      </Card>
    </div>
  );
}

function Revoke({ token }: { token: EnrolmentToken }) {
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const revoke = useMutation({
    mutationFn: () => revokeToken(token.id),
    onSuccess: () => {
      toastDone("Token revoked");
      setAsking(false);
      return client.invalidateQueries({ queryKey: ["enrolment-tokens"] });
    },
    onError: (e) => toastFailed("The token could not be revoked", e),
  });
  return (
    <>
      <Button size="small" onClick={() => setAsking(true)}>Revoke</Button>
      {asking && (
        <Dialog open modalType="alert" onOpenChange={(_, d) => !d.open && setAsking(false)}>
          <DialogSurface>
            <DialogBody>
              <DialogTitle>Revoke this token?</DialogTitle>
              <DialogContent>No more devices can enrol with it. Devices that did stay enrolled.</DialogContent>
              <DialogActions>
                <Button onClick={() => setAsking(false)}>Cancel</Button>
                <Button appearance="primary" disabled={revoke.isPending} onClick={() => revoke.mutate()}>Revoke</Button>
              </DialogActions>
            </DialogBody>
          </DialogSurface>
        </Dialog>
      )}
    </>
  );
}
