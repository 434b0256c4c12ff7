// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

const (
	maxAccounts = 1 << 16
	maxHomes    = 256
)

// accounts are the users of the host and their homes.
type accounts struct {
	ids   map[string]string // user id by name
	names map[string]string // name by user id
	homes map[string]string // name by home
}

// accountLines keeps lines of account files: name and fields with colons.
func accountLines(_ string, b []byte) []string {
	var out []string
	for line := range strings.Lines(string(b)) {
		if line = oneLine(line); line == "" || line[0] == '#' || !strings.Contains(line, ":") {
			continue
		}
		if len(out) == maxAccounts {
			break
		}
		out = append(out, cut(line, 16<<10))
	}
	return out
}

// learn takes over the users and their homes.
func (t *Tracker) learn(passwd []string) {
	a := accounts{ids: map[string]string{}, names: map[string]string{}, homes: map[string]string{}}
	for _, line := range passwd {
		f := strings.Split(line, ":")
		if len(f) < 7 || f[0] == "" {
			continue
		}
		if _, ok := a.ids[f[0]]; !ok {
			a.ids[f[0]] = f[2]
		}
		if _, ok := a.names[f[2]]; !ok {
			a.names[f[2]] = f[0]
		}
		home := strings.TrimSuffix(f[5], "/")
		if _, ok := a.homes[home]; ok || !strings.HasPrefix(home, "/") {
			continue
		}
		a.homes[home] = f[0]
	}
	t.accounts = a
	t.matcher.Store(newMatcher(t.table, a.unusualHomes()))
}

// unusualHomes are those that the matcher does not know by itself.
func (a accounts) unusualHomes() []string {
	var out []string
	for _, home := range slices.Sorted(maps.Keys(a.homes)) {
		usual := home == "/root" || strings.HasPrefix(home, "/home/") && strings.Count(home, "/") == 2
		if !usual && !strings.ContainsAny(home, "*{}") && len(out) < maxHomes {
			out = append(out, home)
		}
	}
	return out
}

// owner names the account whose file changed.
func (t *Tracker) owner(f *finding, e *Event) {
	name := ""
	switch {
	case f.c.Space != "":
		return
	case f.w.Category == "AtJob":
		name = t.accounts.names[atUser(f)]
	case strings.HasPrefix(f.path, "/var/spool/cron/") || strings.HasPrefix(f.path, "/etc/crontabs/"):
		name = f.base
	default:
		name = t.ownerOfHome(f.path)
	}
	if id, ok := t.accounts.ids[name]; ok {
		e.Account, e.AccountID = name, id
	}
}

func atUser(f *finding) string {
	for _, line := range textLines("", f.data) {
		if rest, ok := strings.CutPrefix(line, "# atrun uid="); ok {
			uid, _, _ := strings.Cut(rest, " ")
			return cut(uid, 16)
		}
	}
	return ""
}

func (t *Tracker) ownerOfHome(name string) string {
	for i := len(name); i > 0; i = strings.LastIndexByte(name[:i], '/') {
		if user, ok := t.accounts.homes[name[:i]]; ok && i < len(name) {
			return user
		}
	}
	return ""
}

// split turns lines into entries by name. A name that is there twice counts by
// its first line, as for the system library.
func split(lines []string) map[string][]string {
	out := map[string][]string{}
	for _, line := range lines {
		f := strings.Split(line, ":")
		if _, ok := out[f[0]]; !ok && f[0] != "" {
			out[f[0]] = f
		}
	}
	return out
}

// before is what was in the file, and whether that is known.
func (f *finding) before() ([]string, bool) { return f.prev.list(), f.prev != nil && f.prev.known }

