// SPDX-License-Identifier: Apache-2.0

// The live connection: what changed on the server is asked for again here.
import type { QueryClient, QueryKey } from "@tanstack/react-query";
import { useQueryClient } from "@tanstack/react-query";
import { createContext, useEffect, useState } from "react";
import { address } from "./client";
import { EventStreamParser, type ServerEvent, backoff } from "./sse";

/** Longest silence of a healthy connection; the server sends a comment more often than this. */
const silence = 45_000;
/** A hidden page gives its connection back after this long, since browsers allow few per server. */
const hiddenGrace = 30_000;

export type LiveState = "connecting" | "open" | "lost";

export interface Notice {
  id?: string;
  deviceId?: string;
}

/** Query keys that an event makes out of date. */
export function staleKeys(event: string, notice: Notice): QueryKey[] {
  switch (event) {
    case "device":
      return [["devices"], ["sensor-health"], ...(notice.id ? [["device", notice.id]] : [])];
    case "alert":
      return [["alerts"], ["devices"], ...(notice.id ? [["alert", notice.id]] : []), ...(notice.deviceId ? [["device", notice.deviceId]] : [])];
    case "setup":
      return [["setup"]];
    default:
      return [];
  }
}

/** Gathers keys and hands them on at once when quiet, else together once per interval. */
export class Coalescer {
  readonly #emit: (keys: QueryKey[]) => void;
  readonly #interval: number;
  #pending = new Map<string, QueryKey>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(interval: number, emit: (keys: QueryKey[]) => void) {
    this.#interval = interval;
    this.#emit = emit;
  }

  add(keys: QueryKey[]): void {
    for (const k of keys) {
      this.#pending.set(JSON.stringify(k), k);
    }
    if (this.#timer === undefined) {
      this.#flush();
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pending.clear();
  }

  #flush(): void {
    this.#timer = undefined;
    if (this.#pending.size === 0) {
      return;
    }
    const keys = [...this.#pending.values()];
    this.#pending.clear();
    this.#timer = setTimeout(() => this.#flush(), this.#interval);
    this.#emit(keys);
  }
}

function parseNotice(data: string): Notice {
  try {
    const n: unknown = JSON.parse(data);
    return typeof n === "object" && n !== null ? (n as Notice) : {};
  } catch {
    return {};
  }
}

type TimelineListener = (deviceId: string) => void;

/** Tells pages that show a timeline that a device sent new events. */
export class Live {
  readonly #timeline = new Set<TimelineListener>();

  onTimeline(f: TimelineListener): () => void {
    this.#timeline.add(f);
    return () => this.#timeline.delete(f);
  }

  newEvents(deviceId: string): void {
    for (const f of this.#timeline) {
      f(deviceId);
    }
  }
}

export const LiveContext = createContext(new Live());

/** Keeps one connection open while the page is visible and reports its state. */
export function useLive(live: Live): LiveState {
  const client = useQueryClient();
  const [state, setState] = useState<LiveState>("connecting");
  useEffect(() => {
    const connection = new Connection(client, live, setState);
    connection.start();
    return () => connection.stop();
  }, [client, live]);
  return state;
}

class Connection {
  readonly #client: QueryClient;
  readonly #live: Live;
  readonly #report: (s: LiveState) => void;
  readonly #changes: Coalescer;
  #abort: AbortController | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #missed = false;

  constructor(client: QueryClient, live: Live, report: (s: LiveState) => void) {
    this.#client = client;
    this.#live = live;
    this.#report = report;
    this.#changes = new Coalescer(500, (keys) => {
      for (const queryKey of keys) {
        void client.invalidateQueries({ queryKey });
      }
    });
  }

  start(): void {
    document.addEventListener("visibilitychange", this.#visibility);
    this.#open();
  }

  stop(): void {
    document.removeEventListener("visibilitychange", this.#visibility);
    clearTimeout(this.#hidden);
    this.#changes.stop();
    this.#abort?.abort();
    this.#abort = undefined;
  }

  readonly #visibility = () => {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => {
        this.#abort?.abort();
        this.#abort = undefined;
        this.#missed = true;
      }, hiddenGrace);
    } else if (!this.#abort) {
      this.#open();
    }
  };

  #open(): void {
    const abort = new AbortController();
    this.#abort = abort;
    void this.#run(abort.signal);
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; ) {
      try {
        await this.#listen(signal, () => {
          attempt = 0;
        });
      } catch {
        // Every failure has the same answer: wait and connect again.
      }
      if (signal.aborted) {
        return;
      }
      this.#missed = true;
      this.#report("lost");
      await pause(backoff(attempt++, Math.random()), signal);
    }
  }

  async #listen(signal: AbortSignal, opened: () => void): Promise<void> {
    const quiet = new AbortController();
    let timer = setTimeout(() => quiet.abort(), silence);
    try {
      const response = await fetch(address("/events"), {
        headers: { Accept: "text/event-stream" },
        credentials: "same-origin",
        signal: AbortSignal.any([signal, quiet.signal]),
      });
      if (response.status === 401) {
        await this.#client.invalidateQueries({ queryKey: ["session"] });
      }
      if (!response.ok || !response.body) {
        return;
      }
      opened();
      this.#report("open");
      if (this.#missed) {
        this.#missed = false;
        this.#refetchAll();
      }
      const parser = new EventStreamParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
        clearTimeout(timer);
        timer = setTimeout(() => quiet.abort(), silence);
        for (const e of parser.feed(chunk.value)) {
          this.#take(e);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #refetchAll(): void {
    void this.#client.invalidateQueries({ predicate: (q) => q.queryKey[0] !== "timeline" && q.queryKey[0] !== "session" });
  }

  #take(e: ServerEvent): void {
    if (e.event === "resync") {
      this.#refetchAll();
      return;
    }
    const notice = parseNotice(e.data);
    if (e.event === "timeline" && notice.deviceId) {
      this.#live.newEvents(notice.deviceId);
    }
    this.#changes.add(staleKeys(e.event, notice));
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
