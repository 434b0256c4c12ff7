// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/record"
)

// logonNote is what one source says of a logon, before it is matched with
// what others say and completed from what is known of the process.
type logonNote struct {
	action  string // ActionType
	program string // sshd, sudo, su, login
	pid     uint32 // of the program, 0 when not told
	user    string // who logged on, or who asked
	target  string // whose rights were taken on, for sudo and su
	remote  netip.Addr
	port    uint16
	tty     string
	method  string
	reason  string
	command string
	repeats int // further equal ones that the log folded into this
}

// parseAuthLine reads one line of auth.log. Lines that tell of no logon
// return false.
func parseAuthLine(line string) (logonNote, bool) {
	program, pid, text, ok := splitSyslog(record.Clean(line))
	if !ok {
		return logonNote{}, false
	}
	n := logonNote{program: program, pid: pid}
	if rest, ok := strings.CutPrefix(text, "message repeated "); ok {
		count, inner, ok := strings.Cut(rest, " times: [ ")
		k, err := strconv.Atoi(count)
		if !ok || err != nil || k < 1 || k > 100000 {
			return logonNote{}, false
		}
		n.repeats, text = k-1, strings.TrimSuffix(inner, "]")
	}
	text = strings.TrimSpace(text)
	switch program {
	case "sshd", "sshd-session", "sshd-auth":
		n.program = "sshd"
		return n, sshLine(&n, text)
	case "sudo":
		return n, sudoLine(&n, text)
	case "su", "su-l":
		n.program = "su"
		return n, suLine(&n, text)
	case "login":
		return n, loginLine(&n, text)
	}
	return logonNote{}, false
}

// splitSyslog takes a line of the traditional or the RFC 3339 form apart:
// time, host, program[pid]: text.
func splitSyslog(line string) (program string, pid uint32, text string, ok bool) {
	fields := 4 // Nov 24 08:33:01 host
	if len(line) > 10 && line[4] == '-' && line[7] == '-' {
		fields = 2
	}
	rest := line
	for range fields {
		rest = strings.TrimLeft(rest, " ")
		i := strings.IndexByte(rest, ' ')
		if i < 0 {
			return "", 0, "", false
		}
		rest = rest[i+1:]
	}
	tag, text, ok := strings.Cut(rest, ": ")
	if !ok || strings.ContainsAny(tag, " \t") {
		return "", 0, "", false
	}
	program = tag
	if name, number, ok := strings.Cut(tag, "["); ok {
		n, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
		if err != nil {
			return "", 0, "", false
		}
		program, pid = name, uint32(n)
	}
	return program, pid, text, true
}

func sshLine(n *logonNote, text string) bool {
	for _, start := range []struct{ prefix, action string }{{"Accepted ", "LogonSuccess"}, {"Failed ", "LogonFailed"}} {
		rest, ok := strings.CutPrefix(text, start.prefix)
		if !ok {
			continue
		}
		method, rest, ok := strings.Cut(rest, " for ")
		if !ok || strings.Contains(method, " ") || method == "none" {
			return false
		}
		n.action, n.method = start.action, method
		if start.action == "LogonFailed" {
			n.reason = "InvalidCredentials"
			if unknown, ok := strings.CutPrefix(rest, "invalid user "); ok {
				rest, n.reason = unknown, "UnknownUser"
			}
		}
		return fromPeer(n, rest)
	}
	for _, prefix := range []string{"Connection closed by ", "Connection reset by ", "Disconnected from "} {
		rest, ok := strings.CutPrefix(text, prefix)
		if !ok || !strings.HasSuffix(text, "[preauth]") {
			continue
		}
		n.action = "LogonFailed"
		if user, ok := strings.CutPrefix(rest, "invalid user "); ok {
			n.reason = "UnknownUser"
			return closedPeer(n, user)
		}
		if user, ok := strings.CutPrefix(rest, "authenticating user "); ok {
			n.reason = "NoAcceptedCredentials"
			return closedPeer(n, user)
		}
		return false
	}
	return sessionLine(n, text, "sshd", false)
}

// fromPeer reads "USER from ADDRESS port N ssh2". The user's name comes from
// the network and may itself hold "from": the last one counts.
func fromPeer(n *logonNote, s string) bool {
	i := strings.LastIndex(s, " from ")
	if i < 0 {
		return false
	}
	n.user = s[:i]
	return peer(n, strings.Fields(s[i+6:]))
}

