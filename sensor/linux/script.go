// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/command"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

const (
	maxScriptsTold = 8192
	sameLine       = 100e3 // ns between two records of one line: a file of two names is probed by each
)

// scripts is what the collector remembers of scripts and shells. Only the
// reader's goroutine touches it, but for the channel.
type scripts struct {
	ownMounts uint32                // mount namespace of the sensor
	shells    chan shellSeen        // for openShells
	seen      map[shellKey]bool     // shells that were handed over
	told      map[[32]byte]struct{} // heads that a row has told
	last      record.Line
}

func newScripts() *scripts {
	var st unix.Stat_t
	_ = unix.Stat("/proc/self/ns/mnt", &st) // 0: every process is looked at by its own root
	return &scripts{ownMounts: uint32(st.Ino), shells: make(chan shellSeen, 64), seen: map[shellKey]bool{}, told: map[[32]byte]struct{}{}}
}

// tells reports whether the policy in force wants a level.
func (c *Collector) tells(level string) bool {
	want := ""
	if c.o.ScriptContent != nil {
		want = c.o.ScriptContent()
	}
	return command.Wants(want, level)
}

// ranScript is a script file that a process was started to run.
type ranScript struct {
	command.Script
	interpreter, path string // as it was named
	img               *image
}

func (s *ranScript) image() *image {
	if s == nil {
		return nil
	}
	return s.img
}

// runsScript notes the script that an interpreter was told to run, nil where
// there is none.
func (c *Collector) runsScript(p *process, r *record.Exec, extra map[string]any) *ranScript {
	if !c.tells(command.ScriptHashes) || command.Interpreter(p.path) == "" && p.name != "busybox" {
		return nil
	}
	args := strings.Split(strings.TrimSuffix(string(r.Args), "\x00"), "\x00")
	interpreter, file := command.File(p.path, args)
	if file == "" {
		return nil
	}
	s := &ranScript{interpreter: interpreter, path: record.Clean(resolve(p.cwd, file))}
	extra["ScriptPath"] = s.path
	root := "/"
	if p.mntNS != 0 && p.mntNS != c.scripts.ownMounts {
		root = fmt.Sprintf("/proc/%d/root", p.key.pid)
	}
	wantsHead := c.tells(command.ScriptContent)
	found, ok := attempt(c.careful, func() *command.Script { return command.OpenScript(root, s.path, wantsHead) })
	if !ok || found == nil || isRemote(found.Part.Sup) {
		return s
	}
	s.Script = *found
	s.img = c.hash.get(s.Part, strings.TrimSuffix(root, "/")+found.Path, 0, started)
	return s
}

// tellScript tells the beginning of a script, once for each content.
func (c *Collector) tellScript(p *process, s *ranScript, at event.Time) {
	if s == nil || len(s.Head) == 0 || bytes.IndexByte(s.Head, 0) >= 0 {
		return
	}
	sum := sha256.Sum256(s.Head)
	if _, told := c.scripts.told[sum]; told {
		return
	}
	if len(c.scripts.told) >= maxScriptsTold {
		clear(c.scripts.told)
	}
	c.scripts.told[sum] = struct{}{}
	row := &event.DeviceEvents{Timestamp: at, ActionType: "ScriptContent"}
	c.plans.fill(row, c.describe(p))
	row.FileName, row.FolderPath, row.FileSize = baseName(s.path), s.path, int64(s.Part.Size)
	head := s.Head
	extra := map[string]any{"Interpreter": s.interpreter}
	if int(s.Part.Size) > len(head) {
		extra["Truncated"] = true
		for len(head) > 0 && !utf8.RuneStart(head[len(head)-1]) {
			head = head[:len(head)-1] // half a character
		}
	}
	c.setContent(extra, p, record.Clean(string(head)))
	row.AdditionalFields = toJSON(extra)
	c.out.push(row, s.img, p.img, true)
}

// setContent adds script text without its secrets.
func (c *Collector) setContent(extra map[string]any, p *process, text string) {
	text, rules := command.Text(c.redactor(), text)
	extra["ScriptContent"] = text
	if rules = append(rules, p.hiddenInLine...); len(rules) > 0 {
		extra["Redacted"] = rules
	}
}

// onLine tells what was typed into a shell.
func (c *Collector) onLine(r *record.Line) {
	p := c.actor(&r.Header)
	if p == nil || !c.tells(command.ScriptLines) || !command.Reads(p.path) {
		return // other programs read lines by the same library: they are no shells
	}
	last := &c.scripts.last
	if r.TID == last.TID && r.Source == last.Source && r.Text == last.Text && since(r.Time, last.Time) < sameLine {
		return
	}
	*last = *r
	text := r.Text
	if r.Source == record.LineZLE {
		text = command.Unmeta(text)
	}
	if text = strings.TrimRight(record.Clean(text), "\r\n"); text == "" && !r.Unreadable {
		return
	}
	row := &event.DeviceEvents{Timestamp: c.clock.time(r.Time), ActionType: "ScriptContent"}
	c.plans.fill(row, c.describe(p))
	extra := map[string]any{"Interpreter": command.Interpreter(p.path), "Interactive": true}
	if r.Cut {
		extra["Truncated"] = true
	}
	if r.Unreadable {
		extra["Unreadable"] = true
	}
	c.setContent(extra, p, text)
	row.AdditionalFields = toJSON(extra)
	c.out.push(row, nil, p.img, false)
}

// fillScript adds the hash of the script that a process runs.
func fillScript(row event.Row, s *image) {
	r, ok := row.(*event.DeviceProcessEvents)
	_, sum, _ := s.digests()
	if !ok || sum == "" {
		return
	}
	if rest, found := strings.CutSuffix(r.AdditionalFields, "}"); found {
		r.AdditionalFields = rest + `,"ScriptSha256":"` + sum + `"}`
	}
}
