// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/command"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// atLevel is a collector that tells of scripts as a policy wants, and hashes.
func atLevel(t *testing.T, level string) *offline {
	c := newOffline(t, logon.Paths{})
	c.o.ScriptContent = func() string { return level }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		c.hash.run(ctx, false)
		close(done)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

func writeScript(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestScriptsOfProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const text = "#!/bin/sh\nexport TOKEN=geheim\n"
	writeScript(t, filepath.Join(dir, "x.sh"), text)
	link := filepath.Join(dir, "y.sh")
	if err := os.Symlink("x.sh", link); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	want := `{"ScriptPath":"` + link + `","ScriptSha256":"` + hex.EncodeToString(sum[:]) + `"}`
	for level, rows := range map[string]int{command.ScriptOff: 1, command.ScriptHashes: 1, command.ScriptLines: 1, command.ScriptContent: 2} {
		c := atLevel(t, level)
		start := func(pid uint32) []event.Row {
			r := ran(pid, 1, "sh|-e|y.sh", "")
			r.Exe, r.Cwd = "/bin/sh", dir
			c.onExec(r)
			for !c.out.idle() {
				c.out.flush(false) // until the hash is there
			}
			return c.take()
		}
		got := start(4000021)
		if len(got) != rows {
			t.Fatalf("%s: %d rows, want %d", level, len(got), rows)
		}
		extra := got[0].(*event.DeviceProcessEvents).AdditionalFields
		if level == command.ScriptOff && extra != "" || level != command.ScriptOff && extra != want {
			t.Errorf("%s: %s\nwant %s", level, extra, want)
		}
		if rows > 1 {
			r := got[1].(*event.DeviceEvents)
			if r.ActionType != "ScriptContent" || r.FolderPath != link || r.FileSize != int64(len(text)) || r.SHA256 != hex.EncodeToString(sum[:]) ||
				r.AdditionalFields != `{"Interpreter":"sh","Redacted":["named-secret"],"ScriptContent":"#!/bin/sh\nexport TOKEN=[redacted]\n"}` {
				t.Errorf("content: %v", columns(r))
			}
			if again := start(4000022); len(again) != 1 {
				t.Errorf("the same content is told twice: %d rows", len(again))
			}
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	c := atLevel(t, command.ScriptLines)
	for pid, exe := range map[uint32]string{4000031: "/bin/bash", 4000032: "/usr/bin/zsh", 4000033: "/usr/bin/psql"} {
		r := ran(pid, 1, exe, "")
		r.Exe = exe
		c.onExec(r)
	}
	c.take()
	line := func(pid uint32, at uint64, source uint32, text string) {
		c.onLine(&record.Line{Header: record.Header{PID: pid, TID: pid, Start: uint64(pid) * 1e9, Time: uint64(pid)*1e9 + at}, Source: source, Text: text})
	}
	line(4000031, 1e6, record.LineReadline, "mysql -pgeheim | tee x")
	line(4000031, 1e6+5e4, record.LineReadline, "mysql -pgeheim | tee x") // by another name of the same file
	line(4000031, 9e9, record.LineReadline, "mysql -pgeheim | tee x")
	line(4000032, 1e9, record.LineZLE, "echo \x83\xa3\xc3\x83\x89\n") // é is kept as it is not in memory
	line(4000032, 2e9, record.LineZLE, "\n")
	line(4000033, 1e9, record.LineReadline, "select 1")
	var got []string
	for _, row := range c.take() {
		r := row.(*event.DeviceEvents)
		got = append(got, r.InitiatingProcessFileName+" "+r.AdditionalFields)
	}
	secret := `bash {"Interactive":true,"Interpreter":"bash","Redacted":["program-password"],"ScriptContent":"mysql -p[redacted] | tee x"}`
	want := []string{secret, secret}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || !strings.HasPrefix(got[2], `zsh {"Interactive":true,"Interpreter":"zsh","ScriptContent":"echo `) {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
	for _, level := range []string{command.ScriptOff, command.ScriptHashes} {
		c.o.ScriptContent = func() string { return level }
		line(4000031, 20e9, record.LineReadline, "id")
		if rows := c.take(); len(rows) != 0 {
			t.Errorf("%s: %d rows", level, len(rows))
		}
	}
}

func TestShellsAreHandedOverOnce(t *testing.T) {
	t.Parallel()
	s := newScripts()
	p := &process{path: "/bin/bash", key: procKey{pid: 7}}
	for range 3 {
		s.sawShell(p, record.ImagePart{Ino: 1, Dev: 2})
	}
	s.sawShell(p, record.ImagePart{Ino: 2, Dev: 2}) // after an upgrade
	s.sawShell(p, record.ImagePart{})
	s.sawShell(&process{path: "/bin/dash"}, record.ImagePart{Ino: 3})
	if n := len(s.shells); n != 2 {
		t.Errorf("%d shells", n)
	}
	for ino := range uint64(2 * maxShellsSeen) { // nobody takes them
		s.sawShell(p, record.ImagePart{Ino: 100 + ino})
	}
	if len(s.shells) != cap(s.shells) || len(s.seen) > maxShellsSeen {
		t.Errorf("%d wait, %d seen", len(s.shells), len(s.seen))
	}
}
