// SPDX-License-Identifier: Apache-2.0
import { Button, Menu, MenuDivider, MenuGroup, MenuGroupHeader, MenuItem, MenuItemRadio, MenuList, MenuPopover, MenuTrigger } from "@fluentui/react-components";
import { ClockRegular, DarkThemeRegular, KeyRegular, PersonCircleRegular, SignOutRegular } from "@fluentui/react-icons";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import type { LiveState } from "../api/live";
import { sessionQuery, signOut } from "../api/queries";
import { useNow } from "../components/Time";
import { toastFailed } from "../components/toasts";
import { zoneName } from "../format/time";
import { useSession } from "../session";
import { type ThemeName, changeSettings, useSettings } from "../settings";
import { ChangePassword } from "./ChangePassword";
import { Logo } from "./Logo";
import { Search } from "./Search";
import css from "./TopBar.module.css";

/** Bar at the top: name, search, time zone, theme, person. */
export function TopBar({ live }: { live: LiveState }) {
  return (
    <header className={css.bar}>
      <Link to="/" className={css.brand ?? ""} aria-label="Picket, to the dashboard">
        <Logo />
        <span className={css.name}>Picket</span>
      </Link>
      <Search />
      <div className={css.right}>
        <span className={css.live} title={live === "open" ? "Changes arrive live" : "Not connected to the server"}>
          <span className={live === "open" ? css.dotOn : css.dotOff} aria-hidden />
          <span className={css.liveText}>{live === "open" ? "Live" : live === "lost" ? "Not connected" : "Connecting"}</span>
        </span>
        <ZoneMenu />
        <ThemeMenu />
        <PersonMenu />
      </div>
    </header>
  );
}

function ZoneMenu() {
  const { zone } = useSettings();
  const now = useNow();
  return (
    <Menu checkedValues={{ zone: [zone] }} onCheckedValueChange={(_, d) => changeSettings({ zone: d.checkedItems[0] === "local" ? "local" : "utc" })}>
      <MenuTrigger disableButtonEnhancement>
        <Button appearance="subtle" icon={<ClockRegular />} aria-label={`Time zone: ${zoneName(now, zone)}`} title="Time zone">{zoneName(now, zone)}</Button>
      </MenuTrigger>
      <MenuPopover>
        <MenuList>
          <MenuItemRadio name="zone" value="utc">UTC</MenuItemRadio>
          <MenuItemRadio name="zone" value="local">This computer's zone ({zoneName(now, "local")})</MenuItemRadio>
        </MenuList>
      </MenuPopover>
    </Menu>
  );
}

const themeNames: [ThemeName, string][] = [
  ["system", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
  ["contrast", "High contrast"],
];

function ThemeMenu() {
  const { theme } = useSettings();
  return (
    <Menu
      checkedValues={{ theme: [theme] }}
      onCheckedValueChange={(_, d) => changeSettings({ theme: themeNames.find(([t]) => t === d.checkedItems[0])?.[0] ?? "system" })}
    >
      <MenuTrigger disableButtonEnhancement>
        <Button appearance="subtle" icon={<DarkThemeRegular />} aria-label="Theme" title="Theme" />
      </MenuTrigger>
      <MenuPopover>
        <MenuList>
          {themeNames.map(([value, label]) => <MenuItemRadio key={value} name="theme" value={value}>{label}</MenuItemRadio>)}
        </MenuList>
      </MenuPopover>
    </Menu>
  );
}

function PersonMenu() {
  const session = useSession();
  const client = useQueryClient();
  const [changing, setChanging] = useState(false);
  const leave = async () => {
    try {
      await signOut();
    } catch (e) {
      toastFailed("Signing out failed", e);
      return;
    }
    client.removeQueries({ predicate: (q) => q.queryKey[0] !== "session" });
    client.setQueryData(sessionQuery.queryKey, null);
  };
  return (
    <>
      <Menu>
        <MenuTrigger disableButtonEnhancement>
          <Button appearance="subtle" icon={<PersonCircleRegular />} aria-label={`Account of ${session.user}`} title="Account">{session.user}</Button>
        </MenuTrigger>
        <MenuPopover>
          <MenuList>
            <MenuGroup>
              <MenuGroupHeader>{session.role} of {session.tenant}</MenuGroupHeader>
              <MenuItem icon={<KeyRegular />} onClick={() => setChanging(true)}>Change password</MenuItem>
            </MenuGroup>
            <MenuDivider />
            <MenuItem icon={<SignOutRegular />} onClick={() => void leave()}>Sign out</MenuItem>
          </MenuList>
        </MenuPopover>
      </Menu>
      {changing && <ChangePassword onClose={() => setChanging(false)} />}
    </>
  );
}
