// SPDX-License-Identifier: Apache-2.0

// Values that the API knows, in the order in which people expect them.
export const severities = ["High", "Medium", "Low", "Informational"] as const;
export const statuses = ["New", "InProgress", "Resolved"] as const;
export const healthStates = ["Active", "NoSensorData", "ImpairedCommunication", "NoSensorDataImpairedCommunication", "Inactive"] as const;
export const connectionStates = ["Connected", "Asleep", "ShutDown", "SensorStopped", "Uninstalled", "NetworkCut", "HostGone", "NeverConnected"] as const;
export const riskLevels = ["High", "Medium", "Low", "None"] as const;
export const classifications = ["TruePositive", "FalsePositive"] as const;
export const determinations = ["Apt", "Malware", "SecurityPersonnel", "SecurityTesting", "UnwantedSoftware", "Other"] as const;

const names: Record<string, string> = {
  InProgress: "In progress",
  TruePositive: "True alert",
  FalsePositive: "False alert",
  Apt: "APT",
  SecurityPersonnel: "Security personnel",
  SecurityTesting: "Security testing",
  UnwantedSoftware: "Unwanted software",
  ShutDown: "Shut down",
  SensorStopped: "Sensor stopped",
  NetworkCut: "Silent: network cut or host gone",
  HostGone: "Host gone",
  NeverConnected: "Never connected",
  NoSensorData: "No sensor data",
  ImpairedCommunication: "Impaired communications",
  NoSensorDataImpairedCommunication: "No sensor data, impaired communications",
};

/** A value as people write it. */
export function nameOf(value: string): string {
  return names[value] ?? value;
}
