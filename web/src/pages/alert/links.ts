// SPDX-License-Identifier: Apache-2.0
import { parseTime } from "../../format/time";

/** Link to the timeline of a device that starts just after a moment, with an event marked where one is named. */
export function around(deviceId: string, time: string, event?: { bootId: string; reportId: number }) {
  const at = parseTime(time);
  return {
    to: "/devices/$id",
    params: { id: deviceId },
    search: {
      tab: "timeline",
      level: "verbose",
      ...(at ? { to: new Date(Math.floor(at.getTime() / 1000) * 1000 + 60_000).toISOString().replace(".000", "") } : {}),
      ...(event && event.bootId ? { event: `${event.bootId}~${event.reportId}` } : {}),
    },
  } as const;
}
