// SPDX-License-Identifier: Apache-2.0
import { SearchBox, Spinner } from "@fluentui/react-components";
import { AlertRegular, DesktopRegular } from "@fluentui/react-icons";
import { useQuery } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { topAlertsQuery, topDevicesQuery } from "../api/queries";
import { SeverityIcon } from "../components/Severity";
import css from "./Search.module.css";

interface Hit {
  key: string;
  href: string;
  label: string;
  detail: string;
  severity?: string;
}

/** Search over devices and alerts; the slash key goes there from anywhere. */
export function Search() {
  const router = useRouter();
  const list = useId();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState("");
  const [asked, setAsked] = useState("");
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(-1);

  useEffect(() => {
    const timer = setTimeout(() => setAsked(text.trim()), 200);
    return () => clearTimeout(timer);
  }, [text]);
  useEffect(() => {
    const slash = (e: globalThis.KeyboardEvent) => {
      const el = e.target as HTMLElement;
      if (e.key === "/" && !e.ctrlKey && !e.metaKey && !el.closest("input, textarea, select, [contenteditable]")) {
        e.preventDefault();
        input.current?.focus();
      }
    };
    document.addEventListener("keydown", slash);
    return () => document.removeEventListener("keydown", slash);
  }, []);

  const devices = useQuery({ ...topDevicesQuery({ q: asked }, 5), enabled: asked !== "" });
  const alerts = useQuery({ ...topAlertsQuery({ q: asked }, 5), enabled: asked !== "" });
  const deviceHits: Hit[] = (devices.data?.items ?? []).map((d) => ({ key: d.id, href: `/devices/${d.id}`, label: d.name, detail: d.internalIp }));
  const alertHits: Hit[] = (alerts.data?.items ?? []).map((a) => ({ key: a.id, href: `/alerts/${a.id}`, label: a.title, detail: a.deviceName, severity: a.severity }));
  const q = encodeURIComponent(text.trim());
  const everywhere: Hit[] = [
    { key: "devices", href: `/devices?q=${q}`, label: `All devices with "${text.trim()}"`, detail: "" },
    { key: "alerts", href: `/alerts?q=${q}&period=180d&status=New,InProgress,Resolved`, label: `All alerts with "${text.trim()}"`, detail: "" },
  ];
  const hits = [...deviceHits, ...alertHits, ...everywhere];
  const shown = open && text.trim() !== "";

  const go = (hit: Hit | undefined) => {
    if (!hit) {
      return;
    }
    router.history.push(hit.href);
    setOpen(false);
    setText("");
    setAt(-1);
    input.current?.blur();
  };
  const keyDown = (e: KeyboardEvent) => {
    switch (e.key) {
      case "ArrowDown":
      case "ArrowUp": {
        e.preventDefault();
        setOpen(true);
        const n = hits.length;
        setAt((i) => (e.key === "ArrowDown" ? (i + 1) % n : (i <= 0 ? n : i) - 1));
        break;
      }
      case "Enter":
        go(hits[at] ?? (asked === text.trim() && hits.length === 3 ? hits[0] : everywhere[0]));
        break;
      case "Escape":
        setOpen(false);
        break;
    }
  };
  const option = (hit: Hit, index: number, icon: React.ReactNode) => (
    <div
      key={hit.key}
      id={`${list}-${index}`}
      role="option"
      aria-selected={index === at}
      className={`${css.option} ${index === at ? css.at : ""}`}
      onMouseDown={(e) => e.preventDefault()}
      onMouseEnter={() => setAt(index)}
      onClick={() => go(hit)}
    >
      <span className={css.icon} aria-hidden={!hit.severity}>{hit.severity ? <SeverityIcon value={hit.severity} /> : icon}</span>
      <span className={css.label}>{hit.label}</span>
      <span className={css.detail}>{hit.detail}</span>
    </div>
  );

  return (
    <div className={css.search} role="search">
      <SearchBox
        ref={input}
        className={css.box}
        placeholder="Search devices and alerts"
        aria-label="Search devices and alerts"
        value={text}
        onChange={(_, d) => {
          setText(d.value);
          setOpen(true);
          setAt(-1);
        }}
        input={{
          role: "combobox",
          "aria-expanded": shown,
          "aria-controls": list,
          "aria-autocomplete": "list",
          "aria-activedescendant": shown && at >= 0 ? `${list}-${at}` : undefined,
          onKeyDown: keyDown,
          onFocus: () => setOpen(true),
          onBlur: () => setOpen(false),
        }}
      />
      {shown && (
        <div className={css.popup} id={list} role="listbox" aria-label="Found">
          {(devices.isFetching || alerts.isFetching) && <Spinner size="tiny" className={css.spinner} />}
          {deviceHits.map((h, i) => option(h, i, <DesktopRegular />))}
          {alertHits.map((h, i) => option(h, deviceHits.length + i, <AlertRegular />))}
          {everywhere.map((h, i) => option(h, deviceHits.length + alertHits.length + i, i === 0 ? <DesktopRegular /> : <AlertRegular />))}
        </div>
      )}
    </div>
  );
}
