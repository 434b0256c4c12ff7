// SPDX-License-Identifier: Apache-2.0

/** Nonce that the server put into this page, without which its policy refuses every style written at run time. */
export function pageNonce(): string | undefined {
  const meta = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]');
  return meta?.nonce || meta?.getAttribute("nonce") || undefined;
}
