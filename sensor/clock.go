// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"sync"
	"time"
)

// serverClock is the server's time as far as it is known. The clock of an
// endpoint may be set to anything while the sensor runs; what the server said
// plus the time that has passed since does not move with it.
type serverClock struct {
	mu     sync.Mutex
	server time.Time // zero: not known
	at     time.Time // when it said so, with the monotonic clock
}

func (c *serverClock) learn(server time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server, c.at = server, time.Now()
}

// forget falls back to the clock of the host: the monotonic clock stands
// still while a host sleeps.
func (c *serverClock) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server = time.Time{}
}

func (c *serverClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.IsZero() {
		return time.Now()
	}
	return c.server.Add(time.Since(c.at))
}
