// SPDX-License-Identifier: Apache-2.0
import type { Device, SensorCounts } from "../api/types";

export interface SensorState {
  state: Device["health"];
  count: number;
  /** What it means for whoever looks after the devices. */
  meaning: string;
}

/** How many devices are in each state of sensor health, the best first. */
export function sensorStates(c: SensorCounts): SensorState[] {
  return [
    { state: "Active", count: c.active, meaning: "Heartbeats and events arrive." },
    { state: "NoSensorData", count: c.noSensorData, meaning: "The sensor reports, but its events do not arrive or are not collected." },
    { state: "ImpairedCommunication", count: c.impairedCommunication, meaning: "Events arrive, but the device may not take commands." },
    { state: "NoSensorDataImpairedCommunication", count: c.noSensorDataImpairedCommunication, meaning: "Neither events nor commands pass as they should." },
    { state: "Inactive", count: c.inactive, meaning: "Nothing was heard for seven days." },
  ];
}

/** Devices in all states together. */
export function sensorTotal(states: readonly SensorState[]): number {
  return states.reduce((n, s) => n + s.count, 0);
}
