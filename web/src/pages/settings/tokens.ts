// SPDX-License-Identifier: Apache-2.0
import type { EnrolmentToken } from "../../api/types";

export type TokenState = "Valid" | "Used up" | "Expired" | "Revoked";

/** What an enrolment token is good for at a moment. */
export function tokenState(t: Pick<EnrolmentToken, "revoked" | "expires" | "used" | "uses">, now: Date): TokenState {
  if (t.revoked) {
    return "Revoked";
  }
  if (Date.parse(t.expires) <= now.getTime()) {
    return "Expired";
  }
  return t.used >= t.uses ? "Used up" : "Valid";
}
