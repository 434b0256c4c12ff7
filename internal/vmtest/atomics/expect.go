// SPDX-License-Identifier: Apache-2.0

//go:build linux

package atomics

import (
	"fmt"
	"path"
	"reflect"
	"strings"

	"github.com/picket-edr/picket/event"
)

// Expectation says how a test must show. What is always expected besides is
// the start of the shell with the test's commands in its command line.
type Expectation struct {
	GUID   string
	Does   string // what the test does, for the page
	Rows   []Want // what must be told
	AsRoot bool   // it can only work as root although the list does not say so
	Shell  string // why there is nothing but the command line of the shell; "": there is
	Blind  string // what the sensor does not tell of it
}

// Want is one row that must be told of a process of the test.
type Want struct {
	Action string // ActionType
	Column string // of the row; program: the first word of the command line
	Value  string // what the column is, or holds where that is more
}

// program stands for a column that rows do not have: the base name of the
// program that the command line of a process names first.
const program = "program"

func ran(names ...string) []Want {
	var out []Want
	for _, name := range names {
		out = append(out, Want{"ProcessCreated", program, name})
	}
	return out
}

func onFile(action string, paths ...string) []Want {
	var out []Want
	for _, p := range paths {
		out = append(out, Want{action, "FolderPath", p})
	}
	return out
}

func made(paths ...string) []Want { return onFile("FileCreated", paths...) }

func all(parts ...[]Want) []Want {
	var out []Want
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// String names the row for the page.
func (w Want) String() string {
	switch w.Column {
	case "":
		return fmt.Sprintf("`%s`", w.Action)
	case program:
		return fmt.Sprintf("`%s` of `%s`", w.Action, w.Value)
	}
	return fmt.Sprintf("`%s` with `%s` in `%s`", w.Action, w.Value, w.Column)
}

// in reports whether a row is the one that is wanted.
func (w Want) in(row event.Row) bool {
	if text(row, "ActionType") != w.Action {
		return false
	}
	switch w.Column {
	case "":
		return true
	case program:
		first, _, _ := strings.Cut(text(row, "ProcessCommandLine"), " ")
		return path.Base(first) == w.Value
	}
	return strings.Contains(text(row, w.Column), w.Value)
}

// said reports whether a row tells of the start of the shell with the commands
// of a test. Quotes are left out of the comparison: command lines have more of
// them.
func said(row event.Row, shell int, executor, command string) bool {
	const enough = 60 // bytes that tell commands apart; a longer one may hold what is redacted
	p, ok := row.(*event.DeviceProcessEvents)
	if !ok || p.ActionType != "ProcessCreated" || p.ProcessId != int64(shell) {
		return false
	}
	first, rest, _ := strings.Cut(p.ProcessCommandLine, " ")
	command = bare(command)
	return first == executor && strings.Contains(bare(rest), command[:min(len(command), enough)])
}

// bare leaves out what quoting adds.
func bare(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("'\"\\ \t\n$", r) {
			return -1
		}
		return r
	}, s)
}

// text is a text column of a row; "" when it has none of that name.
func text(row event.Row, column string) string {
	if f := reflect.ValueOf(row).Elem().FieldByName(column); f.IsValid() && f.Kind() == reflect.String {
		return f.String()
	}
	return ""
}

// number is an integer column of a row; 0 when it has none of that name.
func number(row event.Row, column string) int {
	if f := reflect.ValueOf(row).Elem().FieldByName(column); f.IsValid() && f.CanInt() {
		return int(f.Int())
	}
	return 0
}
