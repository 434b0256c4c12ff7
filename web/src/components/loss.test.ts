// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { isDetail, lossText, missingText } from "./loss";

it.each([
  ["ring.file", 7, "7 file events lost: the kernel's ring buffer was full"],
  ["spool.low", 1, "1 event lost: the spool on the device was full"],
  ["spool.damaged", 2, "2 events lost: the spool on the device was damaged"],
  ["batches", 1, "1 batch of events missing: they never arrived"],
  ["batches", 3, "3 batches of events missing: they never arrived"],
  ["hash.too_large", 1, "1 file hash not taken: the file is too large"],
  ["hash.new", 2, "2 file hashes not taken: hash.new"],
  ["blind", 0, "The sensor did not run"],
  ["unheard.of", 2, "2 events lost: unheard.of"],
])("%s %d", (lossClass, n, want) => {
  expect(lossText(lossClass, n)).toBe(want);
});

it.each([
  [["ring.file"], "Files that were written, renamed or deleted may be missing."],
  [["ring.file", "ring.delete", "ring.dns"], "Files that were written, renamed or deleted may be missing. Name look-ups may be missing."],
  [["persist.queue_full"], "What changed in tasks, services, accounts and the like may be missing; the changes of their files are there."],
  [["blind"], "Whatever happened on the host in this time is missing."],
  [["batches"], "Events of every kind may be missing."],
  [["batches", "queue.full"], "Events of every kind may be missing."],
  [["hash.late"], ""],
  [[], ""],
])("missing for %j", (classes, want) => {
  expect(missingText(classes)).toBe(want);
});

it("tells details from events", () => {
  expect(["hash.late", "cache.full", "proc.gone", "ring.file", "batches", "blind"].map(isDetail)).toEqual([true, true, true, false, false, false]);
});
