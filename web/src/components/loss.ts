// SPDX-License-Identifier: Apache-2.0
import { counted } from "../format/number";

const reasons: [RegExp, string][] = [
  [/^ring\./, "the kernel's ring buffer was full"],
  [/^kernel\./, "the kernel skipped them"],
  [/^queue\./, "the sensor could not keep up"],
  [/^persist\./, "too many watched files changed at once"],
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

/** What may be missing where events of a class were lost. */
const missing: [RegExp, string][] = [
  [/^ring\.(exec|fork)$/, "Processes that started may be missing, and what they did may lack its origin."],
  [/^ring\.exit$/, "Ends of processes may be missing."],
  [/^ring\.(file|delete|rename|link|attribute)$/, "Files that were written, renamed or deleted may be missing."],
  [/^ring\.(connect|accept|listen|flow|close)$/, "Network connections may be missing."],
  [/^ring\.payload$/, "What connections began with may be missing."],
  [/^ring\.image$/, "Loaded libraries may be missing."],
  [/^ring\.(privilege|kernel|socket|script)$/, "Changes of privileges, kernel modules, raw sockets and scripts may be missing."],
  [/^ring\.summary$/, "Sums of what limits left out may be missing."],
  [/^ring\.dns$/, "Name look-ups may be missing."],
  [/^spool\.low$/, "Changes of files, name look-ups and failed connections may be missing."],
  [/^spool\.normal$/, "File and network events and ends of processes may be missing."],
  [/^spool\.high$/, "Events of every kind may be missing, also starts of processes and logons."],
  [/^persist\./, "What changed in tasks, services, accounts and the like may be missing; the changes of their files are there."],
  [/^blind$/, "Whatever happened on the host in this time is missing."],
  [/^hash\./, ""],
];

/** What may be missing, for the classes of one loss, each thing said once. */
export function missingText(classes: readonly string[]): string {
  const texts = classes.map((c) => missing.find(([r]) => r.test(c))?.[1] ?? "Events of every kind may be missing.");
  return [...new Set(texts)].filter(Boolean).join(" ");
}

/** Whether a class counts details of events that are there, and not events. */
export function isDetail(lossClass: string): boolean {
  return /^(hash|cache|proc)\./.test(lossClass);
}

/** What was lost and why, for a class that a sensor or the server counts. */
export function lossText(lossClass: string, n: number): string {
  if (lossClass === "blind") {
    return "The sensor did not run";
  }
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
