// SPDX-License-Identifier: Apache-2.0
import type { Evidence } from "../../api/types";

function firstOf(fields: Readonly<Record<string, string>>, ...names: string[]): string {
  return names.map((n) => fields[n]).find((v) => v !== undefined && v !== "") ?? "";
}

/** What a piece of evidence is, in a few words, and what tells it apart from its like. */
export function describeEvidence(e: Evidence): { what: string; detail: string } {
  const f = e.fields;
  switch (e.entityType) {
    case "Process":
      return { what: firstOf(f, "ProcessCommandLine", "InitiatingProcessCommandLine", "FileName", "InitiatingProcessFileName"), detail: firstOf(f, "SHA256", "SHA1", "InitiatingProcessSHA256", "InitiatingProcessSHA1") };
    case "File":
      return { what: firstOf(f, "FolderPath", "FileName"), detail: firstOf(f, "SHA256", "SHA1", "MD5") };
    case "Ip": {
      const ip = firstOf(f, "RemoteIP", "LocalIP");
      const port = firstOf(f, "RemotePort", "LocalPort");
      const host = ip.includes(":") && port ? `[${ip}]` : ip;
      return { what: port ? `${host}:${port}` : host, detail: firstOf(f, "Protocol") };
    }
    case "Url":
      return { what: firstOf(f, "RemoteUrl", "DnsQueryName"), detail: firstOf(f, "RemoteIP", "DnsAnswers") };
    case "User":
      return { what: firstOf(f, "AccountName", "InitiatingProcessAccountName"), detail: firstOf(f, "AccountDomain", "LogonType") };
    default:
      return { what: firstOf(f, "FileName", "RemoteUrl", "RemoteIP", "AccountName", "ActionType"), detail: firstOf(f, "SHA256", "FolderPath") };
  }
}
