// SPDX-License-Identifier: Apache-2.0

package picket

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// AuditEntry is one line of a tenant's audit log. Entries are numbered
// without gaps and each carries the hash of the one before, so that a changed,
// removed or inserted entry breaks the chain.
type AuditEntry struct {
	Tenant  string            `json:"tenant"`
	Seq     int64             `json:"seq"`  // 1, 2, 3 ... within the tenant
	Time    time.Time         `json:"time"` // to the microsecond, UTC
	Actor   string            `json:"actor"`
	Action  string            `json:"action"` // session.create, alert.update, device.revoke ...
	Target  string            `json:"target"`
	Outcome string            `json:"outcome"` // success, failure, denied
	Address string            `json:"address"` // of the caller
	Detail  map[string]string `json:"detail,omitempty"`
	Prev    string            `json:"prev"` // hash of the entry before; 64 zeros for the first
	Hash    string            `json:"hash"`
}

// Outcomes of an audited action.
const (
	AuditSuccess = "success"
	AuditFailure = "failure"
	AuditDenied  = "denied"
)

// AuditGenesis is the hash that the first entry of every chain carries as
// that of the entry before it.
const AuditGenesis = "0000000000000000000000000000000000000000000000000000000000000000"

// Sum computes the hash of the entry over every field except Hash. Fields
// are length-prefixed, so that no two different entries hash the same bytes.
func (e *AuditEntry) Sum() string {
	h := sha256.New()
	text := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		io.WriteString(h, s)
	}
	number := func(v int64) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(v))
		h.Write(n[:])
	}
	text("picket audit 1")
	text(e.Tenant)
	number(e.Seq)
	number(e.Time.UnixMicro())
	for _, s := range []string{e.Actor, e.Action, e.Target, e.Outcome, e.Address} {
		text(s)
	}
	number(int64(len(e.Detail)))
	for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
		text(k)
		text(e.Detail[k])
	}
	text(e.Prev)
	return hex.EncodeToString(h.Sum(nil))
}

// AuditReport tells what VerifyAudit read.
type AuditReport struct {
	Tenant  string `json:"tenant"`
	Entries int64  `json:"entries"`
	First   int64  `json:"first"` // number of the first entry read
	Last    int64  `json:"last"`
	Head    string `json:"head"` // hash of the last entry; compare it with a copy kept elsewhere to notice a cut tail
}

// maxAuditLine bounds one line of an exported audit log.
const maxAuditLine = 1 << 20

// VerifyAudit reads an audit log exported as JSON lines and checks its chain.
// An export may start after entry 1; the report says where. A broken chain is
// an error of kind Conflict that names the line; a line that is no entry is
// one of kind Invalid.
func VerifyAudit(r io.Reader) (AuditReport, error) {
	var rep AuditReport
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), maxAuditLine)
	prev, line := "", 0
	for sc.Scan() {
		line++
		if len(sc.Bytes()) == 0 {
			continue
		}
		var e AuditEntry
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			return rep, fmt.Errorf("line %d: %v: %w", line, err, Invalid)
		}
		if reason := rep.breaks(&e, prev); reason != "" {
			return rep, fmt.Errorf("line %d, entry %d: %s: %w", line, e.Seq, reason, Conflict)
		}
		if rep.Entries == 0 {
			rep.Tenant, rep.First = e.Tenant, e.Seq
		}
		rep.Entries++
		rep.Last, rep.Head, prev = e.Seq, e.Hash, e.Hash
	}
	if err := sc.Err(); err != nil {
		kind := Unavailable
		if errors.Is(err, bufio.ErrTooLong) {
			kind = TooLarge
		}
		return rep, fmt.Errorf("line %d: %v: %w", line+1, err, kind)
	}
	return rep, nil
}

// breaks says why e cannot follow what was read so far; empty: it can.
func (rep *AuditReport) breaks(e *AuditEntry, prev string) string {
	first := rep.Entries == 0
	switch {
	case e.Seq < 1:
		return "number below 1"
	case first && e.Seq == 1 && e.Prev != AuditGenesis:
		return "first entry claims a predecessor"
	case !first && e.Tenant != rep.Tenant:
		return fmt.Sprintf("belongs to tenant %q, not %q", e.Tenant, rep.Tenant)
	case !first && e.Seq != rep.Last+1:
		return fmt.Sprintf("follows entry %d", rep.Last)
	case !first && e.Prev != prev:
		return "hash of the entry before does not match"
	case e.Sum() != e.Hash:
		return "content does not match its hash"
	}
	return ""
}