// closedPeer reads "USER ADDRESS port N [preauth]".
func closedPeer(n *logonNote, s string) bool {
	f := strings.Fields(s)
	if len(f) < 5 {
		return false
	}
	n.user = strings.Join(f[:len(f)-4], " ")
	return peer(n, f[len(f)-4:])
}

func peer(n *logonNote, f []string) bool {
	if len(f) < 3 || f[1] != "port" {
		return false
	}
	a, err := netip.ParseAddr(f[0])
	if err != nil {
		return false
	}
	port, err := strconv.ParseUint(f[2], 10, 16)
	if err != nil {
		return false
	}
	n.remote, n.port = a.Unmap().WithZone(""), uint16(port)
	return true
}

// sessionLine reads what PAM says when a session opens or closes. Where the
// program has told of the opening already, only the close counts.
func sessionLine(n *logonNote, text, service string, opens bool) bool {
	rest, ok := strings.CutPrefix(text, "pam_unix("+service)
	if !ok {
		return false
	}
	if rest, ok = strings.CutPrefix(strings.TrimPrefix(rest, "-l"), ":session): session "); !ok {
		return false
	}
	if user, ok := strings.CutPrefix(rest, "closed for user "); ok {
		n.action, n.user = "Logoff", firstWord(user)
		return n.user != ""
	}
	user, ok := strings.CutPrefix(rest, "opened for user ")
	if !ok || !opens {
		return false
	}
	n.action = "LogonSuccess"
	who, by, _ := strings.Cut(user, " by ")
	n.user = firstWord(who)
	if service == "su" {
		n.target, n.user = n.user, firstWord(by)
	}
	return n.user != "" || n.target != ""
}

// firstWord is the account in "root(uid=0)" or "root by ...".
func firstWord(s string) string {
	if i := strings.IndexAny(s, "( "); i >= 0 {
		s = s[:i]
	}
	return s
}

func sudoLine(n *logonNote, text string) bool {
	if strings.HasPrefix(text, "pam_unix(") {
		return sessionLine(n, text, "sudo", false)
	}
	user, rest, ok := strings.Cut(text, " : ")
	if !ok || strings.Contains(user, " ") {
		return false
	}
	n.user, n.action = user, "LogonSuccess"
	for i, part := range strings.Split(rest, " ; ") {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case ok && key == "TTY":
			n.tty = value
		case ok && key == "USER":
			n.target = value
		case ok && key == "COMMAND":
			n.command = value
		case i == 0 && !ok:
			n.action, n.reason = "LogonFailed", sudoReason(part)
		}
		if key == "COMMAND" {
			break
		}
	}
	return n.target != ""
}

func sudoReason(s string) string {
	switch {
	case strings.Contains(s, "incorrect password"):
		return "InvalidCredentials"
	case strings.Contains(s, "NOT in sudoers"):
		return "NotInSudoers"
	case strings.Contains(s, "not allowed"):
		return "CommandNotAllowed"
	}
	return s
}

func suLine(n *logonNote, text string) bool {
	if rest, ok := strings.CutPrefix(text, "FAILED SU (to "); ok {
		target, rest, ok := strings.Cut(rest, ") ")
		if !ok {
			return false
		}
		user, tty, _ := strings.Cut(rest, " on ")
		n.action, n.user, n.target, n.tty, n.reason = "LogonFailed", user, target, strings.TrimPrefix(tty, "/dev/"), "InvalidCredentials"
		return user != ""
	}
	return sessionLine(n, text, "su", true)
}

func loginLine(n *logonNote, text string) bool {
	if rest, ok := strings.CutPrefix(text, "FAILED LOGIN ("); ok {
		_, rest, ok := strings.Cut(rest, " on '")
		if !ok {
			return false
		}
		tty, rest, ok := strings.Cut(rest, "' ")
		if !ok {
			return false
		}
		_, rest, ok = strings.Cut(rest, "FOR '")
		if !ok {
			return false
		}
		user, _, ok := strings.Cut(rest, "'")
		n.action, n.user, n.tty, n.reason = "LogonFailed", user, strings.TrimPrefix(tty, "/dev/"), "InvalidCredentials"
		return ok && user != ""
	}
	return sessionLine(n, text, "login", true)
}
