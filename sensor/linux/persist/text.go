// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/picket-edr/picket/sensor/redact"
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

// hidden stands where a secret was.
const hidden = redact.Marker

// shapes are secrets as configuration holds them and command lines do not. The
// first group is kept, the second is what must not be seen.
var shapes = []struct {
	hint string // in every line with one, in lower case
	re   *regexp.Regexp
}{
	{"auth", regexp.MustCompile(`(?i)("auth["']\s*:\s*"?)([^\s"']+)`)},
	{"wpa-", regexp.MustCompile(`(?i)(\bwpa-(?:psk|passphrase|password)\s+)(\S+)`)},
	{"pass", regexp.MustCompile(`(?i)^(\s*(?:requirepass|password|passwd)\s+)("[^"]*"?|\S+)$`)},
	{"pw ", regexp.MustCompile(`(?i)^(\s*(?:bindpw|rootbindpw)\s+)(\S+)`)},
	{"$", regexp.MustCompile(`()(\$(?:1|2[abxy]?|5|6|7|y|gy|argon2[id]*)\$[^\s:"']{8,})`)},
}

// armour is a line of the body of a key or of anything else in base64.
var armour = regexp.MustCompile(`^[A-Za-z0-9+/=_-]{40,}$`)

// isPath tells a long path from base64, which has slashes too.
func isPath(s string) bool { return s[0] == '/' && strings.Count(s, "/") > 2 }

// redact takes secrets out of a line.
func (t *Tracker) redact(s string) string {
	if strings.Contains(s, "PRIVATE KEY-----") || armour.MatchString(s) && !isPath(s) {
		return hidden
	}
	low := strings.ToLower(s)
	for _, k := range shapes {
		if strings.Contains(low, k.hint) {
			s = k.re.ReplaceAllString(s, "${1}"+hidden)
		}
	}
	return t.hide(s)
}
