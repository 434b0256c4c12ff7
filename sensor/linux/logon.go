// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"strconv"
	"strings"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
)

func newLogons(paths logon.Paths, c *Collector) *logon.Watcher {
	lost := func(class string, n uint64) {
		c.lost.add(class, n)
		c.out.miss("DeviceLogonEvents", n)
	}
	return logon.New(logon.Options{Paths: paths, Lost: lost, Emit: func(f logon.Fact) {
		if !c.do(func() { c.onLogon(f) }) {
			c.lost.add("inbox.full", 1)
			c.out.miss(logonTable(f), 1)
		}
	}})
}

func logonTable(f logon.Fact) string {
	if f.Account {
		return "DeviceEvents"
	}
	return "DeviceLogonEvents"
}

// loggedOn is the value of LoggedOnUsers.
func (c *Collector) loggedOn() string {
	var out []map[string]string
	for _, name := range c.logons.LoggedOn() {
		out = append(out, map[string]string{"UserName": name, "DomainName": c.host})
	}
	return anyJSON(out)
}

// onLogon makes the row of a fact about logons or accounts.
func (c *Collector) onLogon(f logon.Fact) {
	var p *process
	if f.PID != 0 {
		p = c.cache.latest(f.PID)
	}
	c.nameParties(&f, p)
	if f.Account {
		c.accountRow(&f, p)
		return
	}
	row := &event.DeviceLogonEvents{Timestamp: event.Time(f.At.UnixMicro()), ActionType: f.Action, IsSnapshot: f.Action == logon.Found}
	c.plans.fill(row, c.describe(p))
	row.LogonType = f.Type
	row.AccountName, row.TargetAccountName = strings.ToLower(f.User), strings.ToLower(f.Target)
	if id, ok := c.users.id(f.User); ok {
		row.AccountSid, row.AccountDomain = strconv.FormatUint(uint64(id), 10), c.host
		row.IsLocalAdmin = c.users.admin(f.User)
	}
	row.FailureReason, row.Protocol, row.LogonTty, row.RemoteDeviceName = f.Reason, f.Method, f.TTY, f.Host
	row.LogonId = c.logonSession(&f, p)
	if row.LogonTty == "" && p != nil {
		row.LogonTty = p.tty
	}
	if f.Remote.IsValid() {
		row.RemoteIP, row.RemoteIPType, row.RemotePort = f.Remote.String(), record.AddressKind(f.Remote), int64(f.Port)
	}
	extra := factDetails(&f)
	extra["IsLocalLogon"] = !f.Remote.IsValid() && f.Host == ""
	row.AdditionalFields = toJSON(extra)
	c.out.push(row, nil, actorImage(p), false)
}

// nameParties completes the accounts of a fact by what the host and the
// process tell.
func (c *Collector) nameParties(f *logon.Fact, p *process) {
	named := func(name, id string) string {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil && name == "" {
			return c.users.name(uint32(n))
		}
		return name
	}
	f.User, f.Target = named(f.User, f.UserID), named(f.Target, f.TargetID)
	if f.User == "" && p != nil && p.called && f.Target != "" {
		f.User = c.users.name(p.calledBy)
	}
}

// logonSession is the audit session that a fact belongs to. Sources that tell
// of a logon early do not know it: the process has it a moment later.
func (c *Collector) logonSession(f *logon.Fact, p *process) int64 {
	switch {
	case f.Session != 0:
		return int64(f.Session)
	case p == nil:
		return 0
	case p.audit != record.Unset:
		return int64(p.audit)
	case f.Action == logon.Success && runs(p.key):
		text := strings.TrimSpace(string(readSome("/proc/"+strconv.FormatUint(uint64(p.key.pid), 10)+"/sessionid", 32)))
		if id, err := strconv.ParseUint(text, 10, 32); err == nil && id != record.Unset {
			return int64(id)
		}
	}
	return 0
}

// factDetails are the parts of a fact that have no column.
func factDetails(f *logon.Fact) map[string]any {
	extra := map[string]any{"Sources": f.Sources}
	for key, value := range map[string]string{"Program": f.Program, "Command": f.Command, "CurrentDirectory": f.Cwd,
		"KeyType": f.KeyType, "KeyFingerprint": f.Fingerprint, "KeyCertificate": f.Certificate, "Detail": f.Detail, "GroupName": f.Group} {
		if value != "" {
			extra[key] = value
		}
	}
	if f.Repeats > 0 {
		extra["Repeated"] = f.Repeats
	}
	if f.Unverified {
		extra["Unverified"] = true
	}
	return extra
}

// accountRow makes the row of a change of accounts or of what is audited.
func (c *Collector) accountRow(f *logon.Fact, p *process) {
	row := &event.DeviceEvents{Timestamp: event.Time(f.At.UnixMicro()), ActionType: f.Action}
	c.plans.fill(row, c.describe(p))
	row.AccountName = strings.ToLower(f.Target)
	row.AccountSid = f.TargetID
	if id, ok := c.users.id(f.Target); ok && row.AccountSid == "" {
		row.AccountSid = strconv.FormatUint(uint64(id), 10)
	}
	if row.AccountSid != "" {
		row.AccountDomain = c.host
	}
	row.InitiatingProcessLogonId = c.logonSession(f, p)
	extra := factDetails(f)
	if f.User != "" {
		extra["ChangedBy"] = strings.ToLower(f.User)
	}
	if f.Reason != "" {
		extra["FailureReason"] = f.Reason
	}
	row.AdditionalFields = toJSON(extra)
	c.out.push(row, nil, actorImage(p), false)
}

// becameUser recognises sudo and su by what they do: a program that they
// start runs as another user than the one who called them.
func (c *Collector) becameUser(p *process) {
	by := p.parent
	if by == nil || by.told || (by.name != "sudo" && by.name != "su") || p.uid == by.calledBy || !by.called {
		return
	}
	by.told = true
	f := logon.Fact{Program: by.name, PID: by.key.pid, User: c.users.name(by.calledBy), Target: c.users.name(p.uid), TTY: p.tty}
	if by.name == "sudo" {
		f.Command = p.cmdline
	}
	c.logons.Became(f)
}
