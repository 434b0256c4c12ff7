// SPDX-License-Identifier: Apache-2.0

export interface Message {
  id: number;
  intent: "done" | "failed" | "warning";
  title: string;
  text: string;
}

/** The short messages that stand at the corner of the page, oldest first; at most five, the oldest goes first. */
export class MessageStore {
  #messages: readonly Message[] = [];
  #listeners = new Set<() => void>();
  #last = 0;

  readonly subscribe = (f: () => void): (() => void) => {
    this.#listeners.add(f);
    return () => this.#listeners.delete(f);
  };

  readonly current = (): readonly Message[] => this.#messages;

  /** Shows a message for so many milliseconds, or until it is dismissed when that is 0. */
  show(intent: Message["intent"], title: string, text: string, ms: number): number {
    const id = ++this.#last;
    this.#set([...this.#messages, { id, intent, title, text }].slice(-5));
    if (ms > 0) {
      setTimeout(() => this.dismiss(id), ms);
    }
    return id;
  }

  dismiss(id: number): void {
    if (this.#messages.some((m) => m.id === id)) {
      this.#set(this.#messages.filter((m) => m.id !== id));
    }
  }

  #set(messages: readonly Message[]): void {
    this.#messages = messages;
    for (const f of this.#listeners) {
      f();
    }
  }
}

/** The messages of this page. */
export const messages = new MessageStore();
