// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import "strings"

// accountTools are the programs whose lines tell of changes of accounts.
var accountTools = map[string]bool{
	"useradd": true, "usermod": true, "userdel": true, "groupadd": true, "groupmod": true, "groupdel": true, "gpasswd": true,
	"passwd": true, "chpasswd": true, "chage": true, "chsh": true, "chfn": true, "newusers": true, "vipw": true, "groupmems": true,
}

// accountLine reads what the tools of shadow say.
func accountLine(n *note, text string) bool {
	if !accountTools[n.Program] {
		return false
	}
	n.Account = true
	switch {
	case strings.HasPrefix(text, "new user: "):
		n.Action = AccountCreated
		n.Target, n.TargetID = listed(text, "name"), listed(text, "UID")
		n.Detail = strings.TrimPrefix(text, "new user: ")
	case strings.HasPrefix(text, "delete user '"):
		n.Action, n.Target = AccountDeleted, quoted(text)
	case strings.HasPrefix(text, "change user '"), strings.HasPrefix(text, "changed user '"),
		strings.HasPrefix(text, "lock user '"), strings.HasPrefix(text, "unlock user '"), strings.HasPrefix(text, "change user name '"):
		n.Action, n.Target, n.Detail = AccountModified, quoted(text), text
		if strings.HasSuffix(text, "' password") && strings.HasPrefix(text, "change user '") {
			n.Action = PasswordChange
		}
	case strings.HasPrefix(text, "changed password expiry for "):
		n.Action, n.Target, n.Detail = AccountModified, text[len("changed password expiry for "):], "password expiry"
	case strings.HasPrefix(text, "password for '"):
		n.Action, n.Target, n.Detail = PasswordChange, quoted(text), "changed"
		n.User, _, _ = between(text, "changed by '", "'")
	default:
		return groupLine(n, text)
	}
	return n.Target != ""
}

func groupLine(n *note, text string) bool {
	switch {
	case strings.HasPrefix(text, "new group: "), strings.HasPrefix(text, "group added to "):
		n.Action, n.Group = GroupCreated, listed(text, "name")
		n.weak = strings.HasPrefix(text, "group added to ")
	case strings.HasPrefix(text, "group '") && strings.Contains(text, "' removed"):
		n.Action, n.Group, n.weak = GroupDeleted, quoted(text), strings.Contains(text, "' removed from ")
	case strings.HasPrefix(text, "removed group '"):
		n.Action, n.Group = GroupDeleted, quoted(text)
	case strings.HasPrefix(text, "add '"):
		n.Action, n.Target, n.weak = MemberAdded, quoted(text), strings.Contains(text, " shadow group ")
		n.Group, _, _ = between(text, "group '", "'")
	case strings.HasPrefix(text, "delete '"):
		n.Action, n.Target, n.weak = MemberRemoved, quoted(text), strings.Contains(text, " shadow group ")
		n.Group, _, _ = between(text, "group '", "'")
	case strings.HasPrefix(text, "user ") && strings.Contains(text, " added by "):
		n.Action = MemberAdded
		n.Target, n.User, n.Group = byWhom(text, " added by ", " to group ")
	case strings.HasPrefix(text, "user ") && strings.Contains(text, " removed by "):
		n.Action = MemberRemoved
		n.Target, n.User, n.Group = byWhom(text, " removed by ", " from group ")
	default:
		return false
	}
	return n.Group != ""
}

// byWhom reads "user bob added by root to group sudo".
func byWhom(text, by, group string) (target, user, name string) {
	target, rest, _ := strings.Cut(strings.TrimPrefix(text, "user "), by)
	user, name, _ = strings.Cut(rest, group)
	return target, user, name
}

// quoted is the first word in quotes.
func quoted(s string) string {
	s, _, _ = between(s, "'", "'")
	return s
}

// listed is a value in "name=bob, UID=1001".
func listed(s, key string) string {
	_, rest, ok := strings.Cut(s, key+"=")
	if !ok {
		return ""
	}
	rest, _, _ = strings.Cut(rest, ",")
	return rest
}
