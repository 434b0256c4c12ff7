// SPDX-License-Identifier: Apache-2.0

package picket_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
)

// chain makes n well-formed entries.
func chain(n int) []picket.AuditEntry {
	prev := picket.AuditGenesis
	var out []picket.AuditEntry
	for i := range n {
		e := picket.AuditEntry{
			Tenant: "default", Seq: int64(i + 1), Time: time.UnixMicro(1_700_000_000_000_000 + int64(i)).UTC(),
			Actor: "admin", Action: "alert.update", Target: "a", Outcome: picket.AuditSuccess,
			Detail: map[string]string{"status": "Resolved", "by": "admin"}, Prev: prev,
		}
		e.Hash = e.Sum()
		prev = e.Hash
		out = append(out, e)
	}
	return out
}

func lines(t *testing.T, entries []picket.AuditEntry) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestVerifyAudit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func([]picket.AuditEntry) []picket.AuditEntry
		kind   error
	}{
		"whole":       {func(e []picket.AuditEntry) []picket.AuditEntry { return e }, nil},
		"later start": {func(e []picket.AuditEntry) []picket.AuditEntry { return e[2:] }, nil},
		"removed":     {func(e []picket.AuditEntry) []picket.AuditEntry { return append(e[:2:2], e[3:]...) }, picket.Conflict},
		"swapped": {func(e []picket.AuditEntry) []picket.AuditEntry {
			e[1], e[2] = e[2], e[1]
			return e
		}, picket.Conflict},
		"edited": {func(e []picket.AuditEntry) []picket.AuditEntry { e[2].Actor = "eve"; return e }, picket.Conflict},
		"edited detail": {func(e []picket.AuditEntry) []picket.AuditEntry {
			e[2].Detail = map[string]string{"status": "New", "by": "admin"}
			return e
		}, picket.Conflict},
		"edited and rehashed": {func(e []picket.AuditEntry) []picket.AuditEntry {
			e[2].Actor = "eve"
			e[2].Hash = e[2].Sum()
			return e
		}, picket.Conflict},
		"other tenant": {func(e []picket.AuditEntry) []picket.AuditEntry {
			e[3].Tenant = "other"
			e[3].Hash = e[3].Sum()
			return e
		}, picket.Conflict},
		"false start": {func(e []picket.AuditEntry) []picket.AuditEntry {
			e[0].Prev = strings.Repeat("1", 64)
			e[0].Hash = e[0].Sum()
			return e[:1]
		}, picket.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rep, err := picket.VerifyAudit(strings.NewReader(lines(t, c.change(chain(5)))))
			if !errors.Is(err, c.kind) {
				t.Fatalf("error %v, want kind %v", err, c.kind)
			}
			if c.kind == nil && rep.Last != 5 {
				t.Errorf("report %+v, want last entry 5", rep)
			}
		})
	}
}

func FuzzVerifyAudit(f *testing.F) {
	f.Add([]byte(`{"tenant":"default","seq":1}` + "\n"))
	f.Add([]byte("\n\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rep, err := picket.VerifyAudit(bytes.NewReader(data))
		if err == nil && rep.Entries > 0 && rep.Last-rep.First+1 != rep.Entries {
			t.Errorf("accepted a chain with holes: %+v", rep)
		}
	})
}
