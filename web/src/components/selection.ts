// SPDX-License-Identifier: Apache-2.0

/** Selection with one key turned over. */
export function toggled(selected: ReadonlySet<string>, key: string): Set<string> {
  const next = new Set(selected);
  if (!next.delete(key)) {
    next.add(key);
  }
  return next;
}

/** Keys between two of them, both included, whichever comes first; only the second when the first is gone. */
export function rangeBetween(keys: readonly string[], from: string, to: string): string[] {
  const a = keys.indexOf(from);
  const b = keys.indexOf(to);
  if (a < 0 || b < 0) {
    return [to];
  }
  return keys.slice(Math.min(a, b), Math.max(a, b) + 1);
}
