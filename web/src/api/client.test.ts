// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { address, problem } from "./client";

describe("address", () => {
  it("joins lists by commas and leaves out what is empty", () => {
    expect(address("/devices/d/timeline.csv", { types: ["process", "dns"], q: "a b&c", user: "", from: undefined, level: null, none: [] })).toBe("/api/portal/devices/d/timeline.csv?types=process%2Cdns&q=a+b%26c");
    expect(address("/events")).toBe("/api/portal/events");
  });
});

describe("problem", () => {
  it("reads detail, errors and request id", async () => {
    const e = await problem(Response.json({ title: "Unprocessable", detail: "validation failed", errors: [{ message: "expected number <= 180" }], requestId: "r1" }, { status: 422 }));
    expect([e.status, e.message, e.requestId]).toEqual([422, "validation failed; expected number <= 180", "r1"]);
  });
  it("falls back to the title, then to the status", async () => {
    expect((await problem(Response.json({ title: "Not Found" }, { status: 404 }))).message).toBe("Not Found");
    expect((await problem(new Response("<html>", { status: 502 }))).message).toBe("The server answered 502.");
    expect((await problem(Response.json({}, { status: 500 }))).message).toBe("The server answered 500.");
  });
});
