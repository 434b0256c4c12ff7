// SPDX-License-Identifier: Apache-2.0

package redact

import "strings"

// program is one that takes a secret as an argument whose name does not say so.
type program struct {
	name  string // lower case
	part  bool   // its name goes on, as in mysqldump
	flags []flag
}

// flag is an option of a program.
type flag struct {
	text   string
	how    how
	within string // the secret follows the first of this in the value
}

type how int

const (
	joined how = 1 << iota // -pSECRET
	next                   // -p SECRET
	either = joined | next
)

func programs() []program {
	user := func(sep string, texts ...string) (out []flag) {
		for _, t := range texts {
			h := next
			if len(t) == 2 {
				h = either
			}
			out = append(out, flag{t, h, sep})
		}
		return out
	}
	return []program{
		{"sshpass", false, []flag{{"-p", either, ""}}},
		{"mysql", true, []flag{{"-p", joined, ""}}}, {"mariadb", true, []flag{{"-p", joined, ""}}},
		{"curl", false, user(":", "-u", "-U", "--user", "--proxy-user")},
		{"redis-cli", false, []flag{{"-a", next, ""}}},
		{"mongo", true, []flag{{"-p", either, ""}}},
		{"ldap", true, []flag{{"-w", either, ""}}},
		{"login", false, []flag{{"-p", next, ""}}}, // of docker, podman, helm, az
		{"zip", false, []flag{{"-P", next, ""}}}, {"unzip", false, []flag{{"-P", next, ""}}},
		{"7z", true, []flag{{"-p", joined, ""}}}, {"rar", false, []flag{{"-hp", joined, ""}, {"-p", joined, ""}}},
		{"smbclient", false, user("%", "-U", "--user")}, {"rpcclient", false, user("%", "-U", "--user")},
		{"sqlcmd", false, []flag{{"-P", either, ""}}},
		{"useradd", false, []flag{{"-p", next, ""}}}, {"usermod", false, []flag{{"-p", next, ""}}},
		{"freerdp", false, []flag{{"/p:", joined, ""}}}, {"rdesktop", false, []flag{{"-p", next, ""}}},
		{"openssl", false, []flag{{"-k", next, ""}, {"-K", next, ""}}},
		{"snmp", true, []flag{{"-c", either, ""}, {"-A", either, ""}, {"-X", either, ""}}},
	}
}

// maxArguments bounds how far a program's arguments are looked at.
const maxArguments = 4096

// find walks over the arguments that follow the name of a program.
func (p program) find(t *text, start, end int) (from, to int, ok bool) {
	if start > 0 && (isWord(t.s[start-1]) || t.s[start-1] == '-') && p.name != "freerdp" || start < t.walked[p.name] {
		return 0, 0, false
	}
	if !p.part && end < len(t.s) && isToken(t.s[end]) {
		return 0, 0, false
	}
	limit := min(len(t.s), end+maxArguments)
	i := end
	for i < limit && !ends(t.s[i], true) {
		i++ // the rest of its name
	}
	open := t.quoted(i)
	for i < limit {
		if i = t.skip(i, open); i < 0 {
			break
		}
		word := i
		i = t.wordEnd(i, open)
		if i == word {
			break
		}
		for _, f := range p.flags {
			if from, to, ok = f.match(t, word, i); ok {
				t.walked[p.name] = i // there is no second for the same program
				return from, to, true
			}
		}
	}
	t.walked[p.name] = max(i, end)
	return 0, 0, false
}

// skip moves over spaces. It returns -1 at the end of the command.
func (t *text) skip(i int, open byte) int {
	for i < len(t.s) && isSpace(t.s[i]) {
		if t.s[i] == '\n' {
			return -1
		}
		i++
	}
	inner := t.script || open != 0
	if i >= len(t.s) || t.s[i] == open && open != 0 || inner && strings.IndexByte(";|&()`", t.s[i]) >= 0 {
		return -1
	}
	return i
}

// wordEnd returns where a word, with the quotes in it, ends.
func (t *text) wordEnd(i int, open byte) int {
	inner := t.script || open != 0
	for i < len(t.s) {
		c := t.s[i]
		switch {
		case isSpace(c) || c == open && open != 0 || inner && strings.IndexByte(";|&()`", c) >= 0:
			return i
		case c == '"' || c == '\'':
			i++
			i += quotedLength(t.s[i:], c)
		case c == '\\':
			i++
		}
		i++
	}
	return len(t.s)
}

// match tells whether a word is this flag, and finds its secret.
func (f flag) match(t *text, word, end int) (from, to int, ok bool) {
	rest, found := strings.CutPrefix(t.s[word:end], f.text)
	if !found {
		return 0, 0, false
	}
	at := -1
	switch {
	case rest == "" && f.how&next != 0:
		if at = t.spaces(end); at == end || at >= len(t.s) || t.s[at] == '-' {
			return 0, 0, false
		}
	case rest != "" && rest[0] == '=' && len(f.text) > 2:
		at = word + len(f.text) + 1
	case rest != "" && f.how&joined != 0:
		at = word + len(f.text)
	default:
		return 0, 0, false
	}
	from, to, ok = t.value(at, "")
	if ok && f.within != "" {
		cut := strings.Index(t.s[from:to], f.within)
		if cut < 0 {
			return 0, 0, false
		}
		from += cut + 1
		ok = from < to && !refers(t.s[from:to])
	}
	return from, to, ok
}
