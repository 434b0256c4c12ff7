// SPDX-License-Identifier: Apache-2.0

/** One server-sent event. */
export interface ServerEvent {
  event: string;
  data: string;
  id: string;
}

/**
 * Reads the text/event-stream format from chunks of text that may end anywhere,
 * also within a line end. Feed it every chunk; it returns the events that are
 * complete so far. Comment lines keep the connection alive and yield nothing.
 */
export class EventStreamParser {
  #rest = "";
  #skipLineFeed = false;
  #event = "";
  #data: string[] = [];
  #id = "";

  feed(chunk: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    let text = this.#rest + chunk;
    if (this.#skipLineFeed && text.length > 0) {
      if (text.startsWith("\n")) {
        text = text.slice(1);
      }
      this.#skipLineFeed = false;
    }
    let start = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (c !== "\n" && c !== "\r") {
        continue;
      }
      this.#line(text.slice(start, i), events);
      if (c === "\r") {
        if (i + 1 === text.length) {
          this.#skipLineFeed = true;
        } else if (text[i + 1] === "\n") {
          i++;
        }
      }
      start = i + 1;
    }
    this.#rest = text.slice(start);
    return events;
  }

  #line(line: string, events: ServerEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) {
        events.push({ event: this.#event || "message", data: this.#data.join("\n"), id: this.#id });
      }
      this.#event = "";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) {
      return;
    }
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    switch (field) {
      case "event":
        this.#event = value;
        break;
      case "data":
        this.#data.push(value);
        break;
      case "id":
        if (!value.includes("\0")) {
          this.#id = value;
        }
        break;
    }
  }
}

/** Pause before the next attempt to connect: doubles from half a second to 15 s, spread by up to a quarter. */
export function backoff(attempt: number, random: number): number {
  const base = Math.min(15_000, 500 * 2 ** Math.min(attempt, 10));
  return Math.round(base * (0.75 + random / 4));
}
