// SPDX-License-Identifier: Apache-2.0
import { Button, Field, Input, InteractionTag, InteractionTagPrimary, InteractionTagSecondary } from "@fluentui/react-components";
import { CalendarRegular, ChevronLeftRegular, ChevronRightRegular, QuestionCircleRegular } from "@fluentui/react-icons";
import { useQuery } from "@tanstack/react-query";
import { Fragment, useCallback, useEffect, useState } from "react";
import { deviceUsersQuery, setupQuery } from "../../../api/queries";
import type { Device } from "../../../api/types";
import { FilterBar, FilterMany, FilterOne, FilterText } from "../../../components/Filter";
import { Popup } from "../../../components/Popup";
import { useNow } from "../../../components/Time";
import { type Zone, addDays, dayOf, isDay } from "../../../format/time";
import { listText } from "../../../search";
import { useSettings } from "../../../settings";
import { ExportButton } from "./ExportButton";
import css from "./Timeline.module.css";
import { type Chip, type Search, bound, dayBefore, daysAgo, eventTypes, filtersOf, levels, noFilters, searchTypes } from "./filters";

interface Props {
  device: Device;
  search: Search;
  change: (c: Search) => void;
  chips: Chip[];
}

/** Filters of a timeline, and what they amount to as chips. */
export function TimelineFilters({ device, search, change, chips }: Props) {
  const f = filtersOf(search);
  const setText = useCallback((q: string) => change({ q }), [change]);
  return (
    <>
      <FilterBar>
        <FilterText label="Text or type:value" value={search.q ?? ""} onChange={setText} />
        <SearchHelp />
        <FilterOne
          label="Level"
          options={levels.map((l) => ({ value: l.value, label: l.label }))}
          value={f.level}
          fallback="verbose"
          onChange={(v) => change({ level: v === "verbose" ? undefined : v })}
        />
        <FilterMany label="Event type" options={[...eventTypes]} values={f.types} onChange={(v) => change({ types: listText(v) })} />
        <UserFilter deviceId={device.id} value={f.user} onChange={(user) => change({ user })} />
        <DateFilter search={search} change={change} />
        <span className={css.spacer} />
        <ExportButton device={device} search={search} />
      </FilterBar>
      {chips.length > 0 && <Chips chips={chips} change={change} />}
    </>
  );
}

function Chips({ chips, change }: { chips: Chip[]; change: (c: Search) => void }) {
  return (
    <div className={css.chips} role="group" aria-label="Active filters">
      {chips.map((c, i) => (
        <Fragment key={c.name}>
          {i > 0 && <span className="muted">and</span>}
          <InteractionTag size="small">
            <InteractionTagPrimary hasSecondaryAction as="button" tabIndex={-1}>{c.text}</InteractionTagPrimary>
            <InteractionTagSecondary aria-label={`Remove filter ${c.text}`} onClick={() => change({ [c.name]: undefined })} />
          </InteractionTag>
        </Fragment>
      ))}
      <Button size="small" appearance="subtle" onClick={() => change(noFilters)}>Remove all filters</Button>
    </div>
  );
}

function SearchHelp() {
  return (
    <Popup label="How to search" button={(props) => <Button {...props} size="small" appearance="subtle" icon={<QuestionCircleRegular />} aria-label="How to search" title="How to search" />}>
        <h3>Search the timeline</h3>
        <p className={css.help}>Plain text looks in names, paths, command lines, accounts, addresses and hashes. With a type it looks there only:</p>
        <dl className={css.helpList}>
          {searchTypes.map((t) => (
            <div key={t.type}>
              <dt><code>{t.type}:</code></dt>
              <dd>{t.help}, <code>{t.example.length > 26 ? `${t.example.slice(0, 20)}…` : t.example}</code></dd>
            </div>
          ))}
        </dl>
        <h3>Levels</h3>
        <dl className={css.helpList}>
          {levels.map((l) => (
            <div key={l.value}>
              <dt>{l.label}</dt>
              <dd>{l.help}</dd>
            </div>
          ))}
        </dl>
    </Popup>
  );
}

function UserFilter({ deviceId, value, onChange }: { deviceId: string; value: string; onChange: (v: string) => void }) {
  const users = useQuery(deviceUsersQuery(deviceId)).data ?? [];
  const names = [...new Set(["root", ...users.map((u) => u.account), ...(value ? [value] : [])])].filter(Boolean).toSorted();
  return <FilterOne label="User account" options={[{ value: "", label: "Any" }, ...names.map((n) => ({ value: n, label: n }))]} value={value} fallback="" onChange={onChange} />;
}

/** Chooses the day from which the timeline goes back, by date, by arrows, or by sliding. */
function DateFilter({ search, change }: { search: Search; change: (c: Search) => void }) {
  const { zone } = useSettings();
  const retention = useQuery(setupQuery).data?.retentionDays ?? 180;
  const now = useNow();
  const today = dayOf(now, zone);
  const back = Math.min(retention, daysAgo(search.to, now, zone));
  const until = untilDay(search.to, zone) ?? today;
  const set = useCallback((days: number) => change({ to: dayBefore(days, new Date(), zone) }), [change, zone]);
  return (
    <Popup label="Date" button={(props) => <Button {...props} size="small" appearance="outline" icon={<CalendarRegular />} className={css.date}>{search.to ? `Until ${until}` : "Until now"}</Button>}>
      <div className={css.datePane}>
        <Field label="Show this day and older">
          <div className={css.dateRow}>
            <Button size="small" icon={<ChevronLeftRegular />} aria-label="One day earlier" disabled={back >= retention} onClick={() => set(back + 1)} />
            <Input type="date" aria-label="Show this day and older" value={until} max={today} min={addDays(today, -retention)} onChange={(_, d) => isDay(d.value) && change({ to: d.value === today ? undefined : d.value })} />
            <Button size="small" icon={<ChevronRightRegular />} aria-label="One day later" disabled={back === 0} onClick={() => set(back - 1)} />
          </div>
        </Field>
        <DaySlider retention={retention} back={back} onSet={set} today={today} />
        <Field label="Not before">
          <Input type="date" value={untilDay(search.from, zone) ?? ""} max={until} onChange={(_, d) => change({ from: isDay(d.value) ? d.value : undefined })} />
        </Field>
        <Button size="small" disabled={!search.to && !search.from} onClick={() => change({ to: undefined, from: undefined })}>Until now</Button>
      </div>
    </Popup>
  );
}

/** Slider over the days kept; it asks for events only when let go. */
function DaySlider({ retention, back, onSet, today }: { retention: number; back: number; onSet: (days: number) => void; today: string }) {
  const [sliding, setSliding] = useState<number | null>(null);
  const at = sliding ?? retention - back;
  useEffect(() => {
    if (sliding === null) {
      return;
    }
    const timer = setTimeout(() => {
      onSet(retention - sliding);
      setSliding(null);
    }, 300);
    return () => clearTimeout(timer);
  }, [sliding, retention, onSet]);
  const day = addDays(today, at - retention);
  return (
    <div>
      <input type="range" className="slider" min={0} max={retention} value={at} onChange={(e) => setSliding(e.target.valueAsNumber)} aria-label="Day" aria-valuetext={day} />
      <div className={css.ends}>
        <span>{addDays(today, -retention)}</span>
        <span>{day}</span>
        <span>Today</span>
      </div>
    </div>
  );
}

function untilDay(text: string | undefined, zone: Zone): string | undefined {
  const at = bound(text, zone, false);
  return at ? dayOf(at, zone) : undefined;
}
