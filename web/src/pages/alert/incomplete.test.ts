// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { incomplete } from "./incomplete";

const first = "2026-03-04T10:00:05Z";
const alert = { losses: [], lossesUnknown: false, evidenceLost: 0, firstActivity: first };
const loss = (lossClass: string, lost: number, from: string, to: string) => ({ class: lossClass, lost, from, to });

it("says nothing when nothing is missing", () => {
  expect(incomplete(alert, "utc")).toEqual([]);
});

it("tells what was lost between when and when, and what may be missing", () => {
  const losses = [loss("ring.file", 132, "2026-03-04T10:00:00Z", "2026-03-04T10:00:04Z"), loss("batches", 1, first, first), loss("blind", 0, "2026-03-03T23:59:00Z", "2026-03-04T09:59:30Z")];
  expect(incomplete({ ...alert, losses, evidenceLost: 132 }, "utc")).toEqual([
    "132 file events lost: the kernel's ring buffer was full, between 10:00:00 and 10:00:04. Files that were written, renamed or deleted may be missing.",
    "1 batch of events missing: they never arrived, at 10:00:05. Events of every kind may be missing.",
    "The sensor did not run, between 2026-03-03 23:59:00 and 09:59:30. Whatever happened on the host in this time is missing.",
  ]);
});

it("falls back to the count that detection took, and leaves out details", () => {
  const losses = [loss("hash.late", 5, first, first)];
  expect(incomplete({ ...alert, losses, evidenceLost: 1 }, "utc")).toEqual(["1 event of this device was lost in the minutes before. What is shown here may be incomplete."]);
  expect(incomplete({ ...alert, losses, evidenceLost: 0 }, "utc")).toEqual([]);
  expect(incomplete({ ...alert, lossesUnknown: true }, "utc")).toEqual(["Whether more is missing is not known: the event store does not answer."]);
});
