// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { MessageStore } from "./messages";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const titles = (s: MessageStore) => s.current().map((m) => m.title);

it("shows messages for their time and those without one until dismissed", () => {
  const store = new MessageStore();
  const heard = vi.fn();
  const stop = store.subscribe(heard);
  store.show("done", "saved", "", 3000);
  const lost = store.show("warning", "lost", "", 0);
  expect(titles(store)).toEqual(["saved", "lost"]);
  vi.advanceTimersByTime(60_000);
  expect(titles(store)).toEqual(["lost"]);
  store.dismiss(lost);
  store.dismiss(lost);
  expect(titles(store)).toEqual([]);
  expect(heard).toHaveBeenCalledTimes(4);
  stop();
  store.show("done", "x", "", 0);
  expect(heard).toHaveBeenCalledTimes(4);
});

it("keeps the newest five", () => {
  const store = new MessageStore();
  for (const n of ["1", "2", "3", "4", "5", "6"]) {
    store.show("done", n, "", 0);
  }
  expect(titles(store)).toEqual(["2", "3", "4", "5", "6"]);
});
