// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { ProcessTree, TreeEvent, TreeNode } from "../../api/types";
import { arrow, branches, initiallyOpen, lines } from "./tree";

function node(guid: string, parentGuid: string, minute: number, more: Partial<TreeNode> = {}): TreeNode {
  return {
    guid, parentGuid, fileName: guid, folderPath: "", commandLine: "", pid: 1, user: "", start: `2026-03-04T10:${String(minute).padStart(2, "0")}:00Z`, end: null, exitCode: "", sha1: "", sha256: "",
    md5: "", containerId: "", snapshot: false, alertIds: [], events: [], moreEvents: 0, ...more,
  };
}

function event(minute: number, label: string): TreeEvent {
  return { time: `2026-03-04T10:${String(minute).padStart(2, "0")}:00Z`, kind: "file", label, fields: {} };
}

const tree: ProcessTree = {
  focus: "curl",
  truncated: false,
  nodes: [
    node("systemd", "gone", 0),
    node("sshd", "systemd", 1),
    node("bash", "sshd", 2, { events: [event(4, "wrote x")], moreEvents: 3 }),
    node("curl", "bash", 5, { alertIds: ["a1"], events: [event(6, "connected")] }),
    node("ls", "bash", 3),
    node("cron", "systemd", 2),
    node("job", "cron", 3),
  ],
};

const show = (open: Set<string>, of = tree) => lines(of, open).map((l) => `${"  ".repeat(l.depth)}${l.kind === "process" ? l.node.fileName : l.kind === "event" ? l.event.label : l.kind === "run" ? `[${l.count}]` : `+${l.count}`}`);

describe("branches", () => {
  it("makes a root of a process whose parent is unknown", () => {
    expect(branches(tree.nodes).map((b) => b.node.guid)).toEqual(["systemd"]);
  });
  it("survives loops and doubles that a hostile device could send", () => {
    const roots = branches([node("a", "b", 1), node("b", "a", 2), node("c", "c", 3), node("a", "c", 4)]);
    const count = (bs: typeof roots): number => bs.reduce((n, b) => n + 1 + count(b.children), 0);
    expect(count(roots)).toBe(3);
  });
});

describe("lines", () => {
  it("opens what leads to the focus and to alerts", () => {
    expect([...initiallyOpen(tree)].toSorted()).toEqual(["bash", "curl", "sshd", "systemd"]);
    expect(show(initiallyOpen(tree))).toEqual(["systemd", "  sshd", "    bash", "      ls", "      wrote x", "      curl", "        connected", "      +3", "  cron"]);
  });
  it("shows only roots when all is closed and tells how much is inside", () => {
    const [root] = lines(tree, new Set());
    expect(show(new Set())).toEqual(["systemd"]);
    expect(root?.kind === "process" && root.hidden).toBe(6 + 2 + 3);
  });
  it("draws a rail under each ancestor that has more to come", () => {
    const got = lines(tree, initiallyOpen(tree));
    const rails = Object.fromEntries(got.map((l) => [l.id, l.rails]));
    expect(rails.sshd).toEqual([]);
    expect(rails.bash).toEqual([true]); // cron follows sshd
    expect(rails["curl.0"]).toEqual([true, false, true]);
  });
  it("numbers siblings for people who hear the tree", () => {
    const got = lines(tree, initiallyOpen(tree)).filter((l) => l.parent === "bash");
    expect(got.map((l) => [l.posInSet, l.setSize])).toEqual([[1, 4], [2, 4], [3, 4], [4, 4]]);
    expect(got.map((l) => l.last)).toEqual([false, false, false, true]);
  });
});

describe("runs of events", () => {
  const busy: ProcessTree = {
    focus: "curl",
    truncated: false,
    nodes: [
      node("bash", "gone", 0, { events: [1, 2, 3, 4].map((m) => event(m, `wrote ${m}`)).concat([event(7, "late"), event(8, "later")]) }),
      node("curl", "bash", 5, { alertIds: ["a1"], events: [6, 6, 6, 6, 6].map((m) => event(m, "sent")) }),
    ],
  };
  it("fold where they would hide the alert, and stay open where it was raised", () => {
    expect(show(initiallyOpen(busy), busy)).toEqual(["bash", "  [4]", "  curl", ...Array<string>(5).fill("    sent"), "  late", "  later"]);
  });
  it("unfold, also when the address names an event inside", () => {
    const want = ["bash", "  [4]", "    wrote 1", "    wrote 2", "    wrote 3", "    wrote 4", "  curl"];
    expect(show(new Set(["bash", "bash.run0"]), busy).slice(0, 7)).toEqual(want);
    expect(show(initiallyOpen(busy, "bash.2"), busy).slice(0, 7)).toEqual(want);
    const rows = lines(busy, new Set(["bash", "bash.run0"]));
    expect(rows[2]).toMatchObject({ depth: 2, rails: [true], parent: "bash.run0", last: false, posInSet: 1, setSize: 4 });
    expect(arrow("ArrowLeft", rows, 3)).toEqual({ focus: 1 });
    expect(arrow("ArrowLeft", rows, 1)).toEqual({ close: "bash.run0" });
    expect(arrow("ArrowRight", lines(busy, new Set(["bash"])), 1)).toEqual({ open: "bash.run0" });
  });
});

describe("arrow", () => {
  const open = initiallyOpen(tree);
  const rows = lines(tree, open);
  const at = (id: string) => rows.findIndex((r) => r.id === id);
  it("walks up and down within the bounds", () => {
    expect(arrow("ArrowUp", rows, 0)).toEqual({ focus: 0 });
    expect(arrow("ArrowDown", rows, rows.length - 1)).toEqual({ focus: rows.length - 1 });
    expect(arrow("End", rows, 0)).toEqual({ focus: rows.length - 1 });
  });
  it("opens to the right, closes and climbs to the left", () => {
    expect(arrow("ArrowRight", rows, at("cron"))).toEqual({ open: "cron" });
    expect(arrow("ArrowRight", rows, at("bash"))).toEqual({ focus: at("bash") + 1 });
    expect(arrow("ArrowRight", rows, at("ls"))).toEqual({});
    expect(arrow("ArrowLeft", rows, at("bash"))).toEqual({ close: "bash" });
    expect(arrow("ArrowLeft", rows, at("curl.0"))).toEqual({ focus: at("curl") });
  });
});
