// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket"
)

// TreeQuery asks for the processes around one.
type TreeQuery struct {
	DeviceID  string
	Focus     string        // GUID of the process in the middle
	At        time.Time     // when it was seen, if known: spares a search through all history
	Window    time.Duration // before and after the focus in which children and events are looked for; 0: one hour
	MaxNodes  int           // 0: 300
	MaxEvents int           // of one node; 0: 20
	Siblings  int           // other children of the parent, at most, nearest first; 0: 10; negative: none
}

// Node is one process.
type Node struct {
	GUID, ParentGUID string
	FileName         string
	FolderPath       string
	CommandLine      string
	PID              int64
	User             string
	Start, End       time.Time // zero: not known
	ExitCode         string    // "": not known
	SHA1             string
	SHA256           string
	MD5              string
	ContainerID      string
	Snapshot         bool // found running when the sensor started
	Partial          bool // known only as somebody's parent: its own start was not seen
	Events           []Item
	MoreEvents       int // events within the window beyond those in Events

	seen time.Time // of the first row read about it
}

// Tree is the ancestors of the focus up to the first, some of its siblings,
// and its descendants.
type Tree struct {
	Focus     string
	Nodes     []*Node // parents before children, else by start
	Truncated bool    // there are more descendants than MaxNodes
}

// Bounds: ancestors of the focus, times that older ones are looked for, and
// process starts of one day that are looked through for ancestors.
const (
	maxAncestors = 64
	maxRounds    = 8
	maxStarts    = 500_000
)

// ProcessTree reads the tree around a process. It goes one level at a time,
// which asks for few rows each, instead of by a recursive query, which engines
// answer by reading a device's whole history for each level.
func ProcessTree(ctx context.Context, ev Events, q TreeQuery) (*Tree, error) {
	if q.Window == 0 {
		q.Window = time.Hour
	}
	if q.MaxNodes == 0 {
		q.MaxNodes = 300
	}
	if q.MaxEvents == 0 {
		q.MaxEvents = 20
	}
	if q.Siblings == 0 {
		q.Siblings = 10
	}
	b := &treeBuilder{ctx: ctx, ev: ev, q: q, nodes: map[string]*Node{}}
	if err := b.find(q.Focus, q.At); err != nil {
		return nil, fmt.Errorf("process tree: %w", err)
	}
	if b.nodes[q.Focus] == nil {
		return nil, fmt.Errorf("process %s on device %s: %w", q.Focus, q.DeviceID, picket.NotFound)
	}
	b.around(b.nodes[q.Focus])
	for _, step := range []func() error{b.ancestors, b.descendants, b.siblings, b.ends, b.events} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("process tree: %w", err)
		}
	}
	return b.tree(), nil
}

type treeBuilder struct {
	ctx       context.Context
	ev        Events
	q         TreeQuery
	from, to  time.Time
	nodes     map[string]*Node
	truncated bool
}

// around sets the window of time from what is known of the focus: around the
// moment asked about, or from its start to its end, a day at most.
func (b *treeBuilder) around(n *Node) {
	at := b.q.At
	if at.IsZero() {
		at = n.seen
	}
	end := at
	if b.q.At.IsZero() && n.End.After(at) {
		end = at.Add(min(n.End.Sub(at), 24*time.Hour))
	}
	b.from, b.to = at.Add(-b.q.Window).UTC(), end.Add(b.q.Window).UTC()
}

// inWindow is a context for reading rows of the window only.
func (b *treeBuilder) inWindow() context.Context { return Within(b.ctx, b.from, b.to) }

// find learns of one process, seen at a moment or before, from its own rows or
// else from what others say about it. It looks through ever longer spans of
// time; what others say within eight days spares a search through all history,
// and tells when the process started. A zero moment is now.
func (b *treeBuilder) find(guid string, at time.Time) error {
	if at.IsZero() {
		at = time.Now()
	}
	own := func(ctx context.Context) error {
		_, err := b.load(ctx, `"ProcessUniqueId" = ?`, []any{guid})
		return err
	}
	others := func(ctx context.Context) error { return b.fromChildren(ctx, guid) }
	day := Within(b.ctx, at.AddDate(0, 0, -1), at.Add(b.q.Window))
	week := Within(b.ctx, at.AddDate(0, 0, -8), at.Add(b.q.Window))
	for _, try := range []struct {
		look func(context.Context) error
		ctx  context.Context
	}{{own, day}, {own, week}, {others, day}, {others, week}, {own, b.ctx}, {others, b.ctx}} {
		if err := try.look(try.ctx); err != nil {
			return err
		}
		n := b.nodes[guid]
		if n == nil {
			continue
		}
		if n.Partial && !n.Start.IsZero() {
			return own(Within(b.ctx, n.Start.Add(-time.Minute), n.Start.Add(time.Minute)))
		}
		return nil
	}
	return nil
}

