// SPDX-License-Identifier: Apache-2.0

const gap = 12;
const padding = 24;

/** Least width in pixels at which the tracks of a grid keep their least sizes: 40px minmax(100px, 2fr) needs 176. */
export function leastWidth(tracks: string): number {
  const sizes = [...tracks.matchAll(/(\d+)px/g)].map((m) => Number(m[1]));
  return sizes.reduce((sum, n) => sum + n, 0) + gap * Math.max(0, sizes.length - 1) + padding;
}
