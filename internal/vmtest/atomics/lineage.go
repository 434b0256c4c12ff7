// SPDX-License-Identifier: Apache-2.0

//go:build linux

package atomics

import (
	"github.com/picket-edr/picket/event"
)

// family is the set of processes of a test by process id: those of its
// session, and those below them that left the session.
type family struct {
	shell   int
	members map[int]bool
}

// lineage picks the rows of a test out of those told while it ran. Rows of
// DeviceEvents that name no process are taken for the test's: nothing else
// happens on the machine.
func lineage(rows []event.Row, shell int) []event.Row {
	f := family{shell, map[int]bool{shell: true}}
	for n := 0; n != len(f.members); {
		n = len(f.members)
		for _, r := range rows {
			f.learn(r)
		}
	}
	var out []event.Row
	for _, r := range rows {
		acting, created := number(r, "InitiatingProcessId"), number(r, "ProcessId")
		if f.members[acting] || f.members[created] || acting == 0 && r.Table().Name == "DeviceEvents" {
			out = append(out, r)
		}
	}
	return out
}

// learn adds the processes that a row names and that belong to the family.
func (f family) learn(r event.Row) {
	if acting := number(r, "InitiatingProcessId"); acting > 1 {
		if number(r, "InitiatingProcessSessionId") == f.shell || f.members[number(r, "InitiatingProcessParentId")] {
			f.members[acting] = true
		}
	}
	p, ok := r.(*event.DeviceProcessEvents)
	if ok && (p.CreatedProcessSessionId == int64(f.shell) || f.members[int(p.InitiatingProcessId)]) {
		f.members[int(p.ProcessId)] = true
	}
}
