// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import {
  AlertFilled, AlertRegular, BookFilled, BookRegular, DesktopFilled, DesktopRegular, GridFilled, GridRegular, HeartPulseFilled, HeartPulseRegular, NavigationRegular,
  SettingsFilled, SettingsRegular, bundleIcon,
} from "@fluentui/react-icons";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { topAlertsQuery } from "../api/queries";
import { count } from "../format/number";
import { changeSettings, useSettings } from "../settings";
import css from "./Nav.module.css";

const items = [
  { to: "/", label: "Dashboard", Icon: bundleIcon(GridFilled, GridRegular) },
  { to: "/alerts", label: "Alerts", Icon: bundleIcon(AlertFilled, AlertRegular) },
  { to: "/devices", label: "Devices", Icon: bundleIcon(DesktopFilled, DesktopRegular) },
  { to: "/rules", label: "Detection rules", Icon: bundleIcon(BookFilled, BookRegular) },
  { to: "/health", label: "Health", Icon: bundleIcon(HeartPulseFilled, HeartPulseRegular) },
  { to: "/settings", label: "Settings", Icon: bundleIcon(SettingsFilled, SettingsRegular) },
] as const;

/** Navigation at the left; folded to icons on wish and on narrow screens. */
export function Nav() {
  const { navCollapsed } = useSettings();
  const waiting = useQuery(topAlertsQuery({ status: ["New"] }, 1)).data?.total ?? 0;
  return (
    <nav aria-label="Main" className={`${css.nav} ${navCollapsed ? css.collapsed : ""}`}>
      <Button
        appearance="subtle"
        icon={<NavigationRegular />}
        className={css.toggle}
        aria-label={navCollapsed ? "Widen the navigation" : "Narrow the navigation"}
        aria-expanded={!navCollapsed}
        onClick={() => changeSettings({ navCollapsed: !navCollapsed })}
      />
      <ul>
        {items.map(({ to, label, Icon }) => (
          <li key={to}>
            <Link to={to} className={css.link ?? ""} activeProps={{ className: css.active ?? "", "aria-current": "page" }} activeOptions={{ exact: to === "/", includeSearch: false }} title={label}>
              {({ isActive }) => (
                <>
                  <Icon filled={isActive} className={css.icon ?? ""} aria-hidden />
                  <span className={css.label}>{label}</span>
                  {to === "/alerts" && waiting > 0 && (
                    <span className={css.badge}>
                      {waiting > 999 ? "999+" : count(waiting)}
                      <span className="visually-hidden"> new</span>
                    </span>
                  )}
                </>
              )}
            </Link>
          </li>
        ))}
      </ul>
    </nav>
  );
}
