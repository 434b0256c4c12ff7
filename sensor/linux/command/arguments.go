// SPDX-License-Identifier: Apache-2.0

//go:build linux

package command

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/record"
	"github.com/picket-edr/picket/sensor/redact"
)

// Redactor hides secrets.
type Redactor = redact.Redactor

// Builtin returns a redactor with no rules but the built-in ones.
func Builtin() *Redactor {
	r, _ := redact.New(redact.Policy{}, nil) // fails on rules of a policy alone
	return r
}

// Line joins arguments to a command line without secrets, and names the rules
// that found some.
func Line(r *Redactor, args []byte) (line string, rules []string) {
	return r.Text(redact.CommandLine, record.CommandLine(args))
}

// Text is the text of a script without secrets, with the rules that found some.
func Text(r *Redactor, script string) (text string, rules []string) {
	return r.Text(redact.Script, script)
}

// Environment picks the kept variables of an environment, without secrets, as
// a JSON object, with the address that its session comes from and the rules
// that found secrets.
func Environment(r *Redactor, env []byte) (object, remoteIP string, rules []string) {
	object, remoteIP = environment(env, func(value string) string {
		value, found := r.Text(redact.Environment, value)
		rules = append(rules, found...)
		return value
	})
	return object, remoteIP, rules
}

// keptVariables are the variables of an environment that tell how a program
// was brought to run or where its traffic goes. All others, which may hold
// secrets, are never taken along.
var keptVariables = []string{
	"ALL_PROXY", "BASH_ENV", "ENV", "GCONV_PATH", "HISTCONTROL", "HISTFILE", "HISTFILESIZE", "HISTSIZE",
	"HTTPS_PROXY", "HTTP_PROXY", "LD_AUDIT", "LD_LIBRARY_PATH", "LD_PRELOAD", "NODE_OPTIONS", "PATH",
	"PERL5LIB", "PERL5OPT", "PROMPT_COMMAND", "PYTHONPATH", "PYTHONSTARTUP", "RUBYOPT",
	"SSH_CLIENT", "SSH_CONNECTION", "SSH_ORIGINAL_COMMAND", "SSH_TTY", "SUDO_COMMAND", "SUDO_UID", "SUDO_USER",
	"all_proxy", "http_proxy", "https_proxy",
}

const maxVariable = 1024

// environment picks the kept variables out of NUL-separated text and returns
// them as a JSON object, with the address that SSH_CONNECTION names. Their
// values go through hide.
func environment(env []byte, hide func(string) string) (object, remoteIP string) {
	kept := map[string]string{}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		i := bytes.IndexByte(v, '=')
		if i <= 0 {
			continue
		}
		name := string(v[:i])
		if _, ok := slices.BinarySearch(keptVariables, name); !ok {
			continue
		}
		value := record.Clean(string(v[i+1 : min(len(v), i+1+maxVariable)]))
		switch {
		case name == "PATH" && !oddPath(value):
			continue
		case strings.HasSuffix(strings.ToLower(name), "_proxy"):
			value = withoutPassword(value)
		case name == "SSH_CONNECTION":
			remoteIP = firstAddress(value)
		}
		kept[name] = hide(value)
	}
	return JSON(kept), remoteIP
}

// oddPath reports whether a search path has an entry that an ordinary one has
// not: a relative folder or one that everybody can write to.
func oddPath(value string) bool {
	for dir := range strings.SplitSeq(value, ":") {
		if !strings.HasPrefix(dir, "/") {
			return true
		}
		for _, shared := range []string{"/tmp", "/var/tmp", "/dev/shm", "/run"} {
			if dir == shared || strings.HasPrefix(dir, shared+"/") {
				return true
			}
		}
	}
	return false
}

func withoutPassword(value string) string {
	u, err := url.Parse(value)
	if err != nil {
		return ""
	}
	return u.Redacted()
}

func firstAddress(value string) string {
	first, _, _ := strings.Cut(value, " ")
	first, _, _ = strings.Cut(first, "%")
	a, err := netip.ParseAddr(first)
	if err != nil {
		return ""
	}
	return a.Unmap().String()
}

// JSON encodes a map, "" when it is empty.
func JSON[V any](m map[string]V) string {
	if len(m) == 0 {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(m) != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}
