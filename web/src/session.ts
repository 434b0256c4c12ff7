// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { sessionQuery } from "./api/queries";
import type { Session } from "./api/types";

const nobody: Session = { user: "", role: "viewer", csrfToken: "", setupDone: true, tenant: "", can: [] };

/** The signed-in person. */
export function useSession(): Session {
  return useQuery(sessionQuery).data ?? nobody;
}

/** Reports whether the signed-in person holds a permission. */
export function useCan(permission: string): boolean {
  return useSession().can.includes(permission);
}