// userEvents compares the users of two states of /etc/passwd.
func userEvents(f *finding) []Event {
	t := f.t
	lines := accountLines("", f.data)
	if f.c.Space == "" && f.now != nil {
		t.learn(lines)
	}
	prev, ok := f.before()
	if !ok || f.now == nil {
		return f.asWhole()
	}
	was, now := split(prev), split(lines)
	var out []Event
	for _, name := range names(was, now) {
		a, b := was[name], now[name]
		switch {
		case a == nil:
			out = append(out, f.user("UserAccountCreated", "Created", b))
		case b == nil:
			out = append(out, f.user("UserAccountDeleted", "Deleted", a))
		case !slices.Equal(a, b):
			e := f.user("UserAccountModified", "Changed", b)
			e.Fields["Changed"] = differing(a, b, []string{"", "Password", "UserId", "GroupId", "Comment", "Home", "Shell"})
			out = append(out, e)
		}
	}
	return f.bound(out)
}

func (f *finding) user(action, operation string, fields []string) Event {
	e := f.event(action, operation)
	e.Account = fields[0]
	if len(fields) < 7 {
		return e
	}
	e.AccountID = fields[2]
	e.Fields["GroupId"], e.Fields["Home"], e.Fields["Shell"] = fields[3], fields[5], fields[6]
	if fields[4] != "" {
		e.Fields["Comment"] = cut(fields[4], tellBytes)
	}
	if fields[2] == "0" && fields[0] != "root" {
		e.Fields["Superuser"] = true
	}
	if fields[1] == "" {
		e.Fields["NoPassword"] = true
	}
	return e
}

// differing lists the fields that differ. The second, a password or its hash,
// is never shown.
func differing(a, b, labels []string) map[string]any {
	out := map[string]any{}
	for i := 1; i < min(len(a), len(b), len(labels)); i++ {
		if a[i] == b[i] || labels[i] == "" {
			continue
		}
		if labels[i] == "Password" {
			out[labels[i]] = hidden
			continue
		}
		out[labels[i]] = []string{cut(a[i], tellBytes), cut(b[i], tellBytes)}
	}
	return out
}

