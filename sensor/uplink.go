// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/picket-edr/picket"
)

// uplink keeps one connection to the server.
type uplink struct {
	a        *agent
	server   string
	ways     []Way
	instance uint64          // tells this run from another one with the same identity
	again    chan struct{}   // connect anew at once
	report   chan struct{}   // send a report at once
	leave    chan struct{}   // closed: end the connection in order
	why      picket.Farewell // set before leave is closed
	left     chan struct{}   // closed: run has returned
	clock    serverClock

	mu    sync.Mutex
	state link
	next  int // way to try next
}

// link is the state of the connection.
type link struct {
	way       Way
	group     string
	connected bool
	since     time.Time
	lastError string
	lastAck   time.Time
	throttled time.Time // no batches until then
}

func newUplink(a *agent, server string, ways []Way) *uplink {
	var b [8]byte
	rand.Read(b[:]) // never fails
	id, _ := a.vault.get()
	return &uplink{
		a: a, server: server, ways: ways, instance: binary.LittleEndian.Uint64(b[:]), again: make(chan struct{}, 1), report: make(chan struct{}, 1), leave: make(chan struct{}), left: make(chan struct{}),
		state: link{way: ways[0], group: id.Group},
	}
}

func (u *uplink) link() link {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state
}

func (u *uplink) connected() bool { return u.link().connected }

func (u *uplink) way() Way { return u.link().way }

// reconnect ends the connection so that a new one takes its place.
func (u *uplink) reconnect() {
	select {
	case u.again <- struct{}{}:
	default:
	}
}

// reportSoon asks for a report to the server ahead of its time.
func (u *uplink) reportSoon() {
	select {
	case u.report <- struct{}{}:
	default:
	}
}

// errAgain ends a session in favour of a new one.
var errAgain = errors.New("connecting again with the new certificate")

// farewell says why the sensor goes, and ends a connection so that what was
// sent arrives, and the uplink with it.
func (u *uplink) farewell(why picket.Farewell) {
	if !u.connected() {
		return
	}
	u.why = why
	close(u.leave)
	late := time.NewTimer(2 * farewell)
	defer late.Stop()
	select {
	case <-u.left:
	case <-late.C:
	}
}

// run connects, and connects again with growing pauses, until ctx ends.
func (u *uplink) run(ctx context.Context) {
	defer close(u.left)
	failures := 0
	for ctx.Err() == nil {
		way := u.ways[u.next%len(u.ways)]
		s, err := u.session(ctx, way)
		if ctx.Err() != nil || (s != nil && err == nil) {
			u.ended(way, nil, false)
			return
		}
		welcome := s != nil
		if welcome {
			failures = 0
		} else {
			u.clock.forget()
			u.next++
			failures++
		}
		if errors.Is(err, errAgain) {
			u.ended(way, nil, false)
			continue
		}
		u.ended(way, err, !welcome && failures > 1)
		sleep(ctx, u.pause(failures, err))
	}
}

// pause returns how long to wait before the next try: doubled for each
// failure, and spread so that a fleet does not come back at one moment.
func (u *uplink) pause(failures int, err error) time.Duration {
	t := u.a.o.Timing
	d := t.Backoff
	for i := 1; i < failures && d < t.BackoffMax; i++ {
		d *= 2
	}
	d = min(d, t.BackoffMax)
	if errors.Is(err, picket.Denied) {
		d = t.RefusedWait
	}
	n, rerr := rand.Int(rand.Reader, big.NewInt(int64(d/2)+1))
	if rerr != nil {
		return d
	}
	return d/2 + time.Duration(n.Int64())
}

// welcomed notes that the server took the connection.
func (u *uplink) welcomed(way Way, group string) {
	u.mu.Lock()
	u.state = link{way: way, group: group, connected: true, since: time.Now(), lastAck: u.state.lastAck}
	u.mu.Unlock()
	u.a.notes.add(noteContact, fmt.Sprintf("connected to %s (%s)", u.server, way))
}

// ended notes that there is no connection. Repeats of a failure are told once.
func (u *uplink) ended(way Way, err error, repeat bool) {
	u.mu.Lock()
	before := u.state
	u.state.connected, u.state.way = false, way
	if before.connected {
		u.state.since = time.Now()
	}
	if err != nil {
		u.state.lastError = err.Error()
	}
	u.mu.Unlock()
	switch {
	case err == nil:
	case repeat || before.lastError == err.Error():
		u.a.o.Log.Debug("cannot connect", "server", u.server, "way", way.String(), "error", err)
	case errors.Is(err, picket.Denied):
		u.a.notes.add(noteRefused, fmt.Sprintf("%s refuses this device: %v", u.server, err))
	default:
		u.a.notes.add(noteNoContact, fmt.Sprintf("no connection to %s (%s): %v", u.server, way, err))
	}
}

func (u *uplink) throttled(until time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state.throttled = until
}

func (u *uplink) acked() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state.lastAck = time.Now()
}
