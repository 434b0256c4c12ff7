// SPDX-License-Identifier: Apache-2.0
import type { QueryKey } from "@tanstack/react-query";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Coalescer, staleKeys } from "./live";

describe("staleKeys", () => {
  it("refreshes an alert, its device and both lists", () => {
    expect(staleKeys("alert", { id: "a", deviceId: "d" })).toEqual([["alerts"], ["devices"], ["alert", "a"], ["device", "d"]]);
  });
  it("refreshes lists when the server names nothing", () => {
    expect(staleKeys("device", {})).toEqual([["devices"], ["sensor-health"]]);
    expect(staleKeys("setup", {})).toEqual([["setup"]]);
  });
  it("leaves everything alone for events it does not know", () => {
    expect(staleKeys("weather", { id: "x" })).toEqual([]);
  });
});

describe("Coalescer", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("passes the first change at once and the next ones together", () => {
    const got: QueryKey[][] = [];
    const c = new Coalescer(500, (keys) => got.push(keys));
    c.add([["alerts"]]);
    expect(got).toEqual([[["alerts"]]]);
    c.add([["alerts"], ["devices"]]);
    c.add([["alerts"]]);
    expect(got).toHaveLength(1);
    vi.advanceTimersByTime(500);
    expect(got[1]).toEqual([["alerts"], ["devices"]]);
    vi.advanceTimersByTime(500);
    expect(got).toHaveLength(2);
    c.add([["setup"]]);
    expect(got[2]).toEqual([["setup"]]);
  });

  it("says nothing after it stopped", () => {
    const emit = vi.fn();
    const c = new Coalescer(500, emit);
    c.add([["a"]]);
    c.add([["b"]]);
    c.stop();
    vi.advanceTimersByTime(5000);
    expect(emit).toHaveBeenCalledTimes(1);
  });
});
