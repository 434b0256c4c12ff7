// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { sensorStates, sensorTotal } from "./sensors";

it("counts every state once, the best first", () => {
  const states = sensorStates({
    active: 1, noSensorData: 2, impairedCommunication: 4, noSensorDataImpairedCommunication: 8, inactive: 16, activeAlerts: { high: 0, medium: 0, low: 0, informational: 0 },
  });
  expect(states.map((s) => [s.state, s.count])).toEqual([["Active", 1], ["NoSensorData", 2], ["ImpairedCommunication", 4], ["NoSensorDataImpairedCommunication", 8], ["Inactive", 16]]);
  expect(sensorTotal(states)).toBe(31);
});
