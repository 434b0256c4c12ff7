// SPDX-License-Identifier: Apache-2.0

// From the flat list of processes that the server sends to the lines of an
// indented tree.
import type { ProcessTree, TreeEvent, TreeNode } from "../../api/types";

/** Line of the tree: a process, one of its events, or the note that there are more. */
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
} & ({ kind: "process"; node: TreeNode; expandable: boolean; expanded: boolean; hidden: number } | { kind: "event"; node: TreeNode; event: TreeEvent } | { kind: "more"; node: TreeNode; count: number });

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
 * with alerts and all that leads to them.
 */
export function initiallyOpen(tree: ProcessTree): Set<string> {
  const open = new Set<string>();
  const visit = (b: Branch): boolean => {
    let matters = b.node.guid === tree.focus || b.node.alertIds.length > 0;
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
    const { node, children } = b;
    const inside = node.events.length + (node.moreEvents > 0 ? 1 : 0) + children.length;
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
    const items = merged(b);
    for (const item of items) {
      if ("children" in item) {
        const c = common();
        visit(item, c.depth, c.rails, c.last, c.parent, c.posInSet, c.setSize);
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

/** Children and events of a process in order of time. */
function merged(b: Branch): (Branch | { event: TreeEvent; index: number; time: string })[] {
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
      if (row.kind === "process" && row.expandable) {
        return row.expanded ? { focus: index + 1 } : { open: row.id };
      }
      return {};
    case "ArrowLeft":
      if (row.kind === "process" && row.expanded) {
        return { close: row.id };
      }
      return row.parent === undefined ? {} : { focus: rows.findIndex((r) => r.id === row.parent) };
    default:
      return {};
  }
}
