// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"strings"
)

// sshLine reads what the OpenSSH server says.
func sshLine(n *note, text string) bool {
	if rest, ok := strings.CutPrefix(text, "Accepted "); ok {
		n.Action = Success
		return sshResult(n, rest)
	}
	if rest, ok := strings.CutPrefix(text, "Failed "); ok {
		n.Action, n.Reason = Failed, wrongPassword
		return sshResult(n, rest)
	}
	if rest, ok := strings.CutPrefix(text, "maximum authentication attempts exceeded for "); ok {
		n.Action, n.Reason = Failed, tooMany
		rest = strings.TrimPrefix(rest, "invalid user ")
		return fromPeer(n, rest)
	}
	if rest, ok := strings.CutPrefix(text, "Invalid user "); ok {
		n.Action, n.Reason, n.weak = Failed, unknownUser, true
		return fromPeer(n, rest)
	}
	if rest, ok := strings.CutPrefix(text, "User "); ok {
		return sshRefused(n, rest)
	}
	return sshClosed(n, text)
}

// sshResult reads "METHOD for [invalid user] USER from ADDRESS port N ssh2: KEY".
func sshResult(n *note, text string) bool {
	method, rest, ok := strings.Cut(text, " for ")
	if !ok || strings.Contains(method, " ") || method == "none" {
		return false
	}
	n.Method = method
	if unknown, ok := strings.CutPrefix(rest, "invalid user "); ok && n.Action == Failed {
		rest, n.Reason = unknown, unknownUser
	}
	return fromPeer(n, rest)
}

// fromPeer reads "USER from ADDRESS port N ssh2". The user's name comes from
// the network and may itself hold "from": the last one counts. Behind a key's
// fingerprint a certificate may name whatever its maker wished.
func fromPeer(n *note, s string) bool {
	head, key, _ := strings.Cut(s, " ssh2: ")
	i := strings.LastIndex(head, " from ")
	if i < 0 {
		return false
	}
	n.User = head[:i]
	if f := strings.SplitN(key, " ", 3); len(f) >= 2 && strings.Contains(f[1], ":") {
		n.KeyType, n.Fingerprint = f[0], f[1]
		if len(f) == 3 {
			n.Certificate = strings.TrimPrefix(f[2], "ID ")
		}
	}
	return n.peer(strings.Fields(head[i+6:]))
}

// sshRefused reads why a user who exists may not log on: "alice from ADDRESS
// not allowed because ...". sshd goes on as if there were no such user.
func sshRefused(n *note, text string) bool {
	i := strings.LastIndex(text, " not allowed because ")
	if i < 0 {
		return false
	}
	who, why := text[:i], text[i+len(" not allowed because "):]
	user, address, ok := strings.Cut(who, " from ")
	n.Action, n.weak, n.User, n.Reason, n.Detail = Failed, true, user, notAllowed, why
	if ok && !n.from(address) {
		n.Host = address
	}
	if strings.Contains(why, "locked") {
		n.Reason = locked
	}
	return user != ""
}

// sshClosed reads how a connection ended: before a logon that is a failure,
// unless another line told of one, and after it the end of the session.
func sshClosed(n *note, text string) bool {
	n.weak = true
	if rest, ok := strings.CutPrefix(text, "Disconnected from user "); ok && !strings.HasSuffix(text, "[preauth]") {
		n.Action, n.apart = Logoff, true // told by the process of the user
		return closedPeer(n, rest)
	}
	if !strings.HasSuffix(text, "[preauth]") {
		return false
	}
	text = strings.TrimSuffix(text, " [preauth]")
	n.Action = Failed
	for _, prefix := range []string{"Connection closed by ", "Connection reset by ", "Disconnected from ", "Disconnecting "} {
		rest, ok := strings.CutPrefix(text, prefix)
		if !ok {
			continue
		}
		if prefix == "Disconnecting " {
			rest, _, _ = strings.Cut(rest, ": ")
		}
		if user, ok := strings.CutPrefix(rest, "invalid user "); ok {
			n.Reason = unknownUser
			return closedPeer(n, user)
		}
		if user, ok := strings.CutPrefix(rest, "authenticating user "); ok {
			n.Reason = noneAccepted
			return closedPeer(n, user)
		}
	}
	return false
}

// closedPeer reads "USER ADDRESS port N".
func closedPeer(n *note, s string) bool {
	f := strings.Fields(s)
	if len(f) < 4 {
		return false
	}
	n.User = strings.Join(f[:len(f)-3], " ")
	return n.peer(f[len(f)-3:])
}

// dropbearLine reads what the small SSH server of many appliances says.
func dropbearLine(n *note, text string) bool {
	var rest string
	switch {
	case strings.HasPrefix(text, "Password auth succeeded for '"):
		n.Action, n.Method, rest = Success, "password", text[len("Password auth succeeded for '"):]
	case strings.HasPrefix(text, "Pubkey auth succeeded for '"):
		n.Action, n.Method, rest = Success, "publickey", text[len("Pubkey auth succeeded for '"):]
	case strings.HasPrefix(text, "Bad password attempt for '"):
		n.Action, n.Method, n.Reason, rest = Failed, "password", wrongPassword, text[len("Bad password attempt for '"):]
	case strings.HasPrefix(text, "Login attempt for nonexistent user from "):
		n.Action, n.Reason, rest = Failed, unknownUser, "?' from "+text[len("Login attempt for nonexistent user from "):]
	default:
		return false
	}
	i := strings.LastIndex(rest, " from ")
	j := strings.IndexByte(rest, '\'')
	if i < 0 || j < 0 || j > i {
		return false
	}
	n.User = rest[:j]
	if n.User == "?" {
		n.User = ""
	}
	if k := strings.Index(rest[j:i], "SHA256:"); k >= 0 {
		n.Fingerprint, _, _ = strings.Cut(rest[j+k:i], " ")
	}
	address := rest[i+6:]
	k := strings.LastIndexByte(address, ':')
	return k > 0 && n.peer([]string{strings.Trim(address[:k], "[]"), "port", address[k+1:]})
}
