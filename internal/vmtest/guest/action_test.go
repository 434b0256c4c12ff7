// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"testing"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

func TestDeeds(t *testing.T) {
	t.Parallel()
	a := &Act{Dir: "/d", PID: 7}
	k := deed("kernel", "name", "DriverLoad", "does", "x", nil, `"A":1`, `"B":2`)
	other := upon("name", "PTraceDetected", "does", nil, `"A":1`)
	for name, c := range map[string]struct {
		kind Kind
		row  event.Row
		want bool
	}{
		"all said":      {k, &event.DeviceEvents{FolderPath: "/d/x", AdditionalFields: `{"A":1,"B":2}`}, true},
		"one said":      {k, &event.DeviceEvents{FolderPath: "/d/x", AdditionalFields: `{"A":1}`}, false},
		"other path":    {k, &event.DeviceEvents{FolderPath: "/d/y", AdditionalFields: `{"A":1,"B":2}`}, false},
		"other table":   {k, &event.DeviceFileEvents{FolderPath: "/d/x", AdditionalFields: `{"A":1,"B":2}`}, false},
		"other process": {other, &event.DeviceEvents{ProcessId: 8, AdditionalFields: `{"A":1}`}, true},
		"itself":        {other, &event.DeviceEvents{ProcessId: 7, AdditionalFields: `{"A":1}`}, false},
		"no process":    {other, &event.DeviceEvents{AdditionalFields: `{"A":1}`}, false},
	} {
		if got := c.kind.Match(a, c.row); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestMemoryKinds(t *testing.T) {
	t.Parallel()
	a := &Act{Dir: "/d"}
	for i, want := range []string{"/dev/mem", "/proc/kcore", "/d/hidden"} {
		for _, path := range []string{"/dev/mem", "/proc/kcore", "/d/hidden", ""} {
			r := &event.DeviceEvents{FolderPath: path, AdditionalFields: `{"Access":"Read"}`}
			if got := memoryKinds[i].Match(a, r); got != (path == want) {
				t.Errorf("%s: %q is %v", memoryKinds[i].Name, path, got)
			}
		}
		if !memoryKinds[i].Guest {
			t.Errorf("%s would be done on this host", memoryKinds[i].Name)
		}
	}
}

// What is done to a process beside must not leave it behind, not even stopped.
func TestBesideEnds(t *testing.T) {
	t.Parallel()
	var pid int
	if err := beside(&Act{Dir: t.TempDir()}, nil, func(p int) error {
		pid = p
		return unix.Kill(p, unix.SIGSTOP)
	}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}