// processColumns is what a node is made of.
const processColumns = `"TableName", "Timestamp", "ReportId", "BootId", "ActionType", "ProcessUniqueId", "InitiatingProcessUniqueId", "FileName", "FolderPath", "ProcessCommandLine", "AccountName", "SHA1", "SHA256", "MD5", "ContainerId", "ProcessId", "ProcessCreationTime", "ProcessExitCode"`

// load reads rows of DeviceProcessEvents into nodes and returns them.
func (b *treeBuilder) load(ctx context.Context, cond string, args []any) ([]Item, error) {
	return b.loadOrdered(ctx, cond, args, `"Timestamp", "ReportId"`, 4*b.q.MaxNodes)
}

func (b *treeBuilder) loadOrdered(ctx context.Context, cond string, args []any, order string, limit int) ([]Item, error) {
	query := fmt.Sprintf(`SELECT %s FROM events WHERE "DeviceId" = ? AND "TableName" = 'DeviceProcessEvents' AND %s ORDER BY %s LIMIT %d`, processColumns, cond, order, limit)
	rows, err := b.ev.Query(ctx, query, append([]any{b.q.DeviceID}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	items, err := scan(rows)
	for _, it := range items {
		b.learn(it)
	}
	return items, err
}

// learn puts one row of DeviceProcessEvents into its node.
func (b *treeBuilder) learn(it Item) {
	f := it.Fields
	guid := f["ProcessUniqueId"]
	n := b.nodes[guid]
	if n == nil {
		n = &Node{GUID: guid, seen: it.Time}
		b.nodes[guid] = n
	}
	if it.Time.Before(n.seen) {
		n.seen = it.Time
	}
	n.Partial = n.Partial && f["ActionType"] == "ProcessExited"
	if f["ActionType"] == "ProcessExited" {
		n.End, n.ExitCode = it.Time, f["ProcessExitCode"]
	}
	if f["ActionType"] == "ProcessFound" {
		n.Snapshot = true
	}
	for _, x := range []struct {
		to   *string
		from string
	}{
		{&n.ParentGUID, "InitiatingProcessUniqueId"}, {&n.FileName, "FileName"}, {&n.FolderPath, "FolderPath"}, {&n.CommandLine, "ProcessCommandLine"},
		{&n.User, "AccountName"}, {&n.SHA1, "SHA1"}, {&n.SHA256, "SHA256"}, {&n.MD5, "MD5"}, {&n.ContainerID, "ContainerId"},
	} {
		if v := f[x.from]; v != "" && (*x.to == "" || f["ActionType"] == "ProcessCreated") {
			*x.to = v
		}
	}
	_, _ = fmt.Sscan(f["ProcessId"], &n.PID)
	if t, err := time.Parse(time.RFC3339Nano, f["ProcessCreationTime"]); err == nil {
		n.Start = t
	} else if n.Start.IsZero() && f["ActionType"] == "ProcessCreated" {
		n.Start = it.Time
	}
}

// fromChildren makes a node of a process whose own start was not seen out of
// what a row of another says about its parent or actor.
func (b *treeBuilder) fromChildren(ctx context.Context, guid string) error {
	rows, err := b.ev.Query(ctx, `SELECT "TableName", "Timestamp", "ReportId", "BootId", "InitiatingProcessUniqueId", "InitiatingProcessParentUniqueId", "InitiatingProcessFileName", "InitiatingProcessFolderPath", "InitiatingProcessCommandLine", "InitiatingProcessAccountName", "InitiatingProcessSHA1", "InitiatingProcessSHA256", "InitiatingProcessMD5", "InitiatingProcessId", "InitiatingProcessCreationTime"
		FROM events WHERE "DeviceId" = ? AND "InitiatingProcessUniqueId" = ? ORDER BY "Timestamp" LIMIT 1`, b.q.DeviceID, guid)
	if err != nil {
		return err
	}
	defer rows.Close()
	items, err := scan(rows)
	if err != nil || len(items) == 0 {
		return err
	}
	f := items[0].Fields
	n := &Node{
		GUID: guid, ParentGUID: f["InitiatingProcessParentUniqueId"], FileName: f["InitiatingProcessFileName"], FolderPath: f["InitiatingProcessFolderPath"],
		CommandLine: f["InitiatingProcessCommandLine"], User: f["InitiatingProcessAccountName"], SHA1: f["InitiatingProcessSHA1"],
		SHA256: f["InitiatingProcessSHA256"], MD5: f["InitiatingProcessMD5"], Partial: true, seen: items[0].Time,
	}
	_, _ = fmt.Sscan(f["InitiatingProcessId"], &n.PID)
	if t, err := time.Parse(time.RFC3339Nano, f["InitiatingProcessCreationTime"]); err == nil {
		n.Start = t
	}
	b.nodes[guid] = n
	return nil
}

// ancestors climbs to the first process. Parents seen within a day before
// their child are read at once, older ones, such as services, one by one.
func (b *treeBuilder) ancestors() error {
	at := b.nodes[b.q.Focus]
	climbed := map[string]bool{}
	for range maxRounds {
		parent := at.ParentGUID
		if parent == "" || climbed[parent] || len(climbed) >= maxAncestors {
			return nil
		}
		if err := b.climb(at); err != nil {
			return err
		}
		if b.nodes[parent] == nil {
			if err := b.find(parent, at.seen); err != nil {
				return err
			}
		}
		for b.nodes[at.ParentGUID] != nil && !climbed[at.GUID] {
			climbed[at.GUID] = true
			at = b.nodes[at.ParentGUID]
		}
		if at.ParentGUID == parent {
			return nil // nothing is known of it
		}
	}
	return nil
}

// climb reads the ancestors of a process that were seen within a day before
// it: first who started whom, of the whole device, then those that matter.
func (b *treeBuilder) climb(at *Node) error {
	ctx := Within(b.ctx, at.seen.AddDate(0, 0, -1), at.seen)
	rows, err := b.ev.Query(ctx, `SELECT "ProcessUniqueId", coalesce("InitiatingProcessUniqueId", '') FROM events WHERE "DeviceId" = ? AND "TableName" = 'DeviceProcessEvents' AND "ActionType" IN ('ProcessCreated', 'ProcessFound')
		AND "Timestamp" >= ? AND "Timestamp" <= ? AND "ProcessUniqueId" IS NOT NULL ORDER BY "Timestamp" DESC LIMIT `+fmt.Sprint(maxStarts), b.q.DeviceID, at.seen.AddDate(0, 0, -1), at.seen)
	if err != nil {
		return err
	}
	defer rows.Close()
	parents := map[string]string{}
	for rows.Next() {
		var child, parent string
		if err := rows.Scan(&child, &parent); err != nil {
			return err
		}
		parents[child] = parent
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var chain []string
	for guid := at.ParentGUID; guid != "" && b.nodes[guid] == nil && len(chain) < maxAncestors && !slices.Contains(chain, guid); {
		parent, ok := parents[guid]
		if !ok {
			break
		}
		chain, guid = append(chain, guid), parent
	}
	if len(chain) == 0 {
		return nil
	}
	marks, args := list(chain)
	_, err = b.load(ctx, `"ProcessUniqueId" IN (`+marks+`)`, args)
	return err
}

// siblings reads some other children of the focus's parent: those that
// started last before it and first after it.
func (b *treeBuilder) siblings() error {
	focus := b.nodes[b.q.Focus]
	if focus.ParentGUID == "" || focus.Start.IsZero() || b.q.Siblings < 0 {
		return nil
	}
	half := (b.q.Siblings + 1) / 2
	cond := `"InitiatingProcessUniqueId" = ? AND "ActionType" IN ('ProcessCreated', 'ProcessFound') AND "Timestamp" `
	if _, err := b.loadOrdered(b.inWindow(), cond+`< ? AND "Timestamp" >= ?`, []any{focus.ParentGUID, focus.Start.UTC(), b.from.UTC()}, `"Timestamp" DESC, "ReportId" DESC`, half); err != nil {
		return err
	}
	_, err := b.loadOrdered(b.inWindow(), cond+`>= ? AND "Timestamp" < ? AND "ProcessUniqueId" <> ?`, []any{focus.ParentGUID, focus.Start.UTC(), b.to.UTC(), focus.GUID}, `"Timestamp", "ReportId"`, half)
	return err
}

func (b *treeBuilder) descendants() error {
	level := []string{b.q.Focus}
	for len(level) > 0 {
		if len(b.nodes) >= b.q.MaxNodes {
			b.truncated = true
			return nil
		}
		known := map[string]bool{}
		for g := range b.nodes {
			known[g] = true
		}
		marks, args := list(level)
		args = append(args, b.from.UTC(), b.to.UTC())
		items, err := b.load(b.inWindow(), `"InitiatingProcessUniqueId" IN (`+marks+`) AND "Timestamp" >= ? AND "Timestamp" < ?`, args)
		if err != nil {
			return err
		}
		b.truncated = b.truncated || len(items) >= 4*b.q.MaxNodes
		level = nil
		for g := range b.nodes {
			if !known[g] {
				level = append(level, g)
			}
		}
		sort.Strings(level)
	}
	return nil
}

// ends reads how the processes ended.
func (b *treeBuilder) ends() error {
	marks, args := list(b.guids())
	_, err := b.load(Within(b.ctx, b.from, time.Time{}), `"ActionType" = 'ProcessExited' AND "ProcessUniqueId" IN (`+marks+`)`, args)
	return err
}

func (b *treeBuilder) guids() []string { return slices.Sorted(maps.Keys(b.nodes)) }

// list makes the placeholders of an IN list.
func list(values []string) (marks string, args []any) {
	for _, v := range values {
		args = append(args, v)
	}
	return strings.TrimSuffix(strings.Repeat("?, ", len(values)), ", "), args
}

// events attaches what the processes did besides starting others: the first
// few of each, and how many more there are. Which rows those are is found with
// few columns before whole rows are read.
func (b *treeBuilder) events() error {
	marks, guids := list(b.guids())
	where := `"DeviceId" = ? AND "InitiatingProcessUniqueId" IN (` + marks + `) AND "TableName" <> 'DeviceProcessEvents' AND "Timestamp" >= ? AND "Timestamp" < ?`
	args := append(append([]any{b.q.DeviceID}, guids...), b.from.UTC(), b.to.UTC())
	query := `SELECT e.*, k."Total" AS "` + totalColumn + `" FROM (SELECT * FROM events WHERE ` + where + `) e JOIN (
		SELECT "Boot", "Batch", "Row", "Total" FROM (
			SELECT "BootId" AS "Boot", "BatchSequence" AS "Batch", "RowIndex" AS "Row",
				row_number() OVER (PARTITION BY "InitiatingProcessUniqueId" ORDER BY "Timestamp", "ReportId", "BatchSequence", "RowIndex") AS "Place",
				count(*) OVER (PARTITION BY "InitiatingProcessUniqueId") AS "Total"
			FROM events WHERE ` + where + `) ranked WHERE "Place" <= ` + fmt.Sprint(b.q.MaxEvents) + `
		) k ON e."BootId" = k."Boot" AND e."BatchSequence" = k."Batch" AND e."RowIndex" = k."Row"
		ORDER BY e."Timestamp", e."ReportId", e."BatchSequence", e."RowIndex"`
	rows, err := b.ev.Query(b.inWindow(), query, append(args, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	items, err := scan(rows)
	if err != nil {
		return err
	}
	for _, it := range items {
		n := b.nodes[it.Fields["InitiatingProcessUniqueId"]]
		total, err := strconv.Atoi(it.Fields[totalColumn])
		if err != nil {
			return fmt.Errorf("count of events: %w", err)
		}
		delete(it.Fields, totalColumn)
		n.Events = append(n.Events, it)
		n.MoreEvents = total - len(n.Events)
	}
	return nil
}

// totalColumn is a column of the answer that no table has.
const totalColumn = "TotalEvents"

// tree orders the nodes: parents first, siblings by start.
func (b *treeBuilder) tree() *Tree {
	children := map[string][]*Node{}
	var roots []*Node
	for _, n := range b.nodes {
		if b.nodes[n.ParentGUID] == nil || n.ParentGUID == n.GUID {
			roots = append(roots, n)
		} else {
			children[n.ParentGUID] = append(children[n.ParentGUID], n)
		}
	}
	t := &Tree{Focus: b.q.Focus, Truncated: b.truncated}
	done := map[string]bool{}
	var walk func([]*Node)
	walk = func(level []*Node) {
		sort.Slice(level, func(i, j int) bool {
			if !level[i].Start.Equal(level[j].Start) {
				return level[i].Start.Before(level[j].Start)
			}
			return level[i].GUID < level[j].GUID
		})
		for _, n := range level {
			if done[n.GUID] { // a forged row may make a circle
				continue
			}
			done[n.GUID] = true
			t.Nodes = append(t.Nodes, n)
			walk(children[n.GUID])
		}
	}
	walk(roots)
	return t
}
