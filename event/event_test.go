// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/schema"
)

var update = flag.Bool("update", false, "rewrite golden files")

// sample is a batch with rows of several tables, nulls, and zero as a value.
func sample() (*Batch, []Row) {
	rows := []Row{
		&DeviceProcessEvents{Timestamp: 1764000000000001, ActionType: "ProcessCreated", FileName: "curl", FolderPath: "/usr/bin/curl", ProcessId: 4711, ProcessUserId: LongOf(0), ReportId: 1, ProcessCommandLine: "curl -s http://127.0.0.1/"},
		&DeviceProcessEvents{Timestamp: 1764000000000002, ActionType: "ProcessExited", FileName: "curl", ProcessId: 4711, ProcessExitCode: LongOf(0), ReportId: 3, IsFileless: true},
		&DeviceNetworkEvents{Timestamp: 1764000000000003, ActionType: "ConnectionFailed", RemoteIP: "127.0.0.1", RemotePort: 80, ErrorCode: 111, ReportId: 2},
		&DeviceEvents{Timestamp: 1764000000000004, ActionType: "DnsQueryResponse", DnsQueryName: "bücher.example", DnsAnswers: `["192.0.2.1"]`, ReportId: 4},
	}
	var b Builder
	for _, r := range rows {
		b.Add(r)
	}
	return &Batch{BootID: "b7f1", Seq: 7, Prev: HashOf([]byte("x")), Created: 1764000000000005, Blocks: b.Take()}, rows
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	batch, rows := sample()
	payload, err := batch.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(payload, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(batch, got, cmp.Comparer(func(a, b *schema.Table) bool { return a == b })); d != "" {
		t.Error(d)
	}
	next := map[string]int{}
	for _, want := range rows {
		name := want.Table().Name
		for _, blk := range got.Blocks {
			if blk.Name != name {
				continue
			}
			row := NewRow(name)
			blk.Decode(next[name], row)
			if d := cmp.Diff(want, row); d != "" {
				t.Errorf("%s row %d: %s", name, next[name], d)
			}
			next[name]++
		}
	}
}

// TestOldDataStaysReadable decodes a batch written by the first version.
func TestOldDataStaysReadable(t *testing.T) {
	t.Parallel()
	const path = "testdata/v1.batch"
	batch, _ := sample()
	if *update {
		payload, err := batch.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, payload, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	payload, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(payload, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(batch, got, cmp.Comparer(func(a, b *schema.Table) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestUnknownTableAndColumnAreKept(t *testing.T) {
	t.Parallel()
	in := &Batch{BootID: "b", Seq: 1, Blocks: []*Block{
		{Name: "DeviceFutureEvents", Rows: 2, Columns: []Column{{Name: "Colour", Type: schema.String, Strings: []string{"red", ""}}}},
		{Name: "DeviceFileEvents", Rows: 1, Columns: []Column{{Name: "Entropy", Type: schema.Real, Reals: []float64{7.5}}}},
	}}
	payload, err := in.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := Decode(payload, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.Blocks[0].Text("Colour", 0); got != "red" || out.Blocks[0].Table != nil {
		t.Errorf("unknown table: got %q, table %v", got, out.Blocks[0].Table)
	}
	if got := out.Blocks[1].Text("Entropy", 0); got != "7.5" {
		t.Errorf("unknown column: got %q", got)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	batch, _ := sample()
	payload, err := batch.Encode()
	if err != nil {
		t.Fatal(err)
	}
	bomb, err := (&Batch{Blocks: []*Block{{Name: "DeviceEvents", Rows: 1, Columns: []Column{{Name: "AdditionalFields", Type: schema.String, Strings: []string{strings.Repeat("A", 80<<20)}}}}}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := (&Batch{Blocks: []*Block{{Name: "DeviceEvents", Rows: 1, Columns: []Column{{Name: "RemotePort", Type: schema.String, Strings: []string{"80"}}}}}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	with := func(f func(*Limits)) Limits { l := DefaultLimits; f(&l); return l }
	for _, c := range []struct {
		name    string
		payload []byte
		limits  Limits
		want    error
	}{
		{"empty", nil, DefaultLimits, picket.Invalid},
		{"other magic", []byte("PKB\x09xxxxxxxx"), DefaultLimits, picket.Invalid},
		{"cut", payload[:len(payload)-3], DefaultLimits, picket.Invalid},
		{"too many bytes", payload, with(func(l *Limits) { l.Compressed = 10 }), picket.TooLarge},
		{"too many raw bytes", payload, with(func(l *Limits) { l.Raw = 10 }), picket.TooLarge},
		{"too many rows", payload, with(func(l *Limits) { l.Rows = 2 }), picket.TooLarge},
		{"too many values", payload, with(func(l *Limits) { l.Cells = 5 }), picket.TooLarge},
		{"long string", payload, with(func(l *Limits) { l.Text = 4 }), picket.TooLarge},
		{"zip bomb", bomb, DefaultLimits, picket.TooLarge},
		{"wrong type", wrong, DefaultLimits, picket.Invalid},
	} {
		if _, err := Decode(c.payload, c.limits); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// TestRoundTripRandom encodes arbitrary values of every column type.
func TestRoundTripRandom(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.IntRange(1, 40).Draw(t, "rows")
		ints := rapid.SliceOfN(rapid.Int64(), rows, rows)
		b := &Block{Name: "Other", Rows: rows, Columns: []Column{
			{Name: "s", Type: schema.String, Strings: rapid.SliceOfN(rapid.String(), rows, rows).Draw(t, "s")},
			{Name: "e", Type: schema.Dynamic, Strings: rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b"}), rows, rows).Draw(t, "e")},
			{Name: "i", Type: schema.Long, Ints: ints.Draw(t, "i")},
			{Name: "o", Type: schema.Long, Ints: ints.Draw(t, "o"), Valid: rapid.SliceOfN(rapid.Bool(), rows, rows).Draw(t, "v")},
			{Name: "b", Type: schema.Bool, Ints: rapid.SliceOfN(rapid.Int64Range(0, 1), rows, rows).Draw(t, "b")},
			{Name: "r", Type: schema.Real, Reals: rapid.SliceOfN(rapid.Float64(), rows, rows).Draw(t, "r")},
			{Name: "c", Type: schema.Int, Ints: make([]int64, rows)},
			{Name: "x", Type: schema.Long, Ints: append([]int64{math.MinInt64}, make([]int64, rows-1)...)},
		}}
		in := &Batch{BootID: rapid.StringN(0, 20, 40).Draw(t, "boot"), Seq: rapid.Uint64().Draw(t, "seq"), Created: Time(rapid.Int64().Draw(t, "created")), Blocks: []*Block{b}, Rest: rapid.IntRange(0, maxRest).Draw(t, "rest")}
		payload, err := in.Encode()
		if err != nil {
			t.Fatal(err)
		}
		out, err := Decode(payload, DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(in, out); d != "" {
			t.Fatal(d)
		}
	})
}

// TestRestOfAMoment: a batch that none follow is encoded as it always was.
func TestRestOfAMoment(t *testing.T) {
	t.Parallel()
	encode := func(rest int) []byte {
		payload, err := (&Batch{BootID: "b", Seq: 1, Rest: rest}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		return payload
	}
	if a, b := RawSize(encode(0)), RawSize(encode(2)); a+1 != b {
		t.Errorf("%d bytes without what follows, %d with", a, b)
	}
	for _, rest := range []int{-1, maxRest + 1} {
		if _, err := (&Batch{Rest: rest}).Encode(); !errors.Is(err, picket.Invalid) {
			t.Errorf("%d batches follow: %v", rest, err)
		}
	}
	raw := writer{}
	raw.string("b")
	raw.uvarint(1)
	raw.buf = append(raw.buf, make([]byte, 32)...)
	raw.varint(0)
	raw.uvarint(0)
	for _, tail := range [][]byte{{0}, {3}, {1, 1}, {0x80}} {
		body := append(bytes.Clone(raw.buf), tail...)
		payload := encoder.EncodeAll(body, binary.AppendUvarint([]byte(magic), uint64(len(body))))
		if _, err := Decode(payload, DefaultLimits); !errors.Is(err, picket.Invalid) {
			t.Errorf("tail %v: %v", tail, err)
		}
	}
}

func TestEncodeRefusesRaggedColumns(t *testing.T) {
	t.Parallel()
	b := &Batch{Blocks: []*Block{{Name: "T", Rows: 2, Columns: []Column{{Name: "a", Type: schema.Long, Ints: []int64{1}}}}}}
	if _, err := b.Encode(); !errors.Is(err, picket.Invalid) {
		t.Errorf("got %v, want %v", err, picket.Invalid)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	at := TimeOf(time.Date(2026, 11, 24, 8, 0, 0, 1000, time.UTC))
	b := &Block{Name: "T", Rows: 2, Columns: []Column{
		{Name: "t", Type: schema.Datetime, Ints: []int64{int64(at), 0}},
		{Name: "b", Type: schema.Bool, Ints: []int64{1, 0}},
		{Name: "o", Type: schema.Long, Ints: []int64{0, 0}, Valid: []bool{true, false}},
		{Name: "n", Type: schema.Long, Ints: []int64{-5, 0}},
	}}
	want := []map[string]string{{"t": "2026-11-24T08:00:00.000001Z", "b": "true", "o": "0", "n": "-5"}, {}}
	for i := range want {
		if d := cmp.Diff(want[i], b.Fields(i)); d != "" {
			t.Errorf("row %d: %s", i, d)
		}
	}
	if got := at.Time(); !got.Equal(time.Date(2026, 11, 24, 8, 0, 0, 1000, time.UTC)) || TimeOf(time.Time{}) != 0 || !Time(0).Time().IsZero() {
		t.Errorf("time does not survive: %v", got)
	}
}

func TestBuilderReplacesInvalidText(t *testing.T) {
	t.Parallel()
	var b Builder
	b.Add(&DeviceFileEvents{FolderPath: "/tmp/\xff\xfe"})
	if b.Len() != 1 || b.Size() == 0 {
		t.Errorf("len %d size %d", b.Len(), b.Size())
	}
	if got := b.Take()[0].Text("FolderPath", 0); got != "/tmp/\uFFFD" {
		t.Errorf("got %q", got)
	}
	if b.Len() != 0 {
		t.Error("not reset")
	}
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	in := Envelope{Tenant: "default", DeviceID: "d", DeviceName: "host.example", Group: "g", Received: 5, ClockOffset: -7, BootID: "b", Seq: 9, Gap: 2, Payload: []byte{1, 2, 3}}
	out, err := UnmarshalEnvelope(in.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, out); d != "" {
		t.Error(d)
	}
	if _, err := UnmarshalEnvelope([]byte{9}); !errors.Is(err, picket.Invalid) {
		t.Errorf("unknown version: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	b, _ := sample()
	payload, err := b.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Fuzz(func(t *testing.T, data []byte) {
		batch, err := Decode(data, DefaultLimits)
		if err != nil {
			if !errors.Is(err, picket.Invalid) && !errors.Is(err, picket.TooLarge) {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		for _, blk := range batch.Blocks {
			for i := 0; i < blk.Rows; i++ {
				blk.Fields(i)
			}
		}
		if _, err := batch.Encode(); err != nil {
			t.Fatalf("decoded but does not encode: %v", err)
		}
	})
}

// FuzzDecodeRaw fuzzes behind the compression, where the structure is.
func FuzzDecodeRaw(f *testing.F) {
	b, _ := sample()
	payload, err := b.Encode()
	if err != nil {
		f.Fatal(err)
	}
	size, n := binary.Uvarint(payload[len(magic):])
	raw, err := decoder.DecodeAll(payload[len(magic)+n:], make([]byte, 0, size))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(raw))
	f.Fuzz(func(t *testing.T, raw string) {
		p := parser{data: raw, limits: DefaultLimits}
		batch := p.batch()
		if p.err != nil {
			return
		}
		for _, blk := range batch.Blocks {
			for i := 0; i < blk.Rows; i++ {
				blk.Fields(i)
			}
		}
	})
}

func FuzzUnmarshalEnvelope(f *testing.F) {
	e := Envelope{Tenant: "t", Payload: []byte("p")}
	f.Add(e.Marshal())
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := UnmarshalEnvelope(data); err == nil {
			if _, err := UnmarshalEnvelope(e.Marshal()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var bld Builder
	for i := range 1000 {
		bld.Add(&DeviceProcessEvents{Timestamp: Time(1764000000000000 + i), ActionType: "ProcessCreated", FileName: "curl", FolderPath: "/usr/bin/curl", ProcessId: int64(i), ReportId: int64(i), ProcessUniqueId: picket.ProcessGUID("d", "b", uint32(i), uint64(i)), InitiatingProcessFileName: "bash", SHA256: strings.Repeat("ab", 32)})
	}
	payload, err := (&Batch{BootID: "b", Blocks: bld.Take()}).Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, err := Decode(payload, DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
}

func TestRawSize(t *testing.T) {
	t.Parallel()
	var b Builder
	b.Add(&DeviceEvents{Timestamp: 1, ActionType: "SensorStarted", AdditionalFields: strings.Repeat("x", 5000)})
	payload, err := (&Batch{BootID: "b", Seq: 1, Blocks: b.Take()}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	size := RawSize(payload)
	if size < 5000 || size > 6000 {
		t.Errorf("RawSize = %d", size)
	}
	for _, p := range [][]byte{nil, []byte("PKB"), []byte("PKB\x01"), []byte("XXXX\x05")} {
		if got := RawSize(p); got != 0 {
			t.Errorf("RawSize(%q) = %d", p, got)
		}
	}
	// The size comes before the compressed bytes; a batch that tells less than
	// it holds is refused.
	head := len(magic) + len(binary.AppendUvarint(nil, size))
	for _, told := range []uint64{0, 1, size - 1, size + 1} {
		lie := append(binary.AppendUvarint([]byte(magic), told), payload[head:]...)
		if _, err := Decode(lie, DefaultLimits); picket.Kind(err) != picket.Invalid && picket.Kind(err) != picket.TooLarge {
			t.Errorf("told %d of %d: %v", told, size, err)
		}
	}
}
