// SPDX-License-Identifier: Apache-2.0

/** Starts the download of an address of this server. */
export function download(url: string): void {
  const a = document.createElement("a");
  a.href = url;
  a.download = "";
  document.body.append(a);
  a.click();
  a.remove();
}
