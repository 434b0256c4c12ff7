// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { EventStreamParser, backoff } from "./sse";

const stream = ': hello\r\nevent: alert\nid: 7\ndata: {"id":"a"}\n\nevent: setup\rdata:{}\r\r\ndata: one\ndata: two\n\nevent: dropped\n\n';
const want = [
  { event: "alert", data: '{"id":"a"}', id: "7" },
  { event: "setup", data: "{}", id: "7" },
  { event: "message", data: "one\ntwo", id: "7" },
];

describe("EventStreamParser", () => {
  it("reads a whole stream", () => {
    expect(new EventStreamParser().feed(stream)).toEqual(want);
  });
  it("gives the same events wherever the chunks end", () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const p = new EventStreamParser();
      expect([...p.feed(stream.slice(0, cut)), ...p.feed(stream.slice(cut))], `cut at ${cut}`).toEqual(want);
    }
    const p = new EventStreamParser();
    expect([...stream].flatMap((c) => p.feed(c))).toEqual(want);
  });
  it("holds back an event that is not finished", () => {
    const p = new EventStreamParser();
    expect(p.feed("data: x\n")).toEqual([]);
    expect(p.feed("\n")).toEqual([{ event: "message", data: "x", id: "" }]);
  });
});

describe("backoff", () => {
  it("grows to a ceiling and never falls under three quarters", () => {
    expect(backoff(0, 0)).toBe(375);
    expect(backoff(0, 1)).toBe(500);
    expect(backoff(3, 1)).toBe(4000);
    expect(backoff(50, 1)).toBe(15_000);
  });
});
