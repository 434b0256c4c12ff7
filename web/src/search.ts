// SPDX-License-Identifier: Apache-2.0

// Search parameters of portal addresses. They are plain text, many values
// joined by commas, so that an address can be read, written and shared by hand:
// /alerts?severity=High,Medium&status=New

export type RawSearch = Record<string, string>;

/** Reads the part of an address after the question mark. */
export function parseSearch(text: string): RawSearch {
  const out: RawSearch = {};
  for (const [k, v] of new URLSearchParams(text)) {
    if (v !== "") {
      out[k] = v;
    }
  }
  return out;
}

/** Writes search parameters, without those that are empty; commas, colons and slashes stay readable. */
export function formatSearch(search: Record<string, unknown>): string {
  const p = new URLSearchParams();
  for (const [k, v] of Object.entries(search)) {
    if (typeof v === "string" && v !== "") {
      p.set(k, v);
    }
  }
  const text = p.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%7E", "~").replaceAll("%2F", "/");
  return text === "" ? "" : `?${text}`;
}

/** Makes the checker of a page's search parameters: keeps the known names, drops the rest. */
export function knownParams<const K extends string>(...names: K[]): (raw: Record<string, unknown>) => Partial<Record<K, string>> {
  return (raw) => {
    const out: Partial<Record<K, string>> = {};
    for (const name of names) {
      const v = raw[name];
      if (typeof v === "string" && v !== "" && v.length <= 2000) {
        out[name] = v;
      }
    }
    return out;
  };
}

/** Values of a list parameter, each once, only those allowed when a list of them is given. */
export function listOf<T extends string>(text: string | undefined, allowed?: readonly T[]): T[] {
  const values = [...new Set((text ?? "").split(",").filter((v) => v !== ""))];
  return values.filter((v) => !allowed || (allowed as readonly string[]).includes(v)) as T[];
}

/** The values, or undefined when there are none. */
export function some<T>(values: T[]): T[] | undefined {
  return values.length > 0 ? values : undefined;
}

/** List parameter of values; undefined when none, so that it leaves the address. */
export function listText(values: readonly string[]): string | undefined {
  return values.length > 0 ? values.join(",") : undefined;
}

/** One of the allowed values, or the fallback. */
export function oneOf<T extends string>(text: string | undefined, allowed: readonly T[], fallback: T): T {
  return allowed.find((v) => v === text) ?? fallback;
}

/** Sort parameter after a click on a column: first this way, then the other. */
export function nextSort(current: string, column: string, descendingFirst: boolean): string {
  if (current === column) {
    return `-${column}`;
  }
  if (current === `-${column}`) {
    return column;
  }
  return descendingFirst ? `-${column}` : column;
}
