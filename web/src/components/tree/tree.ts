// SPDX-License-Identifier: Apache-2.0

// From the flat list of processes that the server sends to the lines of an
// indented tree.
import type { ProcessTree, TreeEvent, TreeNode } from "../../api/types";

/** Line of the tree: a process, one of its events, many events folded into one line, or the note that there are more. */
export type Line = {
  id: string;
  depth: number;
  /** For each ancestor level, whether its line goes on below this one. */
  rails: boolean[];
  /** Last among its siblings. */
  last: boolean;
  parent: string | undefined;
  posInSet: number;
  setSize: number;
} & (
  | { kind: "process"; node: TreeNode; expandable: boolean; expanded: boolean; hidden: number }
  | { kind: "event"; node: TreeNode; event: TreeEvent }
  | { kind: "run"; node: TreeNode; count: number; from: string; expanded: boolean }
  | { kind: "more"; node: TreeNode; count: number }
);

/** As many events in a row stay as they are; longer runs fold, where nothing raised an alert. */
const longestRun = 3;

interface Branch {
  node: TreeNode;
  children: Branch[];
}

/** Roots of the tree; a process whose parent is missing, is itself or descends from it becomes a root. */
export function branches(nodes: readonly TreeNode[]): Branch[] {
  const all = new Map<string, Branch>();
  for (const node of nodes) {
    if (!all.has(node.guid)) {
      all.set(node.guid, { node, children: [] });
    }
  }
  const roots: Branch[] = [];
  const parentOf = new Map<string, string>();
  for (const [guid, branch] of all) {
    const parent = all.get(branch.node.parentGuid);
    if (!parent || descends(branch.node.parentGuid, guid, parentOf)) {
      roots.push(branch);
    } else {
      parentOf.set(guid, branch.node.parentGuid);
      parent.children.push(branch);
    }
  }
  for (const b of all.values()) {
    b.children.sort(byStart);
  }
  return roots.toSorted(byStart);
}

/** Reports whether guid is ancestor or equal to itself, seen from start upwards. */
function descends(start: string, guid: string, parentOf: ReadonlyMap<string, string>): boolean {
  for (let at: string | undefined = start; at !== undefined; at = parentOf.get(at)) {
    if (at === guid) {
      return true;
    }
  }
  return false;
}

function byStart(a: Branch, b: Branch): number {
  return (a.node.start ?? "").localeCompare(b.node.start ?? "");
}

/**
 * Processes that are open at first: the focus and all that leads to it, those
 * with alerts and all that leads to them, and what holds the selected line.
 */
export function initiallyOpen(tree: ProcessTree, selected = ""): Set<string> {
  const open = new Set<string>();
  const visit = (b: Branch): boolean => {
    const run = grouped(tree, b).find((i): i is Run => "run" in i && i.run.some((e) => eventId(b.node, e.index) === selected));
    if (run) {
      open.add(runId(b.node, run));
    }
    let matters = b.node.guid === tree.focus || b.node.alertIds.length > 0 || b.node.guid === selected || selected.startsWith(`${b.node.guid}.`);
    for (const c of b.children) {
      matters = visit(c) || matters;
    }
    if (matters) {
      open.add(b.node.guid);
    }
    return matters;
  };
  for (const b of branches(tree.nodes)) {
    visit(b);
  }
  return open;
}

/** Id of the line of an event. */
export function eventId(node: TreeNode, index: number): string {
  return `${node.guid}.${index}`;
}

