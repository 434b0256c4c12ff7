// SPDX-License-Identifier: Apache-2.0
import { Checkbox, Spinner } from "@fluentui/react-components";
import { ArrowDownRegular, ArrowUpRegular } from "@fluentui/react-icons";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type CSSProperties, type KeyboardEvent, type MouseEvent, type ReactNode, useEffect, useLayoutEffect, useRef, useState } from "react";
import { nextSort } from "../search";
import css from "./Grid.module.css";
import { rangeBetween, toggled } from "./selection";
import { leastWidth } from "./tracks";

export interface Column<T> {
  id: string;
  header: string;
  /** Track of a CSS grid: 120px, minmax(160px, 2fr). */
  width: string;
  cell: (row: T) => ReactNode;
  /** Name of the order that the server offers; absent: cannot be sorted by. */
  sort?: string;
  descendingFirst?: boolean;
  end?: boolean;
  /** The header is for those who do not see the page only. */
  hiddenHeader?: boolean;
}

interface Props<T> {
  /** What the rows are, for people who do not see the page. */
  label: string;
  columns: Column<T>[];
  rows: T[];
  rowKey: (row: T) => string;
  rowHeight?: number;
  total?: number;
  sort?: string;
  onSort?: (sort: string) => void;
  onOpen?: (row: T) => void;
  /** Key of the row whose details are shown. */
  current?: string | undefined;
  selected?: ReadonlySet<string>;
  onSelect?: (keys: Set<string>) => void;
  rowLabel?: (row: T) => string;
  /** Data attributes of a row, by which tests find it. */
  rowData?: (row: T) => Record<`data-${string}`, string>;
  hasMore?: boolean;
  loadingMore?: boolean;
  onMore?: () => void;
  /** Rows scroll with the page instead of within the grid; for lists that stay short. */
  inline?: boolean;
}

/**
 * A list of any length as a grid: only the rows in view exist in the page, the
 * next part is asked for near the end. Arrow keys move between rows, Enter
 * opens one, Space selects one.
 */
export function Grid<T>(props: Props<T>) {
  const { columns, rows, rowKey, rowHeight = 40, onMore, hasMore, loadingMore, inline } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState(0);
  const focusAt = useRef<number | null>(null);
  const anchor = useRef<string | null>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 12,
    enabled: !inline,
  });
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;

  useEffect(() => {
    if (hasMore && !loadingMore && rows.length > 0 && last >= rows.length - 20) {
      onMore?.();
    }
  }, [hasMore, loadingMore, last, rows.length, onMore]);

  useLayoutEffect(() => {
    // A row far away exists only some renders after it was scrolled to.
    const row = focusAt.current === null ? null : scroller.current?.querySelector<HTMLElement>(`[data-index="${focusAt.current}"]`);
    if (row) {
      focusAt.current = null;
      row.focus({ preventScroll: true });
    }
  });

  const current = Math.min(active, Math.max(0, rows.length - 1));
  const keyDown = (e: KeyboardEvent) => {
    const row = (e.target as HTMLElement).closest<HTMLElement>("[data-index]");
    if (!row) {
      return;
    }
    const onRow = e.target === row;
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 400) / rowHeight) - 2);
    const moves: Record<string, number> = { ArrowDown: current + 1, ArrowUp: current - 1, PageDown: current + page, PageUp: current - page, Home: 0, End: rows.length - 1 };
    const to = moves[e.key];
    if (to !== undefined) {
      e.preventDefault();
      const next = Math.max(0, Math.min(rows.length - 1, to));
      focusAt.current = next;
      setActive(next);
      if (!inline) {
        virtual.scrollToIndex(next);
      }
      return;
    }
    const item = rows[current];
    if (onRow && item !== undefined) {
      if (e.key === "Enter" && props.onOpen) {
        e.preventDefault();
        props.onOpen(item);
      } else if (e.key === " " && props.onSelect) {
        e.preventDefault();
        select(item, e.shiftKey);
      }
    }
  };

  const select = (item: T, range: boolean) => {
    const keys = rows.map(rowKey);
    const key = rowKey(item);
    const chosen = props.selected ?? new Set<string>();
    const next = range && anchor.current !== null ? new Set([...chosen, ...rangeBetween(keys, anchor.current, key)]) : toggled(chosen, key);
    anchor.current = key;
    props.onSelect?.(next);
  };

  const tracks = (props.onSelect ? "36px " : "") + columns.map((c) => c.width).join(" ");
  const rowOf = (index: number, style?: CSSProperties) => {
    const item = rows[index];
    if (item === undefined) {
      return null;
    }
    const key = rowKey(item);
    return (
      <Row
        key={key}
        grid={props}
        item={item}
        index={index}
        focusable={index === current}
        tracks={tracks}
        style={{ height: inline ? undefined : rowHeight, minHeight: rowHeight, ...style }}
        onFocus={() => setActive(index)}
        onToggle={(range) => select(item, range)}
      />
    );
  };

  return (
    <div className={inline ? css.inline : css.frame} ref={scroller}>
      <div
        role="grid"
        aria-label={props.label}
        aria-rowcount={(props.total ?? rows.length) + 1}
        aria-multiselectable={props.onSelect ? true : undefined}
        className={css.grid}
        style={{ minWidth: leastWidth(tracks) }}
        onKeyDown={keyDown}
      >
        <HeaderRow {...props} tracks={tracks} />
        {inline ? (
          <div role="rowgroup">{rows.map((_, i) => rowOf(i))}</div>
        ) : (
          <div role="rowgroup" className={css.body} style={{ height: virtual.getTotalSize() }}>
            {items.map((v) => rowOf(v.index, { position: "absolute", insetInline: 0, transform: `translateY(${v.start}px)` }))}
          </div>
        )}
      </div>
      {loadingMore && <Spinner className={css.more} size="tiny" label="Loading more" />}
    </div>
  );
}

