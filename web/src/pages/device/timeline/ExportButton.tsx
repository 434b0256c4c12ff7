// SPDX-License-Identifier: Apache-2.0
import { Button, Dialog, DialogActions, DialogBody, DialogContent, DialogSurface, DialogTitle, Field, Input } from "@fluentui/react-components";
import { ArrowDownloadRegular } from "@fluentui/react-icons";
import { useState } from "react";
import { address } from "../../../api/client";
import type { Device } from "../../../api/types";
import { useNow } from "../../../components/Time";
import { download } from "../../../format/download";
import { dayOf, isDay } from "../../../format/time";
import { useSettings } from "../../../settings";
import css from "./Timeline.module.css";
import { type Search, bound, exportProblem, timelineQueryOf } from "./filters";

/** Exports up to seven days of a timeline, with its filters, as CSV. */
export function ExportButton({ device, search }: { device: Device; search: Search }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button size="small" icon={<ArrowDownloadRegular />} onClick={() => setOpen(true)}>Export CSV</Button>
      {open && <ExportDialog device={device} search={search} onClose={() => setOpen(false)} />}
    </>
  );
}

function ExportDialog({ device, search, onClose }: { device: Device; search: Search; onClose: () => void }) {
  const { zone } = useSettings();
  const now = useNow();
  const shown = dayOf(bound(search.to, zone, false) ?? now, zone);
  const [from, setFrom] = useState(isDay(search.from ?? "") ? (search.from ?? "") : shown);
  const [to, setTo] = useState(shown);
  const problem = exportProblem(from, to);
  return (
    <Dialog open onOpenChange={(_, d) => !d.open && onClose()}>
      <DialogSurface>
        <DialogBody>
          <DialogTitle>Export the timeline</DialogTitle>
          <DialogContent className={css.export}>
            <p>The file holds the events of these days that match the present filters. An export spans at most 7 days.</p>
            <div className={css.exportDays}>
              <Field label="First day"><Input type="date" value={from} onChange={(_, d) => setFrom(d.value)} /></Field>
              <Field label="Last day"><Input type="date" value={to} onChange={(_, d) => setTo(d.value)} /></Field>
            </div>
            {problem && <p role="alert">{problem}</p>}
          </DialogContent>
          <DialogActions>
            <Button onClick={onClose}>Cancel</Button>
            <Button
              appearance="primary"
              disabled={problem !== ""}
              onClick={() => {
                download(address(`/devices/${device.id}/timeline.csv`, timelineQueryOf({ ...search, from, to }, zone)));
                onClose();
              }}
            >
              Export
            </Button>
          </DialogActions>
        </DialogBody>
      </DialogSurface>
    </Dialog>
  );
}
