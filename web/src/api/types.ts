// SPDX-License-Identifier: Apache-2.0

// Short names for what the API answers with. The shapes are generated from the
// API's own description; only lists lose the null that Go could send there and
// this API never does.
import type { components, operations } from "./schema.gen";

type Schemas = components["schemas"];

/** A shape whose lists are never null. */
export type Listed<T> = T extends (infer U)[]
  ? Listed<U>[]
  : T extends object
    ? { [K in keyof T]: Extract<T[K], unknown[]> extends never ? Listed<T[K]> : Listed<NonNullable<T[K]>> }
    : T;

export type Session = Listed<Schemas["Session"]>;
export type Device = Listed<Schemas["Device"]>;
export type Hook = Listed<Schemas["Hook"]>;
export type DeviceUser = Listed<Schemas["User"]>;
export type Alert = Listed<Schemas["Alert"]>;
export type AlertChange = Schemas["AlertChange"];
export type AlertComment = Schemas["Comment"];
export type Evidence = Schemas["Evidence"];
export type Severity = Alert["severity"];
export type AlertStatus = Alert["status"];
export type TimelineEvent = Listed<Schemas["TimelineEvent"]>;
export type TimelineGap = Schemas["Gap"];
export type TimelinePage = Listed<Schemas["Timeline"]>;
export type ProcessTree = Listed<Schemas["ProcessTree"]>;
export type TreeNode = Listed<Schemas["ProcessNode"]>;
export type TreeEvent = Schemas["NodeEvent"];
export type Setup = Schemas["SetupState"];
export type SetupStep = Schemas["SetupStep"];
export type EnrolmentToken = Schemas["EnrolmentToken"];
export type NewToken = Schemas["NewEnrolmentToken"];
export type Rule = Listed<Schemas["Rule"]>;
export type ServiceRole = Schemas["RoleState"];
export type SensorCounts = Schemas["SensorCounts"];
export type AuditEntry = Schemas["AuditEntry"];

export type AlertFilter = NonNullable<operations["list-alerts"]["parameters"]["query"]>;
export type DeviceFilter = NonNullable<operations["list-devices"]["parameters"]["query"]>;
export type TimelineFilter = NonNullable<operations["get-timeline"]["parameters"]["query"]>;

export interface Page<T> {
  items: T[];
  next: string;
  total: number;
}
