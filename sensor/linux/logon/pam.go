// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"strings"
	"time"
)

// sudoAsks is how long sudo may take to ask again before it gives up and tells
// of the failure itself.
const sudoAsks = 30 * time.Second

// pamLine reads what the modules of PAM say: "pam_unix(sshd:auth): ...".
func pamLine(n *note, text string) bool {
	_, rest, ok := strings.Cut(text, "(")
	if !ok {
		return false
	}
	stack, rest, ok := strings.Cut(rest, "): ")
	if !ok {
		return false
	}
	name, phase, ok := strings.Cut(stack, ":")
	if !ok || strings.ContainsAny(name, " ()") {
		return false
	}
	by := n.Program // the program that wrote the line
	n.Program = service(name)
	switch phase {
	case "session":
		return pamSession(n, rest)
	case "auth":
		return pamAuth(n, rest)
	case "account":
		return pamAccount(n, rest)
	case "chauthtok":
		n.Program = by
		return pamPassword(n, rest)
	}
	return false
}

// pamSession reads when a session opens or closes. Where the program tells of
// the opening in more words the line only adds to that.
func pamSession(n *note, text string) bool {
	if user, ok := strings.CutPrefix(text, "session closed for user "); ok {
		n.Action, n.User = Logoff, firstWord(user)
		n.becomeTarget()
		return n.User != "" || n.Target != ""
	}
	rest, ok := strings.CutPrefix(text, "session opened for user ")
	if !ok {
		return false
	}
	who, by, _ := strings.Cut(rest, " by ")
	n.Action, n.User = Success, firstWord(who)
	n.weak = n.Program == "sshd" || n.Program == "sudo" || n.Program == "polkit" || n.Program == "pkexec"
	if n.becomeTarget() {
		n.User = firstWord(by)
		n.UserID = uidIn(by)
		if n.User == "LOGIN" {
			n.User = ""
		}
	}
	return n.User != "" || n.Target != ""
}

// becomeTarget: PAM names the account whose rights are taken on.
func (n *note) becomeTarget() bool {
	if !takesOn(n.Program) {
		return false
	}
	n.Target, n.User = n.User, ""
	return true
}

// firstWord is the account in "root(uid=0)" or "root by ...".
func firstWord(s string) string {
	if i := strings.IndexAny(s, "( "); i >= 0 {
		s = s[:i]
	}
	return s
}

// uidIn is the number in "(uid=1000)", needed where no name stands before it.
func uidIn(s string) string {
	id, _, ok := between(s, "(uid=", ")")
	if !ok || !number(id) || firstWord(s) != "" {
		return ""
	}
	return id
}

func number(s string) bool {
	return s != "" && len(s) <= 10 && strings.Trim(s, "0123456789") == ""
}

func pamAuth(n *note, text string) bool {
	n.Action, n.weak = Failed, true
	if n.Program == "sudo" {
		n.hold = sudoAsks
	}
	switch {
	case strings.HasPrefix(text, "authentication failure;"):
		n.Reason = wrongPassword
		pamParties(n, text)
	case strings.HasPrefix(text, "authentication success;"):
		n.cancel = true
		pamParties(n, text)
	case strings.HasPrefix(text, "received for user "):
		user, rest, _ := strings.Cut(text[len("received for user "):], ": ")
		code, _, _ := strings.Cut(rest, " ")
		n.User, n.Reason = user, map[string]string{"6": notAllowed, "7": wrongPassword, "10": unknownUser, "11": tooMany, "12": oldPassword, "13": expired}[code]
		n.asked()
		return n.Reason != "" && user != ""
	default:
		return pamRefused(n, text)
	}
	return n.User != "" || n.PID != 0
}

// pamRefused reads why a module turned somebody away without a look at the
// password.
func pamRefused(n *note, text string) bool {
	switch {
	case strings.HasPrefix(text, "Consecutive login failures for user "):
		n.User, n.Reason = firstWord(text[len("Consecutive login failures for user "):]), locked
	case strings.HasPrefix(text, "user ") && strings.Contains(text, " tally ") && strings.Contains(text, ", deny "):
		n.User, n.Reason = firstWord(text[len("user "):]), locked
	case strings.HasPrefix(text, "Refused user "):
		n.User, n.Reason = firstWord(text[len("Refused user "):]), notAllowed
	default:
		return false
	}
	n.asked()
	return n.User != "" || n.Target != ""
}

// asked: sudo asks for the password of the caller, others that take on the
// rights of an account for that of the account.
func (n *note) asked() {
	if n.Program != "sudo" {
		n.becomeTarget()
	}
}

// pamParties reads "logname=a uid=1000 euid=0 tty=/dev/pts/0 ruser=a rhost= user=root".
// The user's name comes from outside and may hold blanks and keys: each key
// counts where it stands first, and the user is all the rest.
func pamParties(n *note, text string) {
	head, user, named := strings.Cut(text, " user=")
	value := func(key string) string {
		_, rest, _ := strings.Cut(head, " "+key+"=")
		rest, _, _ = strings.Cut(rest, " ")
		return rest
	}
	n.User = strings.TrimSpace(user)
	if !named && !n.cancel {
		n.Reason = unknownUser
	}
	n.TTY = value("tty")
	if host := value("rhost"); host != "" && !n.from(host) {
		n.Host = host
	}
	if !takesOn(n.Program) {
		return
	}
	asker := value("ruser")
	if asker == "" {
		asker = value("logname")
	}
	if n.Program != "sudo" || asker != n.User {
		n.Target = n.User
	}
	n.User = asker
	if id := value("uid"); asker == "" && number(id) {
		n.UserID = id
	}
}

// pamAccount reads why an account whose owner is known may not log on.
func pamAccount(n *note, text string) bool {
	n.Action, n.weak = Failed, true
	switch {
	case strings.HasPrefix(text, "account ") && strings.Contains(text, " has expired"):
		n.User, n.Reason = firstWord(text[len("account "):]), expired
	case strings.HasPrefix(text, "expired password for user "):
		n.User, n.Reason = firstWord(text[len("expired password for user "):]), oldPassword
	case strings.HasPrefix(text, "access denied for user "):
		user, rest, _ := strings.Cut(text[len("access denied for user "):], " from ")
		n.User, n.Reason = strings.Trim(firstWord(user), "`'"), notAllowed
		if from := strings.Trim(firstWord(rest), "`'"); from != "" && !n.from(from) {
			n.TTY = from
		}
	case strings.HasPrefix(text, "Access denied for user "):
		user, _, _ := strings.Cut(text[len("Access denied for user "):], ":")
		n.User, n.Reason = firstWord(user), notAllowed
	default:
		return false
	}
	return n.User != ""
}

// pamPassword reads that a password was changed, or was to be.
func pamPassword(n *note, text string) bool {
	n.Action, n.Account = PasswordChange, true
	if user, ok := strings.CutPrefix(text, "password changed for "); ok {
		n.Target, n.Detail = firstWord(user), "changed"
		return n.Target != ""
	}
	if strings.HasPrefix(text, "authentication failure;") {
		pamParties(n, text)
		n.Target, n.User, n.Reason, n.Detail = n.User, "", wrongPassword, "refused"
		return n.Target != ""
	}
	return false
}
