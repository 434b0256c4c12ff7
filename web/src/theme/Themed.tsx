// SPDX-License-Identifier: Apache-2.0
import { FluentProvider } from "@fluentui/react-components";
import { type ReactNode, useEffect, useSyncExternalStore } from "react";
import { useSettings } from "../settings";
import { themes } from "./themes";

const darkQuery = window.matchMedia("(prefers-color-scheme: dark)");
const contrastQuery = window.matchMedia("(forced-colors: active), (prefers-contrast: more)");

function subscribe(f: () => void): () => void {
  darkQuery.addEventListener("change", f);
  contrastQuery.addEventListener("change", f);
  return () => {
    darkQuery.removeEventListener("change", f);
    contrastQuery.removeEventListener("change", f);
  };
}

function systemTheme(): "light" | "dark" | "contrast" {
  if (contrastQuery.matches) {
    return "contrast";
  }
  return darkQuery.matches ? "dark" : "light";
}

/** Gives its children the chosen theme, or the one that the operating system asks for. */
export function Themed({ children }: { children: ReactNode }) {
  const { theme } = useSettings();
  const system = useSyncExternalStore(subscribe, systemTheme);
  const name = theme === "system" ? system : theme;
  useEffect(() => {
    document.documentElement.dataset.theme = name;
    document.documentElement.style.colorScheme = name === "light" ? "light" : "dark";
    document.documentElement.style.backgroundColor = themes[name].pageBackground;
  }, [name]);
  return (
    <FluentProvider theme={themes[name]} className="app">
      {children}
    </FluentProvider>
  );
}
