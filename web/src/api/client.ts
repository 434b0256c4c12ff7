// SPDX-License-Identifier: Apache-2.0
import createClient from "openapi-fetch";
import type { paths } from "./schema.gen";
import type { Listed } from "./types";

const base = "/api/portal";

/** Refusal or failure that the server explained, or status 0 when no answer came. */
export class ApiError extends Error {
  readonly status: number;
  readonly requestId: string;

  constructor(status: number, message: string, requestId = "") {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.requestId = requestId;
  }
}

let csrf = "";

/** Remembers the token that every change by cookie must carry. */
export function setCsrf(token: string): void {
  csrf = token;
}

/** Address below the API, for downloads and the event stream. */
export function address(path: string, query: Readonly<Record<string, string | readonly string[] | number | null | undefined>> = {}): string {
  const p = new URLSearchParams();
  for (const [k, v] of Object.entries(query)) {
    if (v !== undefined && v !== null && v !== "" && !(Array.isArray(v) && v.length === 0)) {
      p.set(k, String(v));
    }
  }
  const text = p.toString();
  return base + path + (text ? `?${text}` : "");
}

/** Calls by path and method, typed by the API's own description. */
export const client = createClient<paths>({
  credentials: "same-origin",
  headers: { Accept: "application/json" },
  querySerializer: { array: { style: "form", explode: false } },
});

client.use({
  onRequest({ request }) {
    if (request.method !== "GET") {
      request.headers.set("X-CSRF-Token", csrf);
    }
    return request;
  },
  async onResponse({ response }) {
    if (!response.ok) {
      throw await problem(response);
    }
    return undefined;
  },
  onError({ error, request }) {
    return request.signal.aborted || error instanceof ApiError ? undefined : new ApiError(0, "The server does not answer.");
  },
});

/** Reads why the server refused, from a problem document where it sent one. */
export async function problem(response: Response): Promise<ApiError> {
  try {
    const p = (await response.json()) as { title?: string; detail?: string; requestId?: string; errors?: { message?: string }[] | null };
    const text = [p.detail || p.title, ...(p.errors ?? []).map((e) => e.message)].filter(Boolean).join("; ");
    return new ApiError(response.status, text || `The server answered ${response.status}.`, p.requestId ?? "");
  } catch {
    return new ApiError(response.status, `The server answered ${response.status}.`);
  }
}

/** The body of an answer; failures were thrown before it came here. */
export async function body<T>(answer: Promise<{ data?: T }>): Promise<Listed<T>> {
  return (await answer).data as Listed<T>;
}
