// SPDX-License-Identifier: Apache-2.0

/** The text of a policy as a person edits it. */
export function policyText(policy: Record<string, unknown>): string {
  return Object.keys(policy).length === 0 ? "{\n}\n" : `${JSON.stringify(policy, null, 2)}\n`;
}

/** Reads the text, or says what is wrong with it. */
export function readPolicy(text: string): { policy: Record<string, unknown> } | { error: string } {
  let value: unknown;
  try {
    value = JSON.parse(text.trim() === "" ? "{}" : text);
  } catch (e) {
    return { error: `Not JSON: ${(e as Error).message}` };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return { error: "A policy is a JSON object: { … }" };
  return { policy: value as Record<string, unknown> };
}
