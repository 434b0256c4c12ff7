// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket/sensor/linux/record"
)

// message is one line of a log, wherever it was read.
type message struct {
	program    string // as the line says
	pid        uint32
	text       string
	at         time.Time
	session    uint32
	unverified bool
	fields     map[string]string // what systemd-logind says apart from the text
}

// parse says what a message tells of. Most tell nothing.
func (m *message) parse() (note, bool) {
	n := note{Fact: Fact{Program: service(m.program), PID: m.pid, Session: m.session, At: m.at, Unverified: m.unverified}}
	text := strings.TrimSpace(m.text)
	if rest, ok := strings.CutPrefix(text, "message repeated "); ok {
		count, inner, ok := strings.Cut(rest, " times: [ ")
		k, err := strconv.Atoi(count)
		if !ok || err != nil || k < 1 || k > 100000 {
			return note{}, false
		}
		n.Repeats, text = k-1, strings.TrimSuffix(inner, "]")
	}
	ok := false
	if strings.HasPrefix(text, "pam_") {
		ok = pamLine(&n, text)
	} else {
		ok = n.programLine(m, text)
	}
	if !ok {
		return note{}, false
	}
	n.complete()
	return n, true
}

// programLine reads what programs say in words of their own.
func (n *note) programLine(m *message, text string) bool {
	switch n.Program {
	case "sshd":
		return sshLine(n, strings.TrimPrefix(text, "error: "))
	case "dropbear":
		return dropbearLine(n, text)
	case "sudo":
		return sudoLine(n, text)
	case "su":
		return suLine(n, text)
	case "login":
		return loginLine(n, text)
	case "pkexec":
		return pkexecLine(n, text)
	case "polkit":
		return polkitLine(n, text)
	case "systemd-logind":
		return logindLine(n, m.fields)
	case "gdm-password", "lightdm":
		return unlockLine(n, text)
	case "xscreensaver":
		return screenLine(n, text)
	}
	return accountLine(n, text)
}

// complete fills in what follows from the rest.
func (n *note) complete() {
	if n.Type == "" && !n.Account {
		n.Type = kinds[n.Program]
	}
	n.TTY = terminal(n.TTY)
	for _, s := range []*string{&n.User, &n.Target, &n.Group, &n.Command, &n.Cwd, &n.Detail, &n.Host} {
		*s = cut(*s)
	}
}

const maxText = 4096

// cut bounds text that goes into a row.
func cut(s string) string {
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// terminal is the name of a terminal without its folder. Words that programs
// put where there is none are no names.
func terminal(s string) string {
	s = strings.TrimPrefix(s, "/dev/")
	switch s {
	case "?", "ssh", "ssh:notty", "notty", "none", "(none)", "unknown", "cron", "sshd":
		return ""
	}
	return s
}

// splitSyslog takes a line of the traditional or the RFC 3339 form apart:
// time, host, program[pid]: text.
func splitSyslog(line string) (message, bool) {
	m := message{}
	fields := 4 // Nov 24 08:33:01 host
	if len(line) > 10 && line[4] == '-' && line[7] == '-' {
		fields = 2
		stamp, _, _ := strings.Cut(line, " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
			m.at = at
		}
	}
	rest := line
	for range fields {
		rest = strings.TrimLeft(rest, " ")
		i := strings.IndexByte(rest, ' ')
		if i < 0 {
			return m, false
		}
		rest = rest[i+1:]
	}
	tag, text, ok := strings.Cut(rest, ": ")
	if !ok || strings.ContainsAny(tag, " \t") {
		return m, false
	}
	m.program, m.text = tag, text
	if name, number, ok := strings.Cut(tag, "["); ok {
		n, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
		if err != nil {
			return m, false
		}
		m.program, m.pid = name, uint32(n)
	}
	return m, true
}

// parseAuthLine reads one line of the authentication log.
func parseAuthLine(line string) (note, bool) {
	m, ok := splitSyslog(record.Clean(line))
	if !ok {
		return note{}, false
	}
	return m.parse()
}

// peer reads "ADDRESS port N".
func (n *note) peer(f []string) bool {
	if len(f) < 3 || f[1] != "port" {
		return false
	}
	port, err := strconv.ParseUint(f[2], 10, 16)
	if err != nil || !n.from(f[0]) {
		return false
	}
	n.Port = uint16(port)
	return true
}

// from takes over the address of the other end.
func (n *note) from(s string) bool {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return false
	}
	n.Remote = a.Unmap().WithZone("")
	return true
}

// between returns what stands between two texts, and what follows.
func between(s, before, after string) (inner, rest string, ok bool) {
	_, s, ok = strings.Cut(s, before)
	if !ok {
		return "", "", false
	}
	return strings.Cut(s, after)
}
