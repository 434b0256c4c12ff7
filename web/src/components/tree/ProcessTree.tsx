// SPDX-License-Identifier: Apache-2.0
import {
  AppGenericRegular, ChevronDownRegular, ChevronRightRegular, DocumentRegular, FlashFilled, GlobeRegular, KeyRegular, LinkRegular, MoreHorizontalRegular, PuzzlePieceRegular, ServerLinkRegular,
} from "@fluentui/react-icons";
import { type KeyboardEvent, type ReactNode, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { ProcessTree as Tree } from "../../api/types";
import { counted } from "../../format/number";
import { Time } from "../Time";
import { toggled } from "../selection";
import css from "./ProcessTree.module.css";
import { type Line, arrow, initiallyOpen, lines } from "./tree";

const eventIcons: Record<string, ReactNode> = {
  file: <DocumentRegular />,
  network: <GlobeRegular />,
  dns: <ServerLinkRegular />,
  logon: <KeyRegular />,
  registry: <PuzzlePieceRegular />,
  image: <LinkRegular />,
};

interface Props {
  tree: Tree;
  selected: string;
  onSelect: (id: string) => void;
  /** Address of the timeline around a process, for the line that says there are more events. */
  onMore?: (guid: string) => void;
}

/** Processes and what they did, as an indented tree: arrows walk and open, Enter shows the details. */
export function ProcessTree({ tree, selected, onSelect, onMore }: Props) {
  const [open, setOpen] = useState(() => initiallyOpen(tree, selected));
  const rows = useMemo(() => lines(tree, open), [tree, open]);
  const root = useRef<HTMLDivElement>(null);
  const [focused, setFocused] = useState(selected);
  const move = useRef(false);
  const index = Math.max(0, rows.findIndex((r) => r.id === focused));

  useLayoutEffect(() => {
    if (move.current) {
      move.current = false;
      root.current?.querySelector<HTMLElement>(`[data-line="${index}"]`)?.focus();
    }
  });

  const act = (row: Line) => {
    if (row.kind === "more") {
      onMore?.(row.node.guid);
    } else if (row.kind === "run") {
      setOpen((o) => toggled(o, row.id));
    } else {
      onSelect(row.id);
    }
  };
  const keyDown = (e: KeyboardEvent) => {
    const row = rows[index];
    if (!row || e.ctrlKey || e.metaKey || e.altKey) {
      return;
    }
    if (e.key === "Enter" || e.key === " ") {
      e.preventDefault();
      act(row);
      return;
    }
    const step = arrow(e.key, rows, index);
    const toggle = step.open ?? step.close;
    if (toggle !== undefined) {
      e.preventDefault();
      setOpen((o) => toggled(o, toggle));
    } else if (step.focus !== undefined) {
      e.preventDefault();
      move.current = true;
      setFocused(rows[step.focus]?.id ?? "");
    }
  };
  return (
    <div ref={root} role="tree" aria-label="Process tree" className={css.tree} onKeyDown={keyDown}>
      {rows.map((row, i) => (
        <div
          key={row.id}
          role="treeitem"
          data-line={i}
          data-testid={row.kind === "process" ? "tree-node" : undefined}
          data-guid={row.kind === "process" ? row.node.guid : undefined}
          tabIndex={i === index ? 0 : -1}
          aria-level={row.depth + 1}
          aria-posinset={row.posInSet}
          aria-setsize={row.setSize}
          aria-selected={row.id === selected}
          aria-expanded={(row.kind === "process" && row.expandable) || row.kind === "run" ? row.expanded : undefined}
          className={`${css.line} ${row.id === selected ? css.selected : ""} ${row.kind === "process" && row.node.guid === tree.focus ? css.focus : ""}`}
          onFocus={() => setFocused(row.id)}
          onClick={() => act(row)}
        >
          <Rails row={row} />
          {row.kind === "process" ? (
            <ProcessLine row={row} onToggle={() => setOpen((o) => toggled(o, row.id))} />
          ) : row.kind === "event" ? (
            <EventLine row={row} />
          ) : row.kind === "run" ? (
            <RunLine row={row} />
          ) : (
            <span className={css.body}>
              <span className={css.icon} aria-hidden><MoreHorizontalRegular /></span>
              <span className={css.moreText}>{counted(row.count, "more event")}{onMore && ", see the timeline"}</span>
            </span>
          )}
        </div>
      ))}
      {tree.truncated && <p className={css.note}>There are more processes than shown here.</p>}
    </div>
  );
}

function Rails({ row }: { row: Line }) {
  if (row.depth === 0) {
    return null;
  }
  return (
    <span className={css.rails} aria-hidden>
      {row.rails.map((on, i) => <span key={i} className={on ? css.rail : css.gap} />)}
      <span className={row.last ? css.elbow : css.tee} />
    </span>
  );
}

function ProcessLine({ row, onToggle }: { row: Extract<Line, { kind: "process" }>; onToggle: () => void }) {
  const { node, expandable, expanded, hidden } = row;
  return (
    <span className={css.body}>
      <span
        className={expandable ? css.toggle : css.noToggle}
        aria-hidden
        onClick={(e) => {
          if (expandable) {
            e.stopPropagation();
            onToggle();
          }
        }}
      >
        {expandable && (expanded ? <ChevronDownRegular /> : <ChevronRightRegular />)}
      </span>
      <span className={`${css.icon} ${css.process}`} aria-hidden><AppGenericRegular /></span>
      <span className={css.text}>
        <span className={css.head}>
          <span className={css.name}>{node.fileName || "Unknown process"}</span>
          {node.alertIds.length > 0 && (
            <span className={css.bolt} title={counted(node.alertIds.length, "alert")}>
              <FlashFilled aria-hidden />
              <span className={css.boltText}>{counted(node.alertIds.length, "alert")}</span>
            </span>
          )}
          <span className={css.meta}>{node.pid > 0 && `pid ${node.pid}`}{node.user && ` by ${node.user}`}</span>
          {node.snapshot && <span className={css.meta}>running before the sensor started</span>}
          {!expanded && hidden > 0 && <span className={css.meta}>{hidden} inside</span>}
          <span className={css.time}>{node.start && <Time value={node.start} look="clock" />}</span>
        </span>
        {node.commandLine && <code className={css.command}>{node.commandLine}</code>}
      </span>
    </span>
  );
}

/** Many events of a process that raised no alert, as one line. */
function RunLine({ row }: { row: Extract<Line, { kind: "run" }> }) {
  return (
    <span className={css.body}>
      <span className={css.toggle} aria-hidden>{row.expanded ? <ChevronDownRegular /> : <ChevronRightRegular />}</span>
      <span className={css.text}>
        <span className={css.head}>
          <span className={css.meta}>{counted(row.count, "event")}</span>
          <span className={css.time}>{row.from && <Time value={row.from} look="clock" />}</span>
        </span>
      </span>
    </span>
  );
}

function EventLine({ row }: { row: Extract<Line, { kind: "event" }> }) {
  return (
    <span className={css.body}>
      <span className={css.noToggle} />
      <span className={css.icon} aria-hidden>{eventIcons[row.event.kind] ?? <AppGenericRegular />}</span>
      <span className={css.text}>
        <span className={css.eventHead}>
          <span className={css.event}>{row.event.label}</span>
          <span className={css.time}><Time value={row.event.time} look="clock" /></span>
        </span>
      </span>
    </span>
  );
}
