// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"sync"
)

var (
	errSuperseded = errors.New("another connection of this device took over")
	errRevoked    = errors.New("this device's identity was revoked")
)

// sessions is the live stream of each device, and which runs of a sensor used
// the identity before.
type sessions struct {
	mu   sync.Mutex
	live map[string]*liveSession
	last map[string]uint64   // instance of the session that ended last
	past map[string][]uint64 // instances that were replaced, oldest first
}

type liveSession struct {
	tenant   string
	instance uint64
	cancel   context.CancelCauseFunc
	refresh  chan struct{} // the policy changed
	ended    chan struct{} // closed when nothing more is made durable
}

// remembered is how many replaced instances of a device are kept.
const remembered = 8

func newSessions() *sessions {
	return &sessions{live: map[string]*liveSession{}, last: map[string]uint64{}, past: map[string][]uint64{}}
}

// open makes a session the live one of its device, tells the one before to end
// and returns it: it is over once its ended is closed. Clash is true when the instance was replaced earlier and is back: a sensor
// that restarts never comes back as an earlier run, so two are running.
func (s *sessions) open(key string, l *liveSession) (old *liveSession, clash bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.past[key] {
		clash = clash || i == l.instance
	}
	before, known := s.last[key]
	if old = s.live[key]; old != nil {
		old.cancel(errSuperseded)
		before, known = old.instance, true
	}
	if known && before != l.instance {
		past := append(s.past[key], before)
		s.past[key] = past[max(0, len(past)-remembered):]
	}
	s.live[key] = l
	return old, clash
}

// done forgets a session unless another took its place.
func (s *sessions) done(key string, l *liveSession) {
	close(l.ended)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[key] == l {
		delete(s.live, key)
		s.last[key] = l.instance
	}
}

func sessionKey(tenant, device string) string { return tenant + "/" + device }

func (s *sessions) close(tenant, device string, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.live[sessionKey(tenant, device)]; l != nil {
		l.cancel(why)
	}
}

func (s *sessions) refresh(tenant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.live {
		if l.tenant != tenant {
			continue
		}
		select {
		case l.refresh <- struct{}{}:
		default: // one is waiting already
		}
	}
}

func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live)
}
