// SPDX-License-Identifier: Apache-2.0
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback } from "react";

export type SearchParams = Partial<Record<string, string>>;

/**
 * The search parameters of the page's address and a way to change some of
 * them. Undefined and "" leave the address. Filters replace the entry of the
 * browser's history; what people take for going somewhere pushes a new one.
 */
export function useSearchState(): [SearchParams, (change: SearchParams, how?: "replace" | "push") => void] {
  const search = useSearch({ strict: false }) as SearchParams;
  const navigate = useNavigate();
  const change = useCallback(
    (c: SearchParams, how: "replace" | "push" = "replace") => {
      void navigate({
        to: ".",
        replace: how === "replace",
        search: ((old: SearchParams) => Object.fromEntries(Object.entries({ ...old, ...c }).filter(([, v]) => v !== undefined && v !== ""))) as never,
      });
    },
    [navigate],
  );
  return [search, change];
}
