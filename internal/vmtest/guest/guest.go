// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package guest makes each kind of event happen and looks whether the sensor
// tells of it: on kernels in an emulator, where package main below it is the
// first process, and on the host that runs its tests. Kinds is the table of
// what is tried; docs/sensor-coverage.md is written from it.
//
// It never acts outside of a folder of its own and the loopback device. It
// stands beside the floors and is linked into no program of the product.
package guest

import (
	"slices"

	"github.com/picket-edr/picket/event"
)

// Kind is one kind of event: how it is made to happen and how it shows.
type Kind struct {
	Name   string // what happens, in few words
	Hook   string // the kind of hook that tells of it, see picket.Hook
	Table  string
	Action string // the row's ActionType
	Does   string // what is done, for the page
	Do     func(a *Act) error
	Match  Match    // what else must be true of the row; nil: nothing
	Rungs  []string // the rungs of the hook that claim to see it
	Gaps   []Gap    // where one of them does not
	Guest  bool     // whether it is left alone on the host that runs the tests
}

// Gap is a kernel on which a rung does not see a kind, although it does on
// others. Empty names stand for all.
type Gap struct {
	Kernel string // Name of a vmtest.Kernel
	Rung   string
	Why    string
}

// Lack is a rung that does not attach on a kernel; "": none of the hook does.
type Lack struct {
	Kernel, Hook, Rung string
	Why                string
}

const (
	noLoops   = "before 5.17 no program can loop over a function"
	noModules = "Debian has nfnetlink in a module, and guests load none"
)

// Lacks are the rungs that a kernel lacks. That nothing else is missing is
// tested.
var Lacks = []Lack{
	{"5.10", "process", "tracepoint", noLoops},
	{"5.10", "file", "lsm", noLoops},
	{"5.10", "file", "fentry", noLoops},
	{"5.10", "file", "kprobe", noLoops},
	{"5.10", "file", "tracepoint", noLoops},
	{"5.10", "attribute", "tracepoint", noLoops},
	{"5.10", "privilege", "tracepoint", noLoops},
	{"5.10", "kernel", "tracepoint", noLoops},
	{"5.10", "image", "tracepoint", noLoops},
	{"5.10", "socket", "tracepoint", noLoops},
	{"5.10", "firewall", "", noModules},
	{"6.1", "firewall", "", noModules},
	{"6.12", "firewall", "", noModules},
}

// lacks reports whether a kernel is known to lack the rung that was asked for,
// "" being the best.
func lacks(kernel, hook, rung string) bool {
	return slices.ContainsFunc(Lacks, func(l Lack) bool { return l.Hook == hook && l.Kernel == kernel && l.Rung == rung })
}

// Match reports whether a row, whose table, action and acting process are the
// right ones, tells what was done.
type Match func(a *Act, row event.Row) bool

// where makes a Match for rows of one table.
func where[R any, P interface {
	*R
	event.Row
}](f func(a *Act, r P) bool) Match {
	return func(a *Act, row event.Row) bool {
		r, ok := row.(P)
		return ok && f(a, r)
	}
}

// Round is one run of the sensor. One that asks for rungs tries the kinds of
// their hooks, else all kinds are tried.
type Round struct {
	Name  string
	Rungs map[string]string // to take, by kind of hook; the others take the best
}

// Rounds make every rung work that a kernel has. To test a rung that is not the
// best anywhere, add a round that asks for it.
var Rounds = []Round{
	{Name: "best"},
	{Name: "old programs", Rungs: map[string]string{"process": "tracepoint-old", "file": "tracepoint-old", "attribute": "tracepoint-old",
		"privilege": "tracepoint-old", "kernel": "tracepoint-old", "image": "tracepoint-old", "socket": "tracepoint-old"}},
	{Name: "trampolines", Rungs: map[string]string{"file": "fentry"}},
	{Name: "probes", Rungs: map[string]string{"file": "kprobe"}},
	{Name: "old probes", Rungs: map[string]string{"file": "kprobe-old"}},
	{Name: "system calls", Rungs: map[string]string{"file": "tracepoint"}},
}

// Kinds are all kinds of event that are tried, in the order of the page. To
// add one, add a row to the list of its family; to claim it for a rung, name
// the rung in Rungs. The tests fail when a rung does not see what it claims,
// and when one sees what it does not claim.
var Kinds = concat(processKinds, fileKinds, evasionKinds, memoryKinds, networkKinds, dnsKinds, streamKinds,
	attributeKinds, imageKinds, privilegeKinds, kernelKinds, socketKinds)

func concat(families ...[]Kind) []Kind {
	var all []Kind
	for _, f := range families {
		all = append(all, f...)
	}
	return all
}

// claimed reports whether a rung should see the kind on a kernel, and why not.
func (k Kind) claimed(kernel, rung string) (bool, string) {
	if !slices.Contains(k.Rungs, rung) {
		return false, ""
	}
	for _, g := range k.Gaps {
		if (g.Kernel == "" || g.Kernel == kernel) && (g.Rung == "" || g.Rung == rung) {
			return false, g.Why
		}
	}
	return true, ""
}
