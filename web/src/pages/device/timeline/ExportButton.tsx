// SPDX-License-Identifier: Apache-2.0
import { Button, Dialog, DialogActions, DialogBody, DialogContent, DialogSurface, DialogTitle, DialogTrigger, Field, Input } from "@fluentui/react-components";
import { ArrowDownloadRegular } from "@fluentui/react-icons";
import { useState } from "react";
import { address } from "../../../api/client";
import type { Device } from "../../../api/types";
import { useNow } from "../../../components/Time";
import { dayOf, isDay } from "../../../format/time";
import { download } from "../../../format/download";
import { useSettings } from "../../../settings";
import css from "./Timeline.module.css";
import { type Search, bound, exportProblem, timelineQueryOf } from "./filters";

/** Exports up to seven days of a timeline, with its filters, as CSV. */
export function ExportButton({ device, search }: { device: Device; search: Search }) {
  const { zone } = useSettings();
  const [open, setOpen] = useState(false);
  const now = useNow();
  const shown = bound(search.to, zone, false) ?? now;
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const problem = exportProblem(from, to);
  return (
    <Dialog
      open={open}
      onOpenChange={(_, d) => {
        setOpen(d.open);
        setFrom(isDay(search.from ?? "") ? (search.from ?? "") : dayOf(shown, zone));
        setTo(dayOf(shown, zone));
      }}
    >
      <DialogTrigger disableButtonEnhancement>
        <Button size="small" icon={<ArrowDownloadRegular />}>Export CSV</Button>
      </DialogTrigger>
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
            <Button onClick={() => setOpen(false)}>Cancel</Button>
            <Button
              appearance="primary"
              disabled={problem !== ""}
              onClick={() => {
                download(address(`/devices/${device.id}/timeline.csv`, timelineQueryOf({ ...search, from, to }, zone)));
                setOpen(false);
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