/** Visible lines, top to bottom, with some processes open. */
export function lines(tree: ProcessTree, open: ReadonlySet<string>): Line[] {
  const out: Line[] = [];
  const visit = (b: Branch, depth: number, rails: boolean[], last: boolean, parent: string | undefined, posInSet: number, setSize: number) => {
    const { node } = b;
    const items = grouped(tree, b);
    const inside = items.length + (node.moreEvents > 0 ? 1 : 0);
    const expanded = inside > 0 && open.has(node.guid);
    out.push({ kind: "process", id: node.guid, node, depth, rails, last, parent, posInSet, setSize, expandable: inside > 0, expanded, hidden: countBelow(b) });
    if (!expanded) {
      return;
    }
    const below = depth > 0 ? [...rails, !last] : rails;
    let position = 0;
    const common = () => {
      position++;
      return { depth: depth + 1, rails: below, last: position === inside, parent: node.guid, posInSet: position, setSize: inside };
    };
    for (const item of items) {
      if ("children" in item) {
        const c = common();
        visit(item, c.depth, c.rails, c.last, c.parent, c.posInSet, c.setSize);
      } else if ("run" in item) {
        addRun(out, node, item, common(), open);
      } else {
        out.push({ kind: "event", id: eventId(node, item.index), node, event: item.event, ...common() });
      }
    }
    if (node.moreEvents > 0) {
      out.push({ kind: "more", id: `${node.guid}.more`, node, count: node.moreEvents, ...common() });
    }
  };
  const roots = branches(tree.nodes);
  roots.forEach((b, i) => visit(b, 0, [], i === roots.length - 1, undefined, i + 1, roots.length));
  return out;
}

/** Adds the line of a run, and its events when it is open. */
function addRun(out: Line[], node: TreeNode, run: Run, at: Place, open: ReadonlySet<string>) {
  const id = runId(node, run);
  const expanded = open.has(id);
  const setSize = run.run.length;
  out.push({ kind: "run", id, node, count: setSize, from: run.run[0]?.time ?? "", expanded, ...at });
  if (!expanded) {
    return;
  }
  run.run.forEach(({ event, index }, i) => {
    out.push({ kind: "event", id: eventId(node, index), node, event, depth: at.depth + 1, rails: [...at.rails, !at.last], last: i === setSize - 1, parent: id, posInSet: i + 1, setSize });
  });
}

type Place = Pick<Line, "depth" | "rails" | "last" | "parent" | "posInSet" | "setSize">;
interface PlacedEvent {
  event: TreeEvent;
  index: number;
  time: string;
}
interface Run {
  run: PlacedEvent[];
}

function runId(node: TreeNode, run: Run): string {
  return `${node.guid}.run${run.run[0]?.index ?? 0}`;
}

/** Children and events of a process, long runs of events as one item unless the process is what the tree is about. */
function grouped(tree: ProcessTree, b: Branch): (Branch | PlacedEvent | Run)[] {
  const items = merged(b);
  if (b.node.guid === tree.focus || b.node.alertIds.length > 0) {
    return items;
  }
  const out: (Branch | PlacedEvent | Run)[] = [];
  let run: PlacedEvent[] = [];
  const flush = () => {
    out.push(...(run.length > longestRun ? [{ run }] : run));
    run = [];
  };
  for (const item of items) {
    if ("children" in item) {
      flush();
      out.push(item);
    } else {
      run.push(item);
    }
  }
  flush();
  return out;
}

/** Children and events of a process in order of time. */
function merged(b: Branch): (Branch | PlacedEvent)[] {
  const events = b.node.events.map((event, index) => ({ event, index, time: event.time }));
  const time = (x: Branch | { time: string }) => ("children" in x ? (x.node.start ?? "") : x.time);
  return [...events, ...b.children].toSorted((x, y) => time(x).localeCompare(time(y)));
}

function countBelow(b: Branch): number {
  return b.children.reduce((n, c) => n + 1 + countBelow(c), b.node.events.length + b.node.moreEvents);
}

/** What an arrow key does on a line of the tree, as the ARIA pattern has it. */
export function arrow(key: string, rows: readonly Line[], index: number): { focus?: number; open?: string; close?: string } {
  const row = rows[index];
  if (!row) {
    return {};
  }
  switch (key) {
    case "ArrowDown":
      return { focus: Math.min(rows.length - 1, index + 1) };
    case "ArrowUp":
      return { focus: Math.max(0, index - 1) };
    case "Home":
      return { focus: 0 };
    case "End":
      return { focus: rows.length - 1 };
    case "ArrowRight":
      if ((row.kind === "process" && row.expandable) || row.kind === "run") {
        return row.expanded ? { focus: index + 1 } : { open: row.id };
      }
      return {};
    case "ArrowLeft":
      if ((row.kind === "process" || row.kind === "run") && row.expanded) {
        return { close: row.id };
      }
      return row.parent === undefined ? {} : { focus: rows.findIndex((r) => r.id === row.parent) };
    default:
      return {};
  }
}
