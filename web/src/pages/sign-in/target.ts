// SPDX-License-Identifier: Apache-2.0

/** Where to go after the sign-in: an address within the portal, or the dashboard for anything else. */
export function safeTarget(to: string | undefined): string {
  if (!to || !/^\/(?![/\\])/.test(to) || [...to].some((c) => c < " ")) {
    return "/";
  }
  const url = new URL(to, "http://portal.invalid");
  return url.host === "portal.invalid" && url.pathname !== "/sign-in" ? url.pathname + url.search + url.hash : "/";
}
