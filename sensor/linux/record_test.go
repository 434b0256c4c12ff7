// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/container"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
)

func TestDecodeCapturedRecords(t *testing.T) {
	t.Parallel()
	names, records := captured(t)
	out := map[string]string{}
	for i, b := range records {
		rec, err := record.Decode(b)
		if err != nil {
			t.Errorf("%s: %v", names[i], err)
			continue
		}
		out[names[i]] = fmt.Sprintf("%+v", rec)
	}
	golden(t, "records.json", out)
}

// Every cut of a record is refused or decoded, never a fault, and a record
// that says it is longer than it is is refused.
func TestDecodeRefusesCutRecords(t *testing.T) {
	t.Parallel()
	names, records := captured(t)
	for i, b := range records {
		for n := range b {
			if _, err := record.Decode(b[:n]); err == nil {
				t.Errorf("%s cut to %d of %d bytes was accepted", names[i], n, len(b))
				break
			}
		}
		longer := append([]byte(nil), b...)
		binary.LittleEndian.PutUint32(longer[4:], uint32(len(b)+1))
		if _, err := record.Decode(longer); !errors.Is(err, record.ErrShort) {
			t.Errorf("%s with a length beyond its end: %v", names[i], err)
		}
		padded := append(append([]byte(nil), b...), make([]byte, 64)...)
		if _, err := record.Decode(padded); err != nil {
			t.Errorf("%s with room behind it: %v", names[i], err)
		}
		unknown := append([]byte(nil), b...)
		unknown[0] = 200
		if _, err := record.Decode(unknown); !errors.Is(err, record.ErrUnknown) {
			t.Errorf("%s of an unknown kind: %v", names[i], err)
		}
	}
}

func TestDecodeKeepsNoMemory(t *testing.T) {
	t.Parallel()
	_, records := captured(t)
	for _, b := range records {
		b = append([]byte(nil), b...)
		rec, err := record.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		before := fmt.Sprintf("%+v", rec)
		for i := range b {
			b[i] = 0xff
		}
		if after := fmt.Sprintf("%+v", rec); after != before {
			t.Errorf("the record changed with the ring:\n%s\n%s", before, after)
		}
	}
}

func TestRowsOfCapturedRecords(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	_, records := captured(t)
	for _, b := range records {
		f.handle(b)
	}
	var out []map[string]any
	for _, row := range f.take() {
		out = append(out, columns(row))
	}
	golden(t, "rows.json", out)
	if lost := f.lost.copy(); lost["Decode"] != 0 {
		t.Errorf("lost %v", lost)
	}
}

// What arrives in the rings is not trusted: no bytes may bring the reader
// down or make a row that the event model cannot hold.
func FuzzHandle(f *testing.F) {
	_, records := captured(f)
	for _, b := range records {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o := newOffline(t, logon.Paths{})
		o.handle(b)
		var builder event.Builder
		for _, row := range o.take() {
			builder.Add(row)
		}
		for _, block := range builder.Take() {
			row := event.NewRow(block.Name)
			block.Decode(0, row)
		}
	})
}

// All columns that describe the acting process exist in every table and are
// copied: a name that the schema drops would go missing silently.
func TestPlansCoverEveryTable(t *testing.T) {
	t.Parallel()
	c := newOffline(t, logon.Paths{})
	a := &initiating{}
	p := c.cache.add(42, 4200, c.cache.add(7, 700, nil))
	p.name, p.path, p.cmdline, p.cwd, p.tty, p.caps, p.size = "n", "/p/n", "n x", "/w", "pts/1", 5, 9
	p.parentName, p.remoteIP, p.sid, p.container, p.cgroup = "par", "192.0.2.1", 3, "c", "/g"
	p.box = &container.Info{Told: true, ID: "c", Name: "web", Runtime: "docker", Image: "img", ImageDigest: "sha256:1", PodName: "p", PodNamespace: "n", PodUID: "u", Labels: `{"a":"b"}`}
	p.mntNS, p.pidNS, p.netNS, p.usrNS = 1, 2, 3, 4
	*a = *c.describe(p)
	want := columns(rowOf(c, &event.DeviceProcessEvents{}, a))
	if len(want) < 30 {
		t.Fatalf("only %d columns: %v", len(want), want)
	}
	for _, row := range []event.Row{&event.DeviceFileEvents{}, &event.DeviceNetworkEvents{}, &event.DeviceLogonEvents{}, &event.DeviceEvents{}} {
		got := columns(rowOf(c, row, a))
		delete(got, "table")
		reference := columns(rowOf(c, &event.DeviceProcessEvents{}, a))
		delete(reference, "table")
		if diff := cmp.Diff(reference, got); diff != "" {
			t.Errorf("%s: %s", row.Table().Name, diff)
		}
	}
}

func rowOf(c *offline, row event.Row, a *initiating) event.Row {
	c.plans.fill(row, a)
	return row
}
