// SPDX-License-Identifier: Apache-2.0

package event

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/schema"
)

// filler puts drawn values into every field of a row.
type filler struct{ t *rapid.T }

func (f filler) text(_ int, p *string)  { *p = rapid.String().Draw(f.t, "text") }
func (f filler) number(_ int, p *int64) { *p = rapid.Int64().Draw(f.t, "number") }
func (f filler) time(_ int, p *Time)    { *p = Time(rapid.Int64().Draw(f.t, "time")) }
func (f filler) flag(_ int, p *bool)    { *p = rapid.Bool().Draw(f.t, "flag") }
func (f filler) real(_ int, p *float64) { *p = rapid.Float64().Draw(f.t, "real") }
func (f filler) optional(_ int, p *Long) {
	if rapid.Bool().Draw(f.t, "valid") {
		*p = LongOf(rapid.Int64().Draw(f.t, "optional"))
	}
}

var allTables = []string{
	"DeviceProcessEvents", "DeviceFileEvents", "DeviceNetworkEvents", "DeviceRegistryEvents", "DeviceLogonEvents",
	"DeviceImageLoadEvents", "DeviceEvents", "DeviceInfo", "DeviceNetworkInfo", "DeviceFileCertificateInfo",
}

func TestRowsPassOneByOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var rows []Row
		var data []byte
		for range rapid.IntRange(0, 3).Draw(t, "rows") {
			row := NewRow(rapid.SampledFrom(allTables).Draw(t, "table"))
			row.visit(filler{t})
			rows = append(rows, row)
			data = AppendRow(data, row)
		}
		rest := string(data)
		for i, want := range rows {
			got, after, err := ReadRow(rest)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("row %d: %s", i, d)
			}
			rest = after
		}
		if rest != "" {
			t.Fatalf("%d bytes are left", len(rest))
		}
	})
}

func TestReadRowRefuses(t *testing.T) {
	t.Parallel()
	_, rows := sample()
	whole := string(AppendRow(nil, rows[0]))
	bad := map[string]string{
		"empty": "", "unknown table": "\x03abc\x00", "no end": whole[:len(whole)-1], "cut": whole[:len(whole)/2],
		"unknown field": "\x0cDeviceEvents\xff\x7f\x00", "twice": "\x0cDeviceEvents\x01\x02\x01\x02\x00", "long text": "\x0cDeviceEvents\x02\xff\xff\xff\x7f",
	}
	for name, data := range bad {
		if _, _, err := ReadRow(data); !errors.Is(err, picket.Invalid) && !errors.Is(err, picket.TooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadRow(f *testing.F) {
	_, rows := sample()
	for _, r := range rows {
		f.Add(string(AppendRow(nil, r)))
	}
	f.Fuzz(func(t *testing.T, data string) {
		row, rest, err := ReadRow(data)
		if err != nil {
			return
		}
		if len(rest) >= len(data) {
			t.Fatal("nothing was read")
		}
		if _, _, err := ReadRow(string(AppendRow(nil, row))); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, name := range allTables {
		row := NewRow(name)
		if Number(row, 42); schema.Lookup(name).Column("ReportId") == nil {
			t.Errorf("%s has no report id", name)
		}
		var b Builder
		b.Add(row)
		if got := b.Take()[0].Int("ReportId", 0); got != 42 {
			t.Errorf("%s: report id %d", name, got)
		}
	}
}
