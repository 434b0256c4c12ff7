// SPDX-License-Identifier: Apache-2.0
import { counted } from "../format/number";

const reasons: [RegExp, string][] = [
  [/^ring\./, "the kernel's ring buffer was full"],
  [/^kernel\./, "the kernel skipped them"],
  [/^queue\./, "the sensor could not keep up"],
  [/^decode\./, "they could not be decoded"],
  [/^spool\.damaged$/, "the spool on the device was damaged"],
  [/^spool\.rejected$/, "the server refused them"],
  [/^spool\./, "the spool on the device was full"],
];

const hashReasons: Record<string, string> = {
  "hash.late": "the process ended first",
  "hash.queue_full": "too many files at once",
  "hash.too_large": "the file is too large",
  "hash.unreadable": "the file could not be read",
};

/** What was lost and why, for a class that a sensor or the server counts. */
export function lossText(lossClass: string, n: number): string {
  if (lossClass === "batches") {
    return `${counted(n, "batch", "batches")} of events missing: they never arrived`;
  }
  if (lossClass.startsWith("hash.")) {
    return `${counted(n, "file hash", "file hashes")} not taken: ${hashReasons[lossClass] ?? lossClass}`;
  }
  const kind = lossClass.startsWith("ring.") ? `${lossClass.slice(5)} ` : "";
  const reason = reasons.find(([r]) => r.test(lossClass))?.[1] ?? lossClass;
  return `${counted(n, `${kind}event`)} lost: ${reason}`;
}
