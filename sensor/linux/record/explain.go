// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Table is where an action is told.
type Table int

const (
	InEvents Table = iota // DeviceEvents
	InFiles               // DeviceFileEvents
	InImages              // DeviceImageLoadEvents
)

// Told is what a record says, without the process that acted.
type Told struct {
	Table    Table
	Action   string
	Path     string // of the file that it is done to
	Previous string // what it was before, for a mount what is mounted
	Target   uint32 // process id as the process passed it; 0: none
	Extra    map[string]any
}

// Explain says what a record means: which table and ActionType it becomes and
// how its numbers are called. What it has no name for keeps its number. It
// returns false when the kind is unknown.
func Explain(r *Action) (*Told, bool) {
	t := &Told{Extra: map[string]any{}}
	ok := t.file(r) || t.privilege(r) || t.process(r) || t.kernel(r) || t.socket(r)
	if !ok {
		return nil, false
	}
	if r.Result < 0 {
		t.Extra["ErrorCode"] = errorName(r.Result)
	}
	if r.Cut {
		t.Extra["PathCut"] = true
	}
	if r.Kind >= SetUID && r.Kind <= Personality && r.TID != r.PID && r.TID != 0 {
		t.Extra["ThreadId"] = r.TID // rights are those of a thread
	}
	return t, true
}

// Place is the path that a record's text names; a folder without a text is the
// file itself. That of an absolute text is the root of the program.
func Place(base, name string) string {
	switch {
	case name == "":
		return base
	case strings.HasPrefix(name, "/"):
		return path.Join(base, path.Clean(name)) // nothing leads out of the root
	case base == "":
		return name // relative to what is not known
	}
	return path.Join(base, name)
}

func errorName(result int32) string {
	if name := unix.ErrnoName(unix.Errno(-int64(result))); name != "" {
		return name
	}
	return decimal(int64(result))
}
