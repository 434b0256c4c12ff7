// SPDX-License-Identifier: Apache-2.0
import { useQueryClient } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { useEffect } from "react";
import { sessionQuery } from "../api/queries";

/** Asks the router again who is there when the session ends. */
export function useLeaveWhenSignedOut(): void {
  const client = useQueryClient();
  const router = useRouter();
  useEffect(
    () =>
      client.getQueryCache().subscribe((e) => {
        if (e.type === "updated" && e.query.queryHash === JSON.stringify(sessionQuery.queryKey) && e.query.state.data === null) {
          void router.invalidate();
        }
      }),
    [client, router],
  );
}
