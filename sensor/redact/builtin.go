// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"slices"
	"strings"
)

// Names of the built-in rules.
const (
	ruleNamed   = "named-secret"
	ruleHeader  = "http-credentials"
	ruleURL     = "url-password"
	ruleProgram = "program-password"
	ruleShape   = "known-token"
	ruleKey     = "private-key"
	rulePiped   = "piped-password"
)

// words end the names of options, variables and fields that hold a secret.
var words = []string{
	"password", "passwd", "passphrase", "passwort", "secret", "token", "apikey", "api_key", "api-key", "accesskey", "access_key", "access-key",
	"accountkey", "account_key", "account-key", "authkey", "auth_key", "auth-key", "secretkey", "secret_key", "secret-key",
	"encryptionkey", "encryption_key", "encryption-key", "sharedkey", "shared_key", "pwd", "pass", "psk",
}

// short words count only as a word of their own within the name.
var short = []string{"pwd", "pass", "psk"}

func builtin() []literal {
	var all []literal
	add := func(rule string, find func(*text, int, int) (int, int, bool), texts ...string) {
		for _, t := range texts {
			all = append(all, literal{text: t, rule: rule, find: find})
		}
	}
	add(ruleNamed, (*text).named, words...)
	add(ruleHeader, (*text).authorization, "authorization")
	add(ruleHeader, (*text).bearer, "bearer")
	add(ruleHeader, (*text).cookie, "cookie:")
	add(ruleURL, (*text).url, "://")
	add(ruleKey, (*text).privateKey, "private key")
	add(rulePiped, (*text).piped, "sudo -", "chpasswd", "passwd --stdin")
	for _, sh := range shapes() {
		add(ruleShape, sh.find, strings.ToLower(sh.prefix))
	}
	for _, p := range programs() {
		add(ruleProgram, p.find, p.name)
	}
	return all
}

// named finds the value of --password VALUE, --token=VALUE, PGPASSWORD=VALUE,
// "secret": "VALUE", ?token=VALUE&.
func (t *text) named(start, end int) (from, to int, ok bool) {
	s, begin := t.s, start
	for begin > 0 && start-begin < 64 && isNamed(s[begin-1]) {
		begin--
	}
	name, word := s[begin:end], strings.ToLower(s[start:end])
	if begin > 0 && strings.IndexByte(" \t\r\n\"';&|?,{([<=:/$", s[begin-1]) < 0 {
		return 0, 0, false
	}
	if begin > 0 && s[begin-1] == '/' && (begin < 2 || !isSpace(s[begin-2])) {
		return 0, 0, false // the end of a path; /password: alone is an option of Windows
	}
	if slices.Contains(short, word) && begin < start && isLetter(s[start-1]) && !(isLower(s[start-1]) && isUpper(s[start])) {
		return 0, 0, false // compass
	}
	if name == "PWD" || name == "OLDPWD" {
		return 0, 0, false // the folder
	}
	stop := ""
	if begin > 0 && (s[begin-1] == '?' || s[begin-1] == '&') {
		stop = "&#"
	}
	i := end
	if i < len(s) && s[i] == '\\' && t.quoted(i) != 0 {
		i++
	}
	if i < len(s) && (s[i] == '"' || s[i] == '\'') && (i > end || s[i] != t.quoted(i) || begin > 0 && s[begin-1] == s[i]) {
		i++ // of a quoted name, as in JSON
	}
	after := t.spaces(i)
	if after < len(s) && (s[after] == '=' || s[after] == ':') && after-i <= 1 {
		at := t.spaces(after + 1)
		if s[after] == '=' && at > after+1 && after == i {
			return 0, 0, false // an empty value, and the next word
		}
		return t.value(at, stop)
	}
	if i == end && name[0] == '-' && after > i && after < len(s) && s[after] != '-' {
		return t.value(after, stop)
	}
	return 0, 0, false
}

// authorization finds what follows in Authorization: Basic VALUE.
func (t *text) authorization(_, end int) (from, to int, ok bool) {
	i := t.spaces(end)
	if i >= len(t.s) || t.s[i] != ':' && t.s[i] != '=' {
		return 0, 0, false
	}
	i = t.spaces(i + 1)
	if n := t.run(i, 32, isToken); n > 0 && i+n < len(t.s) && isSpace(t.s[i+n]) {
		i = t.spaces(i + n) // the scheme
	}
	return t.value(i, "")
}

func (t *text) bearer(start, end int) (from, to int, ok bool) {
	i := t.spaces(end)
	if n := t.run(i, len(t.s), isBase64); i > end && t.apart(start) && n >= 8 {
		return i, i + n, true
	}
	return 0, 0, false
}

// cookie finds all that follows within the argument.
func (t *text) cookie(_, end int) (from, to int, ok bool) {
	from = t.spaces(end)
	to = from
	for to < len(t.s) && strings.IndexByte("\"'\r\n", t.s[to]) < 0 {
		to++
	}
	return from, to, from < to
}

