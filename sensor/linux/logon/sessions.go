// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"bufio"
	"bytes"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const maxSessions = 4096

// sessions follows the folder in which systemd-logind keeps its sessions.
type sessions struct {
	dir  string
	open map[string]note // by session id
}

// found returns the sessions that are open already.
func (s *sessions) found() []note {
	s.open = s.read()
	var out []note
	for _, id := range slices.Sorted(maps.Keys(s.open)) {
		n := s.open[id]
		n.Action = Found
		out = append(out, n)
	}
	return out
}

// changes returns what came and went since the last look.
func (s *sessions) changes() []note {
	var out []note
	now := s.read()
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if _, ok := s.open[id]; !ok {
			out = append(out, now[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.open)) {
		if _, ok := now[id]; !ok {
			n := s.open[id]
			n.Action = Logoff
			out = append(out, n)
		}
	}
	s.open = now
	return out
}

func (s *sessions) read() map[string]note {
	out := map[string]note{}
	d, err := os.Open(s.dir)
	if err != nil {
		return out
	}
	defer d.Close()
	names, err := d.Readdirnames(maxSessions)
	if err != nil {
		return out
	}
	for _, id := range names {
		if strings.HasSuffix(id, ".ref") {
			continue
		}
		if n, ok := s.open[id]; ok { // what is taken from it does not change
			out[id] = n
			continue
		}
		if n, ok := parseSession(readSome(filepath.Join(s.dir, id), 64<<10)); ok {
			out[id] = n
		}
	}
	return out
}

// parseSession reads the file of one session. Greeters are no logons, and
// those of programs that tell of themselves are left to them.
func parseSession(b []byte) (note, bool) {
	v := keyValues(b)
	if v["USER"] == "" || strings.Contains(v["CLASS"], "greeter") || strings.Contains(v["CLASS"], "lock-screen") {
		return note{}, false
	}
	n := note{Fact: Fact{Action: Success, Program: service(v["SERVICE"]), User: v["USER"], TTY: v["TTY"]}}
	if takesOn(n.Program) {
		return note{}, false
	}
	if strings.HasPrefix(v["CLASS"], "manager") {
		n.Program = "systemd-user"
	}
	n.Type = kinds[n.Program]
	switch {
	case n.Program == "" || n.Type == "":
		n.Program, n.Type, n.loose = "login", "Interactive", true
		if v["REMOTE"] == "1" {
			n.Program, n.Type = "sshd", "RemoteInteractive"
		}
	case v["CLASS"] == "background" && n.Type == "Interactive":
		n.Type = "Batch"
	}
	if a, err := netip.ParseAddr(v["REMOTE_HOST"]); err == nil {
		n.Remote = a.Unmap().WithZone("")
	} else {
		n.Host = v["REMOTE_HOST"]
	}
	if pid, err := strconv.ParseUint(v["LEADER"], 10, 32); err == nil {
		n.PID = uint32(pid)
	}
	if id, err := strconv.ParseUint(v["AUDIT"], 10, 32); err == nil && id != noSession {
		n.Session = uint32(id)
	}
	n.complete()
	return n, true
}

// noSession is the audit session of a process that has none.
const noSession = 1<<32 - 1

// keyValues reads lines KEY=value, the value bare or in quotes.
func keyValues(b []byte) map[string]string {
	out := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if !ok || key == "" || key[0] == '#' {
			continue
		}
		if s, err := strconv.Unquote(value); err == nil {
			value = s
		}
		out[key] = record.Clean(strings.Trim(value, `'"`))
	}
	return out
}

// readSome reads at most n bytes of a file; what cannot be read is empty.
func readSome(name string, n int64) []byte { return procfs.ReadSome(name, n) }
