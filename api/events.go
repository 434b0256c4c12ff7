// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/picket-edr/picket"
)

// Change tells a browser what to fetch again.
type Change struct {
	Event    string `json:"event"` // device, alert, timeline, setup, resync
	ID       string `json:"id,omitempty"`
	DeviceID string `json:"deviceId,omitempty"`
}

// Hub hands changes to the browsers of a tenant. A slow browser loses changes
// and is told to fetch everything again; it never slows others. It is safe
// for concurrent use.
type Hub struct {
	mu   sync.Mutex
	subs map[*subscriber]bool
}

type subscriber struct {
	tenant  string
	session string // empty: a program with a token
	ch      chan Change
	end     chan struct{} // closed when the session ends
	lost    bool          // under Hub.mu
}

// Bounds of the hub.
const (
	maxSubscribers = 1000
	subscriberRoom = 256
	heartbeatEvery = 15 * time.Second
	coalesceFor    = time.Second
	maxStream      = time.Hour // then the browser connects again and shows who it is
)

// NewHub returns an empty hub.
func NewHub() *Hub { return &Hub{subs: map[*subscriber]bool{}} }

// Send hands a change to the browsers of a tenant without waiting.
func (h *Hub) Send(tenant string, c Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if s.tenant != tenant {
			continue
		}
		select {
		case s.ch <- c:
		default:
			s.lost = true
		}
	}
}

func (h *Hub) subscribe(tenant, session string) (*subscriber, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.subs) >= maxSubscribers {
		return nil, fmt.Errorf("%d browsers listen already: %w", maxSubscribers, picket.Unavailable)
	}
	s := &subscriber{tenant: tenant, session: session, ch: make(chan Change, subscriberRoom), end: make(chan struct{})}
	h.subs[s] = true
	return s, nil
}

func (h *Hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

// endSession ends the streams of a session that was signed out.
func (h *Hub) endSession(session string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if session != "" && s.session == session {
			delete(h.subs, s)
			close(s.end)
		}
	}
}

// tookLoss reports whether changes were lost since the last call.
func (h *Hub) tookLoss(s *subscriber) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	lost := s.lost
	s.lost = false
	return lost
}

func (s *server) eventRoutes(api huma.API) {
	o := op(http.MethodGet, "/events", "stream-changes", "Changes as server-sent events: device, alert, timeline, setup, resync", signedIn)
	huma.Register(api, o, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		sub, err := s.Hub.subscribe(who(ctx).Tenant, who(ctx).SessionID)
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			defer s.Hub.unsubscribe(sub)
			hc.SetHeader("Content-Type", "text/event-stream")
			hc.SetHeader("X-Accel-Buffering", "no")
			_, w := humago.Unwrap(hc)
			s.stream(hc.Context(), w, sub)
		}}, nil
	})
}

// stream writes changes until the browser goes away, stops reading or signs
// out. Timeline changes of one device are told at most once a second.
func (s *server) stream(ctx context.Context, w http.ResponseWriter, sub *subscriber) {
	rc := http.NewResponseController(w)
	end := time.NewTimer(maxStream)
	defer end.Stop()
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	flushHeld := time.NewTicker(coalesceFor)
	defer flushHeld.Stop()
	held := map[Change]bool{}
	told := map[Change]time.Time{}
	if !send(w, rc, ": hello\n\n") {
		return
	}
	for {
		ok := true
		select {
		case <-ctx.Done():
			return
		case <-sub.end:
			return
		case <-end.C:
			return
		case <-beat.C:
			ok = send(w, rc, ": still here\n\n")
			clear(told)
		case c := <-sub.ch:
			now := time.Now()
			if (c.Event == "timeline" || c.Event == "device") && now.Sub(told[c]) < coalesceFor {
				held[c] = true
				continue
			}
			told[c] = now
			ok = tell(w, rc, c)
		case now := <-flushHeld.C:
			for c := range held {
				told[c] = now
				ok = ok && tell(w, rc, c)
			}
			clear(held)
			if s.Hub.tookLoss(sub) {
				ok = ok && tell(w, rc, Change{Event: "resync"})
			}
		}
		if !ok {
			return
		}
	}
}

func tell(w http.ResponseWriter, rc *http.ResponseController, c Change) bool {
	data, err := json.Marshal(c)
	if err != nil {
		return true
	}
	return send(w, rc, fmt.Sprintf("event: %s\ndata: %s\n\n", c.Event, data))
}

func send(w http.ResponseWriter, rc *http.ResponseController, text string) bool {
	_ = rc.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := w.Write([]byte(text)); err != nil {
		return false
	}
	return rc.Flush() == nil
}
