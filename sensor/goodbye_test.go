// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sensor

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picket-edr/picket"
)

// place writes a file of a host below root.
func place(t *testing.T, root, path string, content []byte) {
	t.Helper()
	path = filepath.Join(root, path)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, content, 0o644))
}

// levels is utmp with records of runlevels among others.
func levels(size int, all ...byte) []byte {
	var b []byte
	for _, l := range all {
		boot, level := make([]byte, size), make([]byte, size)
		binary.LittleEndian.PutUint16(boot, 2)
		boot[4] = '0'
		binary.LittleEndian.PutUint16(level, utmpRunlevel)
		level[4], level[5] = l, 'N'
		b = append(append(b, boot...), level...)
	}
	return b
}

func TestHostStops(t *testing.T) {
	t.Parallel()
	now := time.UnixMicro(1_772_600_000_000_000)
	schedule := func(in time.Duration) []byte {
		return fmt.Appendf(nil, "USEC=%d\nWARN_WALL=1\nMODE=poweroff\n", now.Add(in).UnixMicro())
	}
	for _, c := range []struct {
		name, path string
		content    []byte
		want       bool
	}{
		{"nothing", "run/other", nil, false},
		{"no logons any more", "run/nologin", []byte("System is going down."), true},
		{"shutdown is due", "run/systemd/shutdown/scheduled", schedule(0), true},
		{"shutdown within the hour", "run/systemd/shutdown/scheduled", schedule(time.Hour), false},
		{"schedule without a time", "run/systemd/shutdown/scheduled", []byte("USEC=soon\n"), false},
		{"runlevel 5", "run/utmp", levels(utmpRecord, '0', '5'), false},
		{"halt", "run/utmp", levels(utmpRecord, '5', '0'), true},
		{"reboot", "run/utmp", levels(utmpRecord64, '5', '6'), true},
		{"a cut record", "run/utmp", levels(utmpRecord, '0')[:500], false},
	} {
		root := t.TempDir()
		place(t, root, c.path, c.content)
		if got := hostStops(root, now); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestFarewells(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	h.o.Root = t.TempDir()
	said := 0
	run := func(before func(), want picket.Farewell) {
		t.Helper()
		h.start()
		h.connected()
		before()
		h.stop()
		said++
		h.g.await(fmt.Sprint("farewell ", said), func() bool { return len(h.g.farewells) == said && h.g.farewells[said-1] == string(want) })
	}
	must(t, announceFarewell(h.dir, picket.FarewellUninstall)) // for a run that was gone already
	run(func() {}, picket.FarewellStop)
	run(func() { must(t, announceFarewell(h.dir, picket.FarewellUpgrade)) }, picket.FarewellUpgrade)
	run(func() { must(t, announceFarewell(h.dir, "nonsense")) }, picket.FarewellStop)
	run(func() { place(t, h.o.Root, "run/nologin", nil) }, picket.FarewellShutdown)
	run(func() { must(t, announceFarewell(h.dir, picket.FarewellUninstall)) }, picket.FarewellUninstall)
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	for _, hello := range h.g.hellos {
		if hello.PreviousStop != "clean" || hello.Clock == nil {
			t.Errorf("hello says %q, %v", hello.PreviousStop, hello.Clock)
		}
	}
	must(t, announceFarewell(filepath.Join(h.dir, "nowhere"), picket.FarewellStop))
	if err := announceFarewell(filepath.Join(h.dir, "identity"), picket.FarewellStop); err == nil {
		t.Error("a file is no data folder")
	}
}

func FuzzShutdownFiles(f *testing.F) {
	f.Add([]byte("USEC=1772600000000000\nMODE=reboot\n"))
	f.Add(levels(utmpRecord, '5', '6'))
	f.Add([]byte("USEC=-1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if due, ok := scheduledShutdown(b); ok && due.UnixMicro() <= 0 {
			t.Errorf("due at %v", due)
		}
		runlevel(b)
	})
}
