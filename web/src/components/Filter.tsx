// SPDX-License-Identifier: Apache-2.0
import { Button, Menu, MenuItemCheckbox, MenuItemRadio, MenuList, MenuPopover, MenuTrigger, SearchBox } from "@fluentui/react-components";
import { ChevronDownRegular } from "@fluentui/react-icons";
import { type ReactNode, useEffect, useRef, useState } from "react";
import css from "./Filter.module.css";

export interface Option {
  value: string;
  label: string;
}

/** Row of filters above a list. */
export function FilterBar({ children }: { children: ReactNode }) {
  return <div className={css.bar} role="group" aria-label="Filters">{children}</div>;
}

/** Filter of which several values may hold at once. */
export function FilterMany({ label, options, values, onChange }: { label: string; options: Option[]; values: string[]; onChange: (v: string[]) => void }) {
  const chosen = options.filter((o) => values.includes(o.value)).map((o) => o.label);
  return (
    <Menu checkedValues={{ v: values }} onCheckedValueChange={(_, d) => onChange(d.checkedItems)} persistOnItemClick>
      <MenuTrigger disableButtonEnhancement>
        <FilterButton label={label} text={chosen.length > 0 ? chosen.join(", ") : "Any"} on={chosen.length > 0} />
      </MenuTrigger>
      <MenuPopover>
        <MenuList>
          {options.map((o) => <MenuItemCheckbox key={o.value} name="v" value={o.value}>{o.label}</MenuItemCheckbox>)}
        </MenuList>
      </MenuPopover>
    </Menu>
  );
}

/** Filter with exactly one value. */
export function FilterOne({ label, options, value, fallback, onChange }: { label: string; options: Option[]; value: string; fallback: string; onChange: (v: string) => void }) {
  return (
    <Menu checkedValues={{ v: [value] }} onCheckedValueChange={(_, d) => onChange(d.checkedItems[0] ?? fallback)}>
      <MenuTrigger disableButtonEnhancement>
        <FilterButton label={label} text={options.find((o) => o.value === value)?.label ?? value} on={value !== fallback} />
      </MenuTrigger>
      <MenuPopover>
        <MenuList>
          {options.map((o) => <MenuItemRadio key={o.value} name="v" value={o.value}>{o.label}</MenuItemRadio>)}
        </MenuList>
      </MenuPopover>
    </Menu>
  );
}

function FilterButton({ label, text, on, ...rest }: { label: string; text: string; on: boolean }) {
  return (
    <Button {...rest} size="small" appearance="outline" icon={<ChevronDownRegular />} iconPosition="after" className={`${css.button} ${on ? css.on : ""}`}>
      <span className={css.label}>{label}:</span>
      <span className={css.value}>{text}</span>
    </Button>
  );
}

/** Search text that is handed on when typing pauses. */
export function FilterText({ label, value, onChange, narrow }: { label: string; value: string; onChange: (v: string) => void; narrow?: boolean }) {
  const [text, setText] = useState(value);
  const handed = useRef(value);
  useEffect(() => {
    if (value !== handed.current) {
      handed.current = value;
      setText(value);
    }
  }, [value]);
  useEffect(() => {
    if (text === handed.current) {
      return;
    }
    const timer = setTimeout(() => {
      handed.current = text;
      onChange(text);
    }, 250);
    return () => clearTimeout(timer);
  }, [text, onChange]);
  return <SearchBox size="small" className={narrow ? css.narrow : css.text} placeholder={label} aria-label={label} value={text} onChange={(_, d) => setText(d.value)} />;
}
