// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestInstallAndUninstall(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	i := &Installation{Root: root, Program: "/usr/local/bin/picket-sensor", Config: "/etc/picket/sensor.yaml", Data: "/var/lib/picket-sensor"}
	must(t, i.Install([]byte("proxy: direct\n")))
	must(t, i.Install([]byte("proxy: auto\n"))) // again: the configuration stays
	modes := map[string]os.FileMode{i.Program: 0o755, i.Config: 0o600, unitPath: 0o644, i.Data: 0o700 | os.ModeDir}
	for path, mode := range modes {
		info, err := os.Stat(filepath.Join(root, path))
		must(t, err)
		equal(t, mode, info.Mode())
	}
	self, err := os.Executable()
	must(t, err)
	a, err := os.ReadFile(self)
	must(t, err)
	b, err := os.ReadFile(filepath.Join(root, i.Program))
	must(t, err)
	if string(a) != string(b) {
		t.Error("the program is not a copy")
	}
	config, err := os.ReadFile(filepath.Join(root, i.Config))
	must(t, err)
	equal(t, "proxy: direct\n", string(config))
	if started, err := i.Start(t.Context()); started || err != nil {
		t.Errorf("started below another root: %v, %v", started, err)
	}

	removed, err := i.Uninstall(t.Context(), true)
	must(t, err)
	equal(t, []string{unitPath, i.Config, i.Program}, removed)
	removed, err = i.Uninstall(t.Context(), false)
	must(t, err)
	equal(t, []string{i.Data}, removed)
	removed, err = i.Uninstall(t.Context(), false)
	must(t, err)
	equal(t, 0, len(removed))
}

func TestUninstallOfARunningSensor(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	h.start()
	i := &Installation{Program: "/nonexistent/picket-sensor", Config: "/nonexistent/sensor.yaml", Data: h.dir}
	if i.onThisHost() {
		h.stop()
		t.Skip("systemd runs here: the test would touch its services")
	}
	if removed, err := i.Uninstall(t.Context(), false); err == nil || len(removed) > 0 {
		t.Errorf("removed %v from under a running sensor: %v", removed, err)
	}
	h.stop()
}

func TestUnit(t *testing.T) {
	t.Parallel()
	i := &Installation{Program: "/usr/local/bin/picket-sensor", Config: "/etc/picket/sensor.yaml", Data: "/var/lib/picket-sensor"}
	golden := filepath.Join("testdata", UnitName)
	if *update {
		must(t, os.WriteFile(golden, []byte(i.Unit()), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	equal(t, string(want), i.Unit())
	odd := &Installation{Program: `/opt/a b/50%/$x`, Config: `/etc/q"uote`, Data: "/var/lib/x"}
	for _, line := range []string{`ExecStart="/opt/a b/50%%/$$x" --config "/etc/q\"uote" --data /var/lib/x run`} {
		if !strings.Contains(odd.Unit(), line) {
			t.Errorf("no line %s in\n%s", line, odd.Unit())
		}
	}
}

// TestUnitIsSound lets systemd itself read the unit and judge its exposure.
func TestUnitIsSound(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "picket-sensor")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755))
	unit := filepath.Join(dir, UnitName)
	i := &Installation{Program: program, Config: "/etc/picket/sensor.yaml", Data: "/var/lib/picket-sensor"}
	must(t, os.WriteFile(unit, []byte(i.Unit()), 0o644))
	out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
	if err != nil || strings.Contains(string(out), UnitName) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err = exec.Command(analyze, "security", "--offline=yes", "--threshold=36", "--no-pager", unit).CombinedOutput()
	if err != nil {
		t.Errorf("exposure above 3.6: %v\n%s", err, out)
	}
}

// TestNotesAreDocumented keeps docs/sensor-events.md true.
func TestNotesAreDocumented(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Agent-health events of the sensor

The sensor writes these events to its log on standard error, which systemd keeps in the journal, with the number as
` + "`event_id`" + `. It mirrors them to the server with its next report; a device's page shows them. Numbers below 200 have the meaning
of the same numbers in the SENSE event log, as far as they make sense here. Rewrite this page with
` + "`go test ./sensor -run TestNotesAreDocumented -update`" + `.

| Event | Level | Meaning | What to do |
|---|---|---|---|
`)
	for _, k := range NoteKinds {
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", k.ID, k.Level, k.Meaning, k.Action)
	}
	page := filepath.Join("..", "docs", "sensor-events.md")
	if *update {
		must(t, os.WriteFile(page, []byte(b.String()), 0o644))
	}
	got, err := os.ReadFile(page)
	must(t, err)
	equal(t, b.String(), string(got))
}