func names(a, b map[string][]string) []string {
	all := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, ok := a[name]; !ok {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// privileged are groups whose members can become root.
var privileged = []string{"root", "sudo", "wheel", "admin", "adm", "docker", "lxd", "libvirt", "disk", "shadow", "kmem", "podman", "incus-admin"}

// groupEvents compares two states of /etc/group.
func groupEvents(f *finding) []Event {
	t := f.t
	prev, ok := f.before()
	if !ok || f.now == nil {
		return f.asWhole()
	}
	was, now := split(prev), split(accountLines("", f.data))
	var out []Event
	for _, name := range names(was, now) {
		a, b := was[name], now[name]
		switch {
		case a == nil:
			out = append(out, f.group("SecurityGroupCreated", "Created", b))
		case b == nil:
			out = append(out, f.group("SecurityGroupDeleted", "Deleted", a))
		case len(a) > 2 && len(b) > 2 && (a[2] != b[2] || a[1] != b[1]):
			e := f.group("SecurityGroupModified", "Changed", b)
			e.Fields["Changed"] = differing(a, b, []string{"", "Password", "GroupId"})
			out = append(out, e)
		}
		added, removed := difference(members(a), members(b))
		for _, m := range added {
			out = append(out, t.member(f.group("UserAccountAddedToLocalGroup", "Created", b), m))
		}
		for _, m := range removed {
			about := b
			if about == nil {
				about = a
			}
			out = append(out, t.member(f.group("UserAccountRemovedFromLocalGroup", "Deleted", about), m))
		}
	}
	return f.bound(out)
}

func members(fields []string) []string {
	if len(fields) < 4 || fields[3] == "" {
		return nil
	}
	return strings.Split(fields[3], ",")
}

func (f *finding) group(action, operation string, fields []string) Event {
	e := f.event(action, operation)
	e.Fields["GroupName"] = fields[0]
	if len(fields) > 2 {
		e.Fields["GroupSid"] = fields[2]
	}
	if slices.Contains(privileged, fields[0]) || len(fields) > 2 && fields[2] == "0" {
		e.Fields["Privileged"] = true
	}
	return e
}

func (t *Tracker) member(e Event, name string) Event {
	e.Account, e.AccountID = cut(name, tellBytes), t.accounts.ids[name]
	return e
}

// passwords turns lines of a shadow file into items that hold no hash: a
// digest with a key that never leaves this process stands for it.
func (t *Tracker) passwords(b []byte) []string {
	lines := accountLines("", b)
	for i, line := range lines {
		f := strings.Split(line, ":")
		f[1] = t.veil(f[1])
		lines[i] = strings.Join(f, ":")
	}
	return lines
}

// veil keeps what a password field says without the hash.
func (t *Tracker) veil(field string) string {
	bare := strings.TrimLeft(field, "!")
	kind := "set"
	switch {
	case field == "":
		return "empty"
	case bare == "" || bare == "*" || bare == "x":
		return "none"
	case len(bare) < len(field):
		kind = "locked"
	}
	mac := hmac.New(sha256.New, t.key[:])
	mac.Write([]byte(bare))
	return kind + " " + hex.EncodeToString(mac.Sum(nil)[:16])
}

// passwordEvents compares two states of a shadow file.
func passwordEvents(f *finding) []Event {
	t := f.t
	prev, ok := f.before()
	if !ok || f.now == nil {
		return f.asWhole()
	}
	was, now := split(prev), split(t.passwords(f.data))
	groups := f.base == "gshadow"
	var out []Event
	for _, name := range names(was, now) {
		a, b := was[name], now[name]
		if len(b) < 2 || a != nil && len(a) < 2 {
			continue // the account itself is told of by its own file
		}
		old := "none"
		if a != nil {
			old = a[1]
		}
		change := passwordChange(old, b[1])
		if change != "" {
			e := t.subject(f.event("PasswordChanged", "Changed"), name, groups)
			e.Fields["Change"] = change
			out = append(out, e)
		}
		if a == nil || groups {
			continue
		}
		labels := []string{"", "", "", "MinimumAge", "MaximumAge", "WarningPeriod", "InactivityPeriod", "Expires"}
		if changed := differing(a, b, labels); len(changed) > 0 {
			e := t.subject(f.event("UserAccountModified", "Changed"), name, groups)
			e.Fields["Changed"] = changed
			out = append(out, e)
		}
	}
	return f.bound(out)
}

func (t *Tracker) subject(e Event, name string, group bool) Event {
	if group {
		e.Fields["GroupName"] = name
		return e
	}
	return t.member(e, name)
}

// passwordChange says what became of a veiled password field.
func passwordChange(was, now string) string {
	if was == now {
		return ""
	}
	oldKind, oldSum, _ := strings.Cut(was, " ")
	kind, sum, _ := strings.Cut(now, " ")
	switch {
	case kind == "empty":
		return "Emptied"
	case kind == "none":
		return "Removed"
	case oldSum == sum && kind == "locked":
		return "Locked"
	case oldSum == sum:
		return "Unlocked"
	case oldKind == "none":
		return "Set"
	}
	return "Changed"
}

// asWhole tells that a file that is told in parts changed in a way that cannot
// be told in parts.
func (f *finding) asWhole() []Event {
	operation := "Changed"
	if f.now == nil {
		operation = "Deleted"
	}
	e := f.event(f.w.Actions.Changed, operation)
	e.Fields["PreviousKnown"] = false
	return []Event{e}
}

const maxEvents = 256

// bound keeps one change of a file from becoming any number of rows; the last
// one says how many there are in all.
func (f *finding) bound(all []Event) []Event {
	if len(all) <= maxEvents {
		return all
	}
	n := len(all)
	all = all[:maxEvents]
	all[maxEvents-1].Fields["OfEvents"] = n
	return all
}
