// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// textLines splits text into trimmed lines that are not empty.
func textLines(_ string, b []byte) []string {
	var out []string
	for line := range strings.Lines(string(b)) {
		if line = oneLine(line); line == "" {
			continue
		}
		if len(out) == maxItems {
			break
		}
		out = append(out, cut(line, maxItem))
	}
	return out
}

// words are the lines that say something: no comments.
func words(b []byte) []string {
	var out []string
	for _, line := range textLines("", b) {
		if line[0] != '#' && line[0] != ';' {
			out = append(out, line)
		}
	}
	return out
}

// oneLine makes text fit for an item: valid, without line ends.
func oneLine(s string) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "\uFFFD")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// cut bounds text to n bytes, at the end of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// isPath tells a long path from base64, which has slashes too.
func isPath(s string) bool { return s[0] == '/' && strings.Count(s, "/") > 2 }

const hidden = "***"

// secret is a shape in which configuration holds one. The first group is kept,
// the second is what must not be seen.
type secret struct {
	hints []string // one of them is in every line with it, in lower case
	shape *regexp.Regexp
	after string // what follows in the shape
}

var secrets = []secret{
	{[]string{"pass", "pwd", "secret", "token", "key", "credential", "psk"}, regexp.MustCompile(
		`(?i)([\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|api_?-?key|access_?-?key|private_?-?key|credentials?|auth_?key|psk)[\w.-]*["']?\s*[=:]\s*)("[^"]*"?|'[^']*'?|[^\s"']+)`), ""},
	{[]string{"-pass", "-token", "-secret", "-api"}, regexp.MustCompile(`(?i)(--?(?:password|passwd|pass|token|secret|api-?key)[ =])("[^"]*"?|'[^']*'?|[^\s"']+)`), ""},
	{[]string{"authorization"}, regexp.MustCompile(`(?i)(authorization["']?\s*[:=]\s*["']?(?:basic|bearer|token)?\s*)([^\s"']+)`), ""},
	{[]string{"://"}, regexp.MustCompile(`(\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)@`), "@"},
	{[]string{"curl"}, regexp.MustCompile(`(\bcurl\b.*\s-u\s*["']?[^\s:"']+:)([^\s"']+)`), ""},
	{[]string{"auth"}, regexp.MustCompile(`(?i)("auth["']\s*:\s*)("[^"]*"?|[^\s"']+)`), ""},
	{[]string{"wpa-"}, regexp.MustCompile(`(?i)(\bwpa-(?:psk|passphrase|password)\s+)(\S+)`), ""},
	{[]string{"mysql", "mariadb"}, regexp.MustCompile(`(\b(?:mysql|mysqldump|mysqladmin|mariadb)\b.*\s-p)([^\s]+)`), ""},
	{[]string{"sshpass"}, regexp.MustCompile(`(\bsshpass\s+-p\s*)(\S+)`), ""},
	{[]string{"$"}, regexp.MustCompile(`()(\$(?:1|2[abxy]?|5|6|7|y|gy|argon2[id]*)\$[^\s:"']{8,})`), ""},
	{[]string{"akia", "asia", "gh", "glpat-", "xox", "sk_"}, regexp.MustCompile(`()\b((?:AKIA|ASIA|ghp_|gho_|ghs_|github_pat_|glpat-|xox[abp]-|sk_live_)[A-Za-z0-9_-]{12,})`), ""},
}

// armour is a line of the body of a key or of anything else in base64.
var armour = regexp.MustCompile(`^[A-Za-z0-9+/=_-]{40,}$`)

// redact takes secrets out of a line.
func redact(s string) string {
	if strings.Contains(s, "PRIVATE KEY-----") || armour.MatchString(s) && !isPath(s) {
		return hidden
	}
	low := strings.ToLower(s)
	for _, k := range secrets {
		if slices.ContainsFunc(k.hints, func(hint string) bool { return strings.Contains(low, hint) }) {
			s = k.shape.ReplaceAllString(s, "${1}"+hidden+k.after)
		}
	}
	return s
}