// url finds the password in scheme://user:password@host.
func (t *text) url(_, end int) (from, to int, ok bool) {
	s, at := t.s, -1
	i := end
	for ; i < len(s) && !isSpace(s[i]) && strings.IndexByte("/?#\"'\\`<>", s[i]) < 0; i++ {
		if s[i] == ':' && from == 0 {
			from = i + 1
		}
		if s[i] == '@' {
			at = i
		}
	}
	if from == 0 || at <= from {
		return 0, 0, false
	}
	return from, at, !refers(s[from:at])
}

// privateKey finds the body of a key in PEM form.
func (t *text) privateKey(start, end int) (from, to int, ok bool) {
	if !strings.Contains(strings.ToUpper(t.s[max(0, start-40):start]), "-----BEGIN ") {
		return 0, 0, false
	}
	rest := strings.TrimPrefix(t.s[end:], " BLOCK")
	rest = strings.TrimPrefix(rest, " block")
	if !strings.HasPrefix(rest, "-----") {
		return 0, 0, false
	}
	from = len(t.s) - len(rest) + len("-----")
	to = from + before(t.s[from:], "-----END")
	return from, to, strings.TrimSpace(t.s[from:to]) != ""
}

// piped finds VALUE in echo VALUE | sudo -S, and in echo user:VALUE | chpasswd.
func (t *text) piped(start, end int) (from, to int, ok bool) {
	s := t.s
	if strings.EqualFold(s[start:end], "sudo -") && (end >= len(s) || s[end] != 'S') {
		return 0, 0, false
	}
	floor := max(0, start-512)
	bar := strings.LastIndexByte(s[floor:start], '|')
	if bar < 0 || strings.TrimSpace(s[floor+bar+1:start]) != "" {
		return 0, 0, false
	}
	bar += floor
	echo := strings.LastIndex(s[floor:bar], "echo ")
	if echo < 0 || strings.ContainsAny(s[floor+echo:bar], ";&|\n") {
		return 0, 0, false
	}
	from = t.spaces(floor + echo + len("echo "))
	for from < bar && s[from] == '-' {
		from = t.spaces(from + t.run(from, bar-from, func(c byte) bool { return !isSpace(c) }))
	}
	to = from + len(strings.TrimRight(s[min(from, bar):bar], " \t\"'\\"))
	for from < to && strings.IndexByte("\"'\\", s[from]) >= 0 {
		from++
	}
	if !strings.EqualFold(s[start:end], "sudo -") {
		if colon := strings.IndexByte(s[from:max(from, to)], ':'); colon >= 0 {
			from += colon + 1
		}
	}
	return from, to, from < to && !refers(s[from:to])
}

// shape is a token that is known by how it begins and how long it is.
type shape struct {
	prefix   string // in its exact case
	min, max int    // bytes that follow
	in       func(byte) bool
}

func shapes() []shape {
	const many = 1 << 16
	return []shape{
		{"AKIA", 16, 16, isKeyID}, {"ASIA", 16, 16, isKeyID}, // Amazon
		{"ghp_", 36, many, isWord}, {"gho_", 36, many, isWord}, {"ghu_", 36, many, isWord}, {"ghs_", 36, many, isWord}, {"ghr_", 36, many, isWord},
		{"github_pat_", 22, many, isWord}, {"glpat-", 20, many, isToken}, {"gldt-", 20, many, isToken},
		{"xoxa-", 10, many, isToken}, {"xoxb-", 10, many, isToken}, {"xoxp-", 10, many, isToken}, {"xoxs-", 10, many, isToken}, {"xoxe-", 10, many, isToken},
		{"sk_live_", 16, many, isWord}, {"rk_live_", 16, many, isWord}, {"sk_test_", 16, many, isWord},
		{"AIza", 35, 35, isToken}, {"sk-", 32, many, isToken}, {"npm_", 36, many, isWord}, {"pypi-", 16, many, isToken},
		{"hvs.", 20, many, isToken}, {"hvb.", 20, many, isToken}, {"dop_v1_", 32, many, isWord}, {"SG.", 32, many, isNamed},
		{"dckr_pat_", 20, many, isToken}, {"AGE-SECRET-KEY-1", 50, many, isKeyID}, {"eyJ", 24, many, isNamed}, // JSON web tokens
	}
}

func (sh shape) find(t *text, start, end int) (from, to int, ok bool) {
	if t.s[start:end] != sh.prefix || start < t.walked[sh.prefix] || !t.apart(start) || start > 0 && t.s[start-1] == '-' && sh.prefix == "sk-" {
		return 0, 0, false
	}
	n := t.run(end, sh.max, sh.in)
	t.walked[sh.prefix] = end + n
	if n < sh.min || sh.prefix == "eyJ" && strings.Count(t.s[end:end+n], ".") < 2 {
		return 0, 0, false
	}
	if end+n < len(t.s) && isWord(t.s[end+n]) {
		return 0, 0, false
	}
	return start, end + n, true
}
