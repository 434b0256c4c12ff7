// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/binary"

	"github.com/picket-edr/picket/sensor/linux/record"
)

const maxFrame = 4096 // bytes of a message over TCP that are put together

// namesKey is one direction of a connection to a name server.
type namesKey struct {
	id      record.StreamID
	inbound bool
}

// frames cuts a stream into the messages of DNS over TCP, each behind its
// length. Of a long one only the beginning is kept.
type frames struct {
	next   uint32 // number of the byte that comes next
	begun  bool
	skip   int // bytes of a message that was told already
	buf    []byte
	broken bool // the place in the stream is lost
}

// feed takes the next piece of a stream, of which some bytes may be missing at
// its end. It calls f with each message, or with its beginning, and the length
// of the whole. It reports false when the place in the stream is lost.
func (s *frames) feed(seq uint32, b []byte, total int, f func(message []byte, length int)) bool {
	if s.broken {
		return true // counted already
	}
	if s.begun && seq != s.next {
		if int32(seq-s.next) < 0 {
			return true // sent again
		}
		s.broken = true
		return false
	}
	s.begun, s.next = true, seq+uint32(total)
	missing := max(total-len(b), 0)
	n := min(s.skip, len(b))
	b, s.skip = b[n:], s.skip-n
	if s.skip > 0 {
		n = min(s.skip, missing)
		missing, s.skip = missing-n, s.skip-n
	}
	s.buf = append(s.buf, b...)
	s.cut(missing, f)
	return !s.broken
}

// cut passes on the messages that the buffer holds.
func (s *frames) cut(missing int, f func([]byte, int)) {
	for len(s.buf) >= 2 {
		length := int(binary.BigEndian.Uint16(s.buf))
		body := s.buf[2:]
		if len(body) >= length {
			f(body[:length], length)
			s.buf = body[length:]
			continue
		}
		if missing == 0 && len(body) < maxFrame {
			return
		}
		f(body, length)
		s.buf, s.skip = nil, length-len(body)-missing
		s.broken, s.skip = s.skip < 0, max(s.skip, 0)
		return
	}
	s.broken = missing > 0
}

// onNames reads names asked for over TCP.
func (c *Collector) onNames(r *record.Payload) {
	key := namesKey{r.ID, r.Inbound}
	s := c.streams.names.get(key)
	if s == nil {
		s = &frames{}
		c.streams.names.put(key, s)
	}
	m := &record.DNS{Header: r.Header, Direction: record.DNSQuery, Local: r.Local, Remote: r.Remote}
	if r.Inbound {
		m.Direction = record.DNSAnswer
	}
	ok := s.feed(r.Seq, r.Bytes, int(r.Total), func(b []byte, length int) {
		m.Payload, m.Total = b, uint32(length)
		c.tellNames(m, 6)
	})
	if !ok {
		c.lost.add("decode.names", 1)
	}
}
