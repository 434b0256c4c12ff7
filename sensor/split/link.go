// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor"
)

// Kinds of frames between collector and agent.
const (
	kindOpen   = 'o' // agent: open the collector, or go on with the one that is open
	kindOpened = 'O' // collector: it is open
	kindFailed = 'f' // collector: it cannot be opened
	kindRows   = 'r' // collector: a frame of rows
	kindTake   = 't' // agent: takes the frames up to this number
	kindKept   = 'k' // agent: has kept the frames up to this number
	kindStats  = 's' // collector: how it is doing
	kindPolicy = 'p' // agent: obey this policy
	kindStop   = 'x' // agent: stop, and pass on what is left
	kindEnded  = 'e' // collector: has ended and passed on everything
)

// Bounds of one frame by who sends it.
const (
	maxRowsFrame  = 32 << 20
	maxAgentFrame = 1 << 20
	writeWithin   = 20 * time.Second
)

// opening is what a collector must know.
type opening struct {
	DeviceID string
	BootID   string
	Policy   json.RawMessage `json:",omitempty"`
}

// opened is the answer to an opening.
type opened struct {
	Stats stats
	Next  uint64 // number of the first row that comes
}

// stats is how a collector is doing.
type stats struct {
	Rung      string
	Hooks     []picket.Hook
	Events    map[string]uint64
	Lost      map[string]uint64
	Refused   uint64           // rows, as the page said before Lost was read
	Processes []sensor.Process // supervisor and collector
	Usage     sensor.Usage
}

// ended is how a collector ended.
type ended struct {
	Error string // "": in order
	Stats stats
}

// link is one end of the connection between collector and agent.
type link struct {
	conn  *net.UnixConn
	in    *bufio.Reader
	limit int // of a frame that is read
	page  *page
	pids  []int // of the sensor

	mu  sync.Mutex // held while a frame is written
	buf []byte
}

func newLink(conn *net.UnixConn, limit int, p *page, pids []int) *link {
	return &link{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), limit: limit, page: p, pids: pids}
}

// write sends one frame. A peer that does not read for long is given up.
func (l *link) write(kind byte, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	l.buf = append(l.buf[:0], 0, 0, 0, 0, kind)
	binary.LittleEndian.PutUint32(l.buf, uint32(len(payload)))
	l.buf = append(l.buf, payload...)
	_, err := l.conn.Write(l.buf)
	if cap(l.buf) > 1<<20 {
		l.buf = nil
	}
	if err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

func (l *link) writeJSON(kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return l.write(kind, b)
}

func (l *link) writeNumber(kind byte, n uint64) error {
	return l.write(kind, binary.AppendUvarint(nil, n))
}

// read receives one frame. The error is io.EOF when the peer has gone.
func (l *link) read() (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(l.in, head[:]); err != nil {
		return 0, nil, fmt.Errorf("read frame: %w", err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if uint64(n) > uint64(l.limit) {
		return 0, nil, fmt.Errorf("read frame: %d bytes, at most %d: %w", n, l.limit, picket.TooLarge)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(l.in, payload); err != nil {
		return 0, nil, fmt.Errorf("read frame: %w", err)
	}
	return head[4], payload, nil
}

func (l *link) close() {
	l.conn.Close()
	l.page.close()
}

// number reads the payload of a frame that is one number.
func number(payload []byte) (uint64, error) {
	n, used := binary.Uvarint(payload)
	if used <= 0 || used != len(payload) {
		return 0, fmt.Errorf("read frame: want a number: %w", picket.Invalid)
	}
	return n, nil
}

// rowsHead is what comes before the rows of a frame.
type rowsHead struct {
	number uint64 // of the frame
	first  uint64 // number of its first row
	rows   uint64
}

func (h rowsHead) append(to []byte) []byte {
	for _, n := range []uint64{h.number, h.first, h.rows} {
		to = binary.AppendUvarint(to, n)
	}
	return to
}

// parseRowsHead reads the head of a frame of rows and returns what follows.
func parseRowsHead(payload []byte) (h rowsHead, rest []byte, err error) {
	for _, n := range []*uint64{&h.number, &h.first, &h.rows} {
		v, used := binary.Uvarint(payload)
		if used <= 0 {
			return h, nil, fmt.Errorf("read rows: no head: %w", picket.Invalid)
		}
		*n, payload = v, payload[used:]
	}
	if h.rows > uint64(len(payload)) {
		return h, nil, fmt.Errorf("read rows: %d rows in %d bytes: %w", h.rows, len(payload), picket.Invalid)
	}
	return h, payload, nil
}
