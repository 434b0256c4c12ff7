// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// Position is a place in the batches of a device.
type Position struct {
	BootID string
	Seq    uint64
	Hash   event.Hash // of the batch
}

// Last is how far a device has come: its newest batch that is durable here.
// The zero value says that nothing of it is known. Each message on the bus
// carries it along, so that the newest message alone tells all.
type Last struct {
	Position
	Past []Position // the boots before, newest first: what an unlucky sensor may send again

	// revision is the place of the message in the stream; 0: it was trimmed.
	revision uint64
}

// maxPast is how many earlier boots are remembered.
const maxPast = 4

// Of returns the newest durable position of a boot.
func (l *Last) Of(boot string) (p Position, ok bool) {
	if boot == "" {
		return Position{}, false
	}
	if l.BootID == boot {
		return l.Position, true
	}
	for _, p := range l.Past {
		if p.BootID == boot {
			return p, true
		}
	}
	return Position{}, false
}

// Positions returns the newest durable position of each known boot, the
// running one first.
func (l *Last) Positions() []Position {
	if l.BootID == "" {
		return nil
	}
	return append([]Position{l.Position}, l.Past...)
}

// After returns what holds once p is durable on top of l.
func (l *Last) After(p Position) Last {
	next := Last{Position: p}
	for _, old := range l.Positions() {
		if old.BootID != p.BootID && len(next.Past) < maxPast {
			next.Past = append(next.Past, old)
		}
	}
	return next
}

// same reports whether both say the same about the device.
func (l *Last) same(x *Last) bool {
	return l.Position == x.Position && slices.Equal(l.Past, x.Past)
}

// text is the form in a message's header and in POSITIONS.
func (l *Last) text() string {
	var b strings.Builder
	for i, p := range l.Positions() {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s:%d:%x", p.BootID, p.Seq, p.Hash[:])
	}
	return b.String()
}

// parseLast reads what text wrote. It is empty when all that the server has of
// a device is a remark of its own.
func parseLast(text string) (Last, error) {
	if text == "" {
		return Last{}, nil
	}
	var all []Position
	bad := func(part string) (Last, error) {
		return Last{}, fmt.Errorf("bus: position %q: %w", part, picket.Invalid)
	}
	for part := range strings.SplitSeq(text, " ") {
		f := strings.Split(part, ":")
		if len(f) != 3 || !plain(f[0]) || len(all) > maxPast {
			return bad(part)
		}
		p := Position{BootID: f[0]}
		seq, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			return bad(part)
		}
		hash, err := hex.DecodeString(f[2])
		if err != nil || len(hash) != len(p.Hash) {
			return bad(part)
		}
		p.Seq = seq
		copy(p.Hash[:], hash)
		all = append(all, p)
	}
	return Last{Position: all[0], Past: all[1:]}, nil
}

// plain reports whether an id can stand in a subject and in a header.
func plain(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
