// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
)

// view gives access to the columns of one block that the engine itself reads.
type view struct {
	table *schema.Table
	block *event.Block
	rows  int // 0 for tables that are not known
	at    int // next row

	time, report, action, loss, more          cell
	process, initiator, grandparent           cell
	path, command, user, pid, started         cell
	initPath, initCommand, initUser, initPID  cell
	initStarted, initParentPID, initParentExe cell
}

// cell is one column of a block, or nothing.
type cell struct{ c *event.Column }

func newView(b *event.Block) view {
	v := view{table: b.Table, block: b}
	if b.Table == nil {
		return v
	}
	v.rows = b.Rows
	for _, f := range []struct {
		to   *cell
		name string
	}{
		{&v.time, "Timestamp"}, {&v.report, "ReportId"}, {&v.action, "ActionType"}, {&v.loss, "EvidenceLoss"}, {&v.more, "AdditionalFields"},
		{&v.process, "ProcessUniqueId"}, {&v.initiator, "InitiatingProcessUniqueId"}, {&v.grandparent, "InitiatingProcessParentUniqueId"},
		{&v.path, "FolderPath"}, {&v.command, "ProcessCommandLine"}, {&v.user, "AccountName"}, {&v.pid, "ProcessId"}, {&v.started, "ProcessCreationTime"},
		{&v.initPath, "InitiatingProcessFolderPath"}, {&v.initCommand, "InitiatingProcessCommandLine"}, {&v.initUser, "InitiatingProcessAccountName"},
		{&v.initPID, "InitiatingProcessId"}, {&v.initStarted, "InitiatingProcessCreationTime"},
		{&v.initParentPID, "InitiatingProcessParentId"}, {&v.initParentExe, "InitiatingProcessParentFileName"},
	} {
		def := b.Table.Column(f.name)
		if c := b.Column(f.name); c != nil && def != nil && def.Type == c.Type {
			f.to.c = c
		}
	}
	return v
}

func (c cell) text(i int) string {
	if c.c == nil || c.c.Strings == nil {
		return ""
	}
	return c.c.Strings[i]
}

func (c cell) int(i int) int64 {
	if c.c == nil || c.c.Ints == nil {
		return 0
	}
	return c.c.Ints[i]
}

// Names of the tables that mean more to the engine than rows to match.
const (
	processTable = "DeviceProcessEvents"
	logonTable   = "DeviceLogonEvents"
)
