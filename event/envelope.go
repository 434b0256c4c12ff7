// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"

	"github.com/picket-edr/picket"
)

// Envelope is a batch on its way through the server. Everything outside of
// Payload is the server's word.
type Envelope struct {
	Tenant      string
	DeviceID    string
	DeviceName  string
	Group       string
	Received    Time  // server's clock
	ClockOffset int64 // microseconds to add to the sensor's times; 0 when they are near enough
	BootID      string
	Seq         uint64
	Gap         uint64 // batches missing right before this one
	Payload     []byte // as the sensor sent it
}

// Remark reports whether the envelope holds rows of the server about the
// device and no batch of its sensor: it has no number.
func (e *Envelope) Remark() bool { return e.Seq == 0 }

const envelopeVersion = 1

// Marshal returns the binary form of the envelope.
func (e *Envelope) Marshal() []byte {
	w := writer{buf: make([]byte, 0, len(e.Payload)+256)}
	w.buf = append(w.buf, envelopeVersion)
	for _, s := range []string{e.Tenant, e.DeviceID, e.DeviceName, e.Group, e.BootID} {
		w.string(s)
	}
	w.varint(int64(e.Received))
	w.varint(e.ClockOffset)
	w.uvarint(e.Seq)
	w.uvarint(e.Gap)
	w.buf = append(w.buf, e.Payload...)
	return w.buf
}

// UnmarshalEnvelope reads what Marshal wrote. Payload shares memory with data.
func UnmarshalEnvelope(data []byte) (Envelope, error) {
	p := parser{data: string(data)}
	if v := p.byte(); p.err == nil && v != envelopeVersion {
		return Envelope{}, fmt.Errorf("envelope: unknown version %d: %w", v, picket.Invalid)
	}
	var e Envelope
	for _, s := range []*string{&e.Tenant, &e.DeviceID, &e.DeviceName, &e.Group, &e.BootID} {
		*s = p.string(1024)
	}
	e.Received, e.ClockOffset, e.Seq, e.Gap = Time(p.varint()), p.varint(), p.uvarint(), p.uvarint()
	if p.err != nil {
		return Envelope{}, fmt.Errorf("envelope at byte %d: %w", p.pos, p.err)
	}
	e.Payload = data[p.pos:len(data):len(data)]
	return e, nil
}

// How far times may be from the moment of reception before they are believed
// no more.
const (
	maxFuture = 60 * 1_000_000
	maxPast   = 180 * 24 * 3600 * 1_000_000
)

// Correct turns a time of the sensor's clock into the server's: shifted by the
// measured offset, and replaced by the moment of reception when it is
// impossible (in the future, or older than any retention).
func (e *Envelope) Correct(t Time) Time {
	if t == 0 {
		return 0
	}
	c := t + Time(e.ClockOffset)
	if c > e.Received+maxFuture || c < e.Received-maxPast {
		return e.Received
	}
	return c
}
