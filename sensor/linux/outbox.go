// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"cmp"
	"sync"
	"time"

	"github.com/picket-edr/picket/event"
)

const (
	hashWait  = 100 * time.Millisecond // how long a row waits for its hash
	maxOutbox = 16384                  // rows that may wait
)

// queued is a row on its way out and the images whose hashes it still wants.
type queued struct {
	row      event.Row
	own      *image // image or file that the row is about
	actor    *image // image of the acting process
	waitFor  *image // own, when the row is to wait for it
	script   *image // script that the process of the row runs
	deadline time.Time
}

// outbox passes rows on in the order in which they came. The row in front may
// wait a bounded time for a hash and holds back those behind it, so that a
// process never acts before it starts.
type outbox struct {
	sink     func(event.Row) bool
	reportID func() int64
	lost     *tally
	sent     *tally
	now      func() time.Time

	mu      sync.Mutex
	waiting []queued
	missing map[string]int64 // lost rows by table that no row has told yet
}

func newOutbox(sink func(event.Row) bool, reportID func() int64, lost, sent *tally) *outbox {
	return &outbox{sink: sink, reportID: reportID, lost: lost, sent: sent, now: time.Now, missing: map[string]int64{}}
}

// push appends a row; wait says whether it may be held for its own hash.
func (o *outbox) push(row event.Row, own, actor *image, wait bool) {
	o.put(queued{row: row, own: own, actor: actor}, wait)
}

// put appends a row with all that it wants.
func (o *outbox) put(q queued, wait bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if wait && !(q.own.settled() && q.script.settled()) {
		q.waitFor, q.deadline = cmp.Or(q.own, q.script), o.now().Add(hashWait)
	}
	o.waiting = append(o.waiting, q)
	if len(o.waiting) > maxOutbox {
		// Too many to hold: the front goes without its hash.
		o.waiting[0].waitFor = nil
		o.lost.add("hash.late", 1)
	}
	o.drain(false)
}

// flush passes on what need not wait any more; all of it when final.
func (o *outbox) flush(final bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drain(final)
}

// idle reports whether nothing waits.
func (o *outbox) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting) == 0
}

// miss notes rows of a table that were lost; the next row of it carries them.
func (o *outbox) miss(table string, n uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.missing[table] += int64(n)
}

func (o *outbox) drain(final bool) {
	n := 0
	for ; n < len(o.waiting); n++ {
		q := &o.waiting[n]
		if q.waitFor != nil && !(q.waitFor.settled() && q.script.settled()) {
			if !final && o.now().Before(q.deadline) {
				break
			}
			o.lost.add("hash.late", 1)
		}
		o.emit(q)
	}
	if n == 0 {
		return
	}
	left := copy(o.waiting, o.waiting[n:])
	clear(o.waiting[left:])
	o.waiting = o.waiting[:left]
}

func (o *outbox) emit(q *queued) {
	fillHashes(q.row, q.own, q.actor)
	fillScript(q.row, q.script)
	table := q.row.Table().Name
	seal(q.row, o.reportID(), o.missing[table])
	if !o.sink(q.row) {
		o.lost.add("queue.full", 1)
		o.missing[table]++
		return
	}
	delete(o.missing, table)
	o.sent.add(table, 1)
}

// seal writes what is known only when a row leaves.
func seal(row event.Row, id, missing int64) {
	switch r := row.(type) {
	case *event.DeviceProcessEvents:
		r.ReportId, r.EvidenceLoss = id, missing
	case *event.DeviceFileEvents:
		r.ReportId, r.EvidenceLoss = id, missing
	case *event.DeviceNetworkEvents:
		r.ReportId, r.EvidenceLoss = id, missing
	case *event.DeviceLogonEvents:
		r.ReportId, r.EvidenceLoss = id, missing
	case *event.DeviceEvents:
		r.ReportId, r.EvidenceLoss = id, missing
	case *event.DeviceImageLoadEvents:
		r.ReportId, r.EvidenceLoss = id, missing
	case *event.DeviceInfo:
		r.ReportId, r.EvidenceLoss = id, missing
	case *event.DeviceNetworkInfo:
		r.ReportId, r.EvidenceLoss = id, missing
	}
}

// fillHashes writes the digests that are known by now.
func fillHashes(row event.Row, own, actor *image) {
	a, b, c := actor.digests()
	switch r := row.(type) {
	case *event.DeviceProcessEvents:
		r.SHA1, r.SHA256, r.MD5 = own.digests()
		r.InitiatingProcessSHA1, r.InitiatingProcessSHA256, r.InitiatingProcessMD5 = a, b, c
	case *event.DeviceFileEvents:
		r.SHA1, r.SHA256, r.MD5 = own.digests()
		r.AdditionalFields = own.kind().Fields(r.AdditionalFields)
		r.InitiatingProcessSHA1, r.InitiatingProcessSHA256, r.InitiatingProcessMD5 = a, b, c
	case *event.DeviceNetworkEvents:
		r.InitiatingProcessSHA1, r.InitiatingProcessSHA256, r.InitiatingProcessMD5 = a, b, c
	case *event.DeviceLogonEvents:
		r.InitiatingProcessSHA1, r.InitiatingProcessSHA256, r.InitiatingProcessMD5 = a, b, c
	case *event.DeviceImageLoadEvents:
		r.SHA1, r.SHA256, r.MD5 = own.digests()
		r.InitiatingProcessSHA1, r.InitiatingProcessSHA256, r.InitiatingProcessMD5 = a, b, c
	case *event.DeviceEvents:
		r.SHA1, r.SHA256, r.MD5 = own.digests()
		r.InitiatingProcessSHA1, r.InitiatingProcessSHA256, r.InitiatingProcessMD5 = a, b, c
	}
}
