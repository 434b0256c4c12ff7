// SPDX-License-Identifier: Apache-2.0
import { Badge } from "@fluentui/react-components";
import {
  ArrowCircleRightRegular, CheckmarkCircleFilled, CheckmarkCircleRegular, CircleRegular, ErrorCircleFilled, PlugConnectedRegular, PlugDisconnectedRegular, PowerRegular, ShieldCheckmarkRegular,
  WeatherMoonRegular,
  ShieldErrorRegular, ShieldRegular, WarningFilled, ErrorCircleRegular,
} from "@fluentui/react-icons";
import type { ReactNode } from "react";
import css from "./Status.module.css";
import { nameOf } from "./values";

const statusIcons: Record<string, ReactNode> = { New: <CircleRegular />, InProgress: <ArrowCircleRightRegular />, Resolved: <CheckmarkCircleRegular /> };

/** Place of an alert in the queue. */
export function StatusMark({ value }: { value: string }) {
  return (
    <span className={`${css.mark} ${value === "New" ? css.strong : ""}`}>
      <span className={css.icon} aria-hidden>{statusIcons[value]}</span>
      {nameOf(value)}
    </span>
  );
}

/** Health of a sensor. */
export function Health({ value, reason }: { value: string; reason?: string | undefined }) {
  const [icon, tone] =
    value === "Active" ? [<CheckmarkCircleFilled key="i" />, css.good] : value === "Inactive" ? [<PlugDisconnectedRegular key="i" />, css.off] : [<WarningFilled key="i" />, css.warn];
  return (
    <span className={css.mark} title={reason}>
      <span className={`${css.icon} ${tone}`} aria-hidden>{icon}</span>
      <span className="ellipsis">{nameOf(value)}</span>
    </span>
  );
}

const connectionIcons: Record<string, ReactNode> = {
  Connected: <PlugConnectedRegular />,
  Asleep: <WeatherMoonRegular />,
  ShutDown: <PowerRegular />,
  SensorStopped: <WarningFilled />,
  NetworkCut: <PlugDisconnectedRegular />,
};

/** Whether a device is connected, and if not, why. */
export function Connection({ value, reason }: { value: string; reason?: string | undefined }) {
  const tone = value === "Connected" ? css.good : value === "NetworkCut" || value === "SensorStopped" ? css.warn : value === "HostGone" ? css.bad : css.off;
  return (
    <span className={css.mark} title={reason}>
      <span className={`${css.icon} ${tone}`} aria-hidden>{connectionIcons[value] ?? <PlugDisconnectedRegular />}</span>
      <span className="ellipsis">{nameOf(value)}</span>
    </span>
  );
}

/** Risk level of a device. */
export function Risk({ value, brief }: { value: string; brief?: boolean }) {
  const icon = value === "High" ? <ShieldErrorRegular /> : value === "None" ? <ShieldCheckmarkRegular /> : <ShieldRegular />;
  const tone = value === "High" ? css.riskHigh : value === "Medium" ? css.riskMedium : value === "Low" ? css.riskLow : css.off;
  return (
    <span className={css.mark} title={brief ? `${value} risk` : undefined}>
      <span className={`${css.icon} ${tone}`} aria-hidden>{icon}</span>
      <span className={brief ? "visually-hidden" : tone}>{value === "None" ? "No known risk" : `${value}${brief ? " risk" : ""}`}</span>
    </span>
  );
}

/** State of a part of the service. */
export function RoleState({ value }: { value: string }) {
  const good = /^(ok|up|ready|running|healthy|serving)$/i.test(value);
  const bad = /^(down|failed|error|unavailable|stopped)$/i.test(value);
  return (
    <span className={css.mark}>
      <span className={`${css.icon} ${good ? css.good : bad ? css.bad : css.warn}`} aria-hidden>
        {good ? <CheckmarkCircleFilled /> : bad ? <ErrorCircleFilled /> : <WarningFilled />}
      </span>
      {value}
    </span>
  );
}

/** Outcome of an audited action. */
export function Outcome({ value }: { value: string }) {
  return (
    <span className={css.mark}>
      <span className={`${css.icon} ${value === "success" ? css.good : css.bad}`} aria-hidden>
        {value === "success" ? <CheckmarkCircleFilled /> : <ErrorCircleRegular />}
      </span>
      {value}
    </span>
  );
}

/** A short label such as a tag or an ATT&CK technique. */
export function Label({ children }: { children: ReactNode }) {
  return <Badge appearance="outline" color="informative" className={css.label}>{children}</Badge>;
}