interface RowProps<T> {
  grid: Props<T>;
  item: T;
  index: number;
  focusable: boolean;
  tracks: string;
  style: CSSProperties;
  onFocus: () => void;
  onToggle: (range: boolean) => void;
}

function Row<T>({ grid, item, index, focusable, tracks, style, onFocus, onToggle }: RowProps<T>) {
  const key = grid.rowKey(item);
  const selected = grid.selected?.has(key) ?? false;
  const click = (e: MouseEvent) => {
    if ((e.target as HTMLElement).closest("a, button, input, label") || window.getSelection()?.type === "Range") {
      return;
    }
    if (e.ctrlKey || e.metaKey || e.shiftKey) {
      if (grid.onSelect) {
        e.preventDefault();
        onToggle(e.shiftKey);
      }
      return;
    }
    grid.onOpen?.(item);
  };
  return (
    <div
      role="row"
      tabIndex={focusable ? 0 : -1}
      data-index={index}
      {...grid.rowData?.(item)}
      aria-rowindex={index + 2}
      aria-selected={grid.onSelect ? selected : undefined}
      aria-current={grid.current === key ? "true" : undefined}
      className={`${css.row} ${selected ? css.selected : ""} ${grid.current === key ? css.current : ""} ${grid.onOpen ? css.opens : ""}`}
      style={{ ...style, gridTemplateColumns: tracks }}
      onFocus={onFocus}
      onClick={click}
    >
      {grid.onSelect && (
        <div role="gridcell" className={css.check}>
          <Checkbox
            checked={selected}
            aria-label={`Select ${grid.rowLabel?.(item) ?? key}`}
            onChange={(e) => onToggle("shiftKey" in e.nativeEvent && e.nativeEvent.shiftKey === true)}
          />
        </div>
      )}
      {grid.columns.map((c) => (
        <div role="gridcell" key={c.id} className={`${css.cell} ${c.end ? css.end : ""}`}>
          {c.cell(item)}
        </div>
      ))}
    </div>
  );
}

function HeaderRow<T>(props: Props<T> & { tracks: string }) {
  const { columns, rows, selected, sort = "", onSort } = props;
  const all = rows.length > 0 && rows.every((r) => selected?.has(props.rowKey(r)));
  const some = (selected?.size ?? 0) > 0;
  return (
    <div role="rowgroup" className={css.header}>
      <div role="row" aria-rowindex={1} className={css.headerRow} style={{ gridTemplateColumns: props.tracks }}>
        {props.onSelect && (
          <div role="columnheader" className={css.check}>
            <Checkbox
              checked={all ? true : some ? "mixed" : false}
              aria-label="Select all loaded rows"
              onChange={() => props.onSelect?.(all ? new Set() : new Set(rows.map(props.rowKey)))}
            />
          </div>
        )}
        {columns.map((c) => {
          const up = c.sort !== undefined && sort === c.sort;
          const down = c.sort !== undefined && sort === `-${c.sort}`;
          return (
            <div
              role="columnheader"
              key={c.id}
              aria-sort={up ? "ascending" : down ? "descending" : undefined}
              className={`${css.head} ${c.end ? css.end : ""}`}
            >
              {c.sort !== undefined && onSort ? (
                <button type="button" className={css.sort} onClick={() => onSort(nextSort(sort, c.sort ?? "", c.descendingFirst ?? false))}>
                  {c.header}
                  {up && <ArrowUpRegular aria-hidden />}
                  {down && <ArrowDownRegular aria-hidden />}
                </button>
              ) : (
                <span className={c.hiddenHeader ? "visually-hidden" : undefined}>{c.header}</span>
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}
