// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bytes"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestMain(m *testing.M) {
	if deed := os.Getenv(deedsVariable); deed != "" {
		doDeed(deed)
	}
	goleak.VerifyTestMain(m)
}

// offline is a collector without a kernel: records are handed to it.
type offline struct {
	*Collector
	rows  []event.Row
	ticks uint64 // of the records that a test makes
}

func newOffline(t testing.TB, paths logon.Paths) *offline {
	t.Helper()
	f := &offline{}
	var id int64
	o := Options{DeviceID: testDevice, Log: slog.New(slog.DiscardHandler), BootID: "7d444840-9dc0-11d1-b245-5ffdce74fad2",
		Sink:         func(r event.Row) bool { f.rows = append(f.rows, r); return true },
		NextReportID: func() int64 { id++; return id }}
	f.Collector = assemble(o, "host.test", newUsers("testdata/etc/passwd", "testdata/etc/group"), t.TempDir(), paths)
	f.clock.offset.Store(1_790_000_000_000_000_000)
	return f
}

// take returns the rows that came so far.
func (f *offline) take() []event.Row {
	f.runInbox()
	f.out.flush(true)
	rows := f.rows
	f.rows = nil
	return rows
}

// columns are the values of a row that are not null, by column.
func columns(row event.Row) map[string]any {
	out := map[string]any{"table": row.Table().Name}
	v := reflect.ValueOf(row).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsZero() {
			if l, ok := f.Interface().(event.Long); ok {
				out[v.Type().Field(i).Name] = l.Value
			} else {
				out[v.Type().Field(i).Name] = f.Interface()
			}
		}
	}
	return out
}

// golden compares a value with a file, or writes the file.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// captured returns the recorded ring records in their order.
func captured(t testing.TB) (names []string, records [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/records/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no records: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		names, records = append(names, filepath.Base(f)), append(records, b)
	}
	return names, records
}
