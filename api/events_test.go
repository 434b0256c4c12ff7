// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picket-edr/picket"
)

// TestSignOutEndsTheStreamsOfTheSession and of no other.
func TestSignOutEndsTheStreamsOfTheSession(t *testing.T) {
	w := newWorld(t)
	leaves, stays := w.admin(), w.admin()
	open := func(b *browser) *http.Response {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // only so that a failure does not hang
		t.Cleanup(cancel)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+portal+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", b.cookie)
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Body.Close() })
		if _, err := io.ReadFull(r.Body, make([]byte, len(": hello\n\n"))); err != nil {
			t.Fatal(err)
		}
		return r
	}
	gone, kept := open(leaves), open(stays)
	leaves.want(204, http.MethodDelete, portal+"/session", nil, nil)
	if rest, err := io.ReadAll(gone.Body); err != nil || len(rest) > 0 {
		t.Errorf("after signing out: %q, %v", rest, err)
	}
	w.hub.Send("default", Change{Event: "alert", ID: "x"})
	line := make([]byte, len("event: alert"))
	if _, err := io.ReadFull(kept.Body, line); err != nil || string(line) != "event: alert" {
		t.Errorf("the other session got %q, %v", line, err)
	}
}

func TestHubRefusesTooManyBrowsers(t *testing.T) {
	t.Parallel()
	h := NewHub()
	for range maxSubscribers {
		if _, err := h.subscribe("default", ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.subscribe("default", ""); !errors.Is(err, picket.Unavailable) {
		t.Errorf("one too many: %v", err)
	}
}

// transcript is an answer that may be read while it is written.
type transcript struct {
	mu   sync.Mutex
	text []byte
}

func (r *transcript) Header() http.Header { return http.Header{} }
func (r *transcript) WriteHeader(int)     {}
func (r *transcript) Flush()              {}

func (r *transcript) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, b...)
	return len(b), nil
}

func (r *transcript) count(part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(string(r.text), part)
}

// TestStreamsCoalesceBeatAndEnd runs an hour of a stream on a false clock.
func TestStreamsCoalesceBeatAndEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		sub, err := h.subscribe("default", "")
		if err != nil {
			t.Fatal(err)
		}
		rec, began, done := &transcript{}, time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			(&server{Options: Options{Hub: h}}).stream(t.Context(), rec, sub)
		}()
		time.Sleep(2 * time.Second) // on the false clock
		for range 100 {
			h.Send("default", Change{Event: "timeline", DeviceID: "d"})
		}
		synctest.Wait()
		if n := rec.count("event: timeline"); n != 1 {
			t.Errorf("%d at once, want 1", n)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := rec.count("event: timeline"); n != 2 {
			t.Errorf("%d after a while, want the first and one for the rest", n)
		}
		<-done
		if took := time.Since(began); took != maxStream {
			t.Errorf("ended after %s", took)
		}
		if beats, want := rec.count(": still here"), int(maxStream/heartbeatEvery); beats < want-1 || beats > want {
			t.Errorf("%d beats", beats)
		}
	})
}
