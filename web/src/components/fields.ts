// SPDX-License-Identifier: Apache-2.0

const first = ["Timestamp", "ActionType", "FileName", "FolderPath", "ProcessCommandLine", "ProcessId", "AccountName", "RemoteIP", "RemotePort", "RemoteUrl", "DnsQueryName", "SHA256"];

/** Columns in the order in which people look for them: what happened, then the acting process, then the rest; each by name. */
export function sortedFields(fields: Readonly<Record<string, string>>): [string, string][] {
  const place = (name: string): number => {
    const i = first.indexOf(name);
    return i >= 0 ? i : name.startsWith("InitiatingProcess") ? 101 : /^(Device|Machine|Boot|Batch|Report)/.test(name) ? 102 : 100;
  };
  return Object.entries(fields)
    .filter(([, v]) => v !== "")
    .toSorted(([a], [b]) => place(a) - place(b) || a.localeCompare(b));
}

/** Columns whose values are long and read as commands. */
export function isCommand(name: string): boolean {
  return name.endsWith("CommandLine") || name === "AdditionalFields";
}
