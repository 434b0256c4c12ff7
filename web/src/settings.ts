// SPDX-License-Identifier: Apache-2.0

// What this browser remembers about its person: theme, time zone, width of the
// navigation. Nothing here is secret and nothing here is needed to work.
import { useSyncExternalStore } from "react";
import type { Zone } from "./format/time";

export type ThemeName = "system" | "light" | "dark" | "contrast";

export interface Settings {
  theme: ThemeName;
  zone: Zone;
  navCollapsed: boolean;
}

const key = "picket.settings";
const defaults: Settings = { theme: "system", zone: "utc", navCollapsed: false };

/** Reads stored settings, keeping only values that this version knows. */
export function parseSettings(text: string | null): Settings {
  let raw: unknown;
  try {
    raw = JSON.parse(text ?? "{}");
  } catch {
    return defaults;
  }
  const r = (typeof raw === "object" && raw !== null ? raw : {}) as Record<string, unknown>;
  return {
    theme: (["system", "light", "dark", "contrast"] as const).find((t) => t === r.theme) ?? defaults.theme,
    zone: (["utc", "local"] as const).find((z) => z === r.zone) ?? defaults.zone,
    navCollapsed: typeof r.navCollapsed === "boolean" ? r.navCollapsed : defaults.navCollapsed,
  };
}

function stored(): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // storage switched off
  }
}

let current: Settings | undefined;
const listeners = new Set<() => void>();

function settings(): Settings {
  current ??= parseSettings(stored());
  return current;
}

/** Changes some settings for this browser. */
export function changeSettings(change: Partial<Settings>): void {
  current = { ...settings(), ...change };
  try {
    localStorage.setItem(key, JSON.stringify(current));
  } catch {
    // Without storage the choice lasts until the page is closed.
  }
  for (const f of listeners) {
    f();
  }
}

function subscribe(f: () => void): () => void {
  const fromOtherTab = (e: StorageEvent) => {
    if (e.key === key) {
      current = parseSettings(e.newValue);
      f();
    }
  };
  listeners.add(f);
  window.addEventListener("storage", fromOtherTab);
  return () => {
    listeners.delete(f);
    window.removeEventListener("storage", fromOtherTab);
  };
}

/** Settings of this browser; a component that uses them follows changes, also those made in another tab. */
export function useSettings(): Settings {
  return useSyncExternalStore(subscribe, settings);
}
