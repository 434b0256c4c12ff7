// SPDX-License-Identifier: Apache-2.0
import type { DeviceUser } from "../../api/types";

/** The users seen on most and on fewest days; the later seen one where days are equal. Nobody is both. */
export function mostAndLeast(users: readonly DeviceUser[]): { most: DeviceUser | undefined; least: DeviceUser | undefined } {
  const order = users.toSorted((a, b) => b.daysSeen - a.daysSeen || b.lastSeen.localeCompare(a.lastSeen));
  return { most: order[0], least: order.length > 1 ? order.at(-1) : undefined };
}

const interactive = ["Interactive", "RemoteInteractive", "CachedInteractive", "CachedRemoteInteractive", "Unlock", "CachedUnlock"];

/** Users by how they logged on: at a terminal or desktop, and all others. One who did both is in both. */
export function byLogon(users: readonly DeviceUser[]): { interactive: DeviceUser[]; other: DeviceUser[] } {
  const atTerminal = (u: DeviceUser) => u.logonTypes.some((t) => interactive.includes(t));
  const otherwise = (u: DeviceUser) => u.logonTypes.length === 0 || u.logonTypes.some((t) => !interactive.includes(t));
  return { interactive: users.filter(atTerminal), other: users.filter(otherwise) };
}
