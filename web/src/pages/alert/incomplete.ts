// SPDX-License-Identifier: Apache-2.0
import type { Alert } from "../../api/types";
import { isDetail, lossText, missingText } from "../../components/loss";
import { counted } from "../../format/number";
import { type Zone, clock, dayOf, parseTime } from "../../format/time";

type Lossy = Pick<Alert, "losses" | "lossesUnknown" | "evidenceLost" | "firstActivity">;

/** A moment within an alert: the clock, and the day where it is another one than that of the alert. */
function moment(text: string, alert: Lossy, zone: Zone): string {
  const d = parseTime(text);
  const first = parseTime(alert.firstActivity);
  if (!d) {
    return "an unknown time";
  }
  const day = dayOf(d, zone);
  return first && dayOf(first, zone) === day ? clock(d, zone) : `${day} ${clock(d, zone)}`;
}

/** Sentences about what is known to be missing of the events around an alert; none: nothing is. */
export function incomplete(alert: Lossy, zone: Zone): string[] {
  const lines = alert.losses
    .filter((l) => !isDetail(l.class))
    .map((l) => {
      const from = moment(l.from, alert, zone);
      const to = moment(l.to, alert, zone);
      const when = from === to ? `at ${to}` : `between ${from} and ${to}`;
      return `${lossText(l.class, l.lost)}, ${when}. ${missingText([l.class])}`;
    });
  if (lines.length === 0 && alert.evidenceLost > 0) {
    lines.push(`${counted(alert.evidenceLost, "event")} of this device ${alert.evidenceLost === 1 ? "was" : "were"} lost in the minutes before. What is shown here may be incomplete.`);
  }
  if (alert.lossesUnknown) {
    lines.push("Whether more is missing is not known: the event store does not answer.");
  }
  return lines;
}
