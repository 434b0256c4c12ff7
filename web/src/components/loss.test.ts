// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { lossText } from "./loss";

it.each([
  ["ring.file", 7, "7 file events lost: the kernel's ring buffer was full"],
  ["spool.low", 1, "1 event lost: the spool on the device was full"],
  ["spool.damaged", 2, "2 events lost: the spool on the device was damaged"],
  ["batches", 1, "1 batch of events missing: they never arrived"],
  ["batches", 3, "3 batches of events missing: they never arrived"],
  ["hash.too_large", 1, "1 file hash not taken: the file is too large"],
  ["hash.new", 2, "2 file hashes not taken: hash.new"],
  ["unheard.of", 2, "2 events lost: unheard.of"],
])("%s %d", (lossClass, n, want) => {
  expect(lossText(lossClass, n)).toBe(want);
});
