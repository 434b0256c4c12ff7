// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"strconv"
	"strings"
)

func sudoLine(n *note, text string) bool {
	user, rest, ok := strings.Cut(text, " : ")
	if !ok || strings.Contains(user, " ") {
		return false
	}
	n.User, n.Action = user, Success
	for i, part := range strings.Split(rest, " ; ") {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case ok && key == "TTY":
			n.TTY = value
		case ok && key == "PWD":
			n.Cwd = value
		case ok && key == "USER":
			n.Target = value
		case ok && key == "COMMAND":
			// The rest of the line: a command may hold " ; " itself.
			_, n.Command, _ = strings.Cut(rest, " ; COMMAND=")
			return n.Target != ""
		case i == 0 && !ok:
			n.Action, n.Reason = Failed, sudoReason(part)
		}
	}
	return n.Target != ""
}

func sudoReason(s string) string {
	switch {
	case strings.Contains(s, "incorrect password"):
		return wrongPassword
	case strings.Contains(s, "NOT in sudoers"):
		return notInSudoers
	case strings.Contains(s, "not allowed"):
		return commandRefused
	case strings.Contains(s, "account") && strings.Contains(s, "expired"):
		return expired
	}
	return cut(s)
}

// suLine reads the su of util-linux and that of shadow.
func suLine(n *note, text string) bool {
	if rest, ok := strings.CutPrefix(text, "FAILED SU (to "); ok {
		target, rest, ok := strings.Cut(rest, ") ")
		if !ok {
			return false
		}
		user, tty, _ := strings.Cut(rest, " on ")
		n.Action, n.User, n.Target, n.TTY, n.Reason = Failed, user, target, tty, wrongPassword
		return user != ""
	}
	if rest, ok := strings.CutPrefix(text, "(to "); ok { // (to root) alice on pts/2
		target, rest, ok := strings.Cut(rest, ") ")
		if !ok {
			return false
		}
		user, tty, _ := strings.Cut(rest, " on ")
		n.Action, n.User, n.Target, n.TTY, n.weak = Success, user, target, tty, true
		return user != ""
	}
	return false
}

func loginLine(n *note, text string) bool {
	if rest, ok := strings.CutPrefix(text, "FAILED LOGIN ("); ok {
		tty, rest, ok := between(rest, " on '", "' ")
		if !ok {
			return false
		}
		user, _, ok := between(rest, "FOR '", "'")
		n.Action, n.User, n.TTY, n.Reason = Failed, user, tty, wrongPassword
		if n.User == "UNKNOWN" {
			n.User, n.Reason = "", unknownUser
		}
		if host, _, found := between(rest, "from '", "' "); found && !n.from(host) {
			n.Host = host
		}
		return ok && (n.User != "" || n.PID != 0)
	}
	if rest, ok := strings.CutPrefix(text, "TOO MANY LOGIN TRIES ("); ok {
		tty, rest, _ := between(rest, " on '", "' ")
		user, _, ok := between(rest, "FOR '", "'")
		n.Action, n.User, n.TTY, n.Reason = Failed, user, tty, tooMany
		return ok && user != ""
	}
	for prefix, user := range map[string]string{"ROOT LOGIN ON ": "root", "LOGIN ON ": ""} {
		rest, ok := strings.CutPrefix(text, prefix)
		if !ok {
			continue
		}
		tty, by, _ := strings.Cut(rest, " BY ")
		if user == "" {
			user = firstWord(by)
		}
		n.Action, n.User, n.TTY, n.weak = Success, user, firstWord(tty), true
		return user != ""
	}
	return false
}

// pkexecLine reads "alice: Executing command [USER=root] [TTY=/dev/pts/0] [CWD=/] [COMMAND=/bin/id]".
func pkexecLine(n *note, text string) bool {
	user, rest, ok := strings.Cut(text, ": ")
	if !ok || strings.Contains(user, " ") {
		return false
	}
	switch {
	case strings.HasPrefix(rest, "Executing command ["):
		n.Action = Success
	case strings.HasPrefix(rest, "Error executing command as another user: Not authorized ["):
		n.Action, n.Reason = Failed, notAllowed
	default:
		return false
	}
	n.User = user
	n.Target, _, _ = between(rest, "[USER=", "]")
	n.TTY, _, _ = between(rest, "[TTY=", "]")
	n.Cwd, _, _ = between(rest, "[CWD=", "]")
	if _, command, ok := strings.Cut(rest, "[COMMAND="); ok {
		n.Command = strings.TrimSuffix(command, "]")
	}
	return n.Target != ""
}

// polkitLine reads who was given, or denied, the rights of another account for
// one action.
func polkitLine(n *note, text string) bool {
	switch {
	case strings.Contains(text, " successfully authenticated as unix-user:"):
		n.Action = Success
		target, _, _ := between(text, " successfully authenticated as unix-user:", " ")
		n.Target = target
	case strings.Contains(text, " FAILED to authenticate to gain authorization for action "):
		n.Action, n.Reason = Failed, wrongPassword
	default:
		return false
	}
	if i := strings.LastIndex(text, "(owned by unix-user:"); i >= 0 {
		n.User, _, _ = strings.Cut(text[i+len("(owned by unix-user:"):], ")")
	}
	n.Detail, _, _ = between(text, " for action ", " ")
	n.PID = 0 // of the daemon
	return n.User != ""
}

// logindLine reads the fields that systemd-logind writes beside its words.
func logindLine(n *note, fields map[string]string) bool {
	switch fields["MESSAGE_ID"] {
	case "8d45620c1a4348dbb17410da57c60c66":
		n.Action = Success
	case "3354939424b4456d9802ca8333ed424a":
		n.Action = Logoff
	default:
		return false
	}
	n.Program, n.Type, n.loose, n.weak = "", "", true, true
	n.User, n.PID, n.Session = fields["USER_ID"], 0, 0
	if id, err := strconv.ParseUint(fields["SESSION_ID"], 10, 32); err == nil {
		n.Session = uint32(id) // an audit session, unless the kernel has none
	}
	if pid, err := strconv.ParseUint(fields["LEADER"], 10, 32); err == nil {
		n.PID = uint32(pid)
	}
	return n.User != "" && n.User != "gdm" && n.User != "lightdm" && n.User != "sddm"
}

// unlockLine: the display manager that has a user's keyring opened, without a
// session of it, lets the user back to a locked screen.
func unlockLine(n *note, text string) bool {
	if text != "gkr-pam: unlocked login keyring" {
		return false
	}
	n.Action, n.Type, n.weak, n.loose = Success, "Unlock", true, true
	return n.PID != 0
}

// screenLine reads "FAILED LOGIN 1 ON DISPLAY ":0", FOR "alice"".
func screenLine(n *note, text string) bool {
	if !strings.HasPrefix(text, "FAILED LOGIN ") {
		return false
	}
	user, _, ok := between(text, `FOR "`, `"`)
	n.Action, n.User, n.Reason = Failed, user, wrongPassword
	return ok && user != ""
}
