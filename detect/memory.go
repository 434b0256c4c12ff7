// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"container/list"
	"encoding/hex"

	"github.com/picket-edr/picket/event"
)

// memory remembers the processes of devices, so that alerts can show the chain
// of processes behind an event. It is bounded twice: a device keeps its most
// recent processes and those that recent ones descend from, and when all
// devices together keep too many, the devices that were silent for longest
// are forgotten. Texts are copied into buffers of its own, which are used
// again, because the text of a row holds on to its whole batch.
type memory struct {
	max     int
	total   int
	devices map[deviceKey]*list.Element
	recent  *list.List // of *device, most recent first
}

type deviceKey struct{ tenant, id string }

// device is what the engine remembers of one device.
type device struct {
	key    deviceKey
	index  map[guid]int32
	procs  []process
	hand   int // next candidate for being forgotten
	losses losses
}

type guid [16]byte

// process is one remembered process.
type process struct {
	id, parent guid
	pid        int64
	started    event.Time
	path       field
	command    field
	user       field
	used       bool // something referred to it since the hand last passed
}

// field is a text in a buffer that is kept when the text changes.
type field []byte

func (f *field) set(s string, limit int) {
	*f = append((*f)[:0], s[:min(len(s), limit)]...)
}

// Bounds on what is remembered of one device.
const (
	maxDeviceProcesses = 4096
	maxPathText        = 512
	maxCommandText     = 1024
	maxUserText        = 64
)

func newMemory(processes int) *memory {
	return &memory{max: processes, devices: map[deviceKey]*list.Element{}, recent: list.New()}
}

// maxDevices bounds the devices remembered, whatever they have sent.
const maxDevices = 1 << 17

// device returns the memory of a device, which becomes the most recent one.
func (m *memory) device(tenant, id string) *device {
	key := deviceKey{tenant, id}
	if e, ok := m.devices[key]; ok {
		m.recent.MoveToFront(e)
		return e.Value.(*device)
	}
	if len(m.devices) >= maxDevices {
		m.forget(m.recent.Back())
	}
	d := &device{key: key, index: map[guid]int32{}}
	m.devices[key] = m.recent.PushFront(d)
	return d
}

func (m *memory) forget(e *list.Element) {
	d := m.recent.Remove(e).(*device)
	m.total -= len(d.procs)
	delete(m.devices, d.key)
}

// observe learns from a row: losses, and processes that start or are found.
func (m *memory) observe(d *device, r *row) {
	v, i := r.view, r.index
	if n := v.loss.int(i); n > 0 {
		d.losses.add(r.when(), min(n, maxGap))
	}
	if r.action == "SensorLoss" {
		d.losses.add(r.when(), lostIn(v.more.text(i)))
	}
	if v.table.Name != processTable || r.action != "ProcessCreated" && r.action != "ProcessFound" {
		return
	}
	parent, _ := parseGUID(v.initiator.text(i))
	if _, known := d.index[parent]; !known && parent != (guid{}) {
		up, _ := parseGUID(v.grandparent.text(i))
		p := m.put(d, parent, up)
		p.pid, p.started = v.initPID.int(i), r.env.Correct(event.Time(v.initStarted.int(i)))
		p.path.set(v.initPath.text(i), maxPathText)
		p.command.set(v.initCommand.text(i), maxCommandText)
		p.user.set(v.initUser.text(i), maxUserText)
	}
	id, ok := parseGUID(v.process.text(i))
	if !ok {
		return
	}
	p := m.put(d, id, parent)
	p.pid, p.started = v.pid.int(i), r.env.Correct(event.Time(v.started.int(i)))
	p.path.set(v.path.text(i), maxPathText)
	p.command.set(v.command.text(i), maxCommandText)
	p.user.set(v.user.text(i), maxUserText)
}

// put returns the place for a process, forgetting another one when the device
// remembers too many: the first that nothing referred to since the hand last
// came by.
func (m *memory) put(d *device, id, parent guid) *process {
	if k, ok := d.index[parent]; ok {
		d.procs[k].used = true
	}
	k, ok := d.index[id]
	switch {
	case ok:
	case len(d.procs) < maxDeviceProcesses && m.room(d):
		k = int32(len(d.procs))
		d.procs = append(d.procs, process{})
		m.total++
	default:
		for d.procs[d.hand].used {
			d.procs[d.hand].used = false
			d.hand = (d.hand + 1) % len(d.procs)
		}
		k = int32(d.hand)
		d.hand = (d.hand + 1) % len(d.procs)
		delete(d.index, d.procs[k].id)
	}
	d.index[id] = k
	p := &d.procs[k]
	p.id, p.parent, p.used = id, parent, false
	return p
}

// room reports whether one more process may be remembered, after forgetting
// silent devices if that helps. A device may always remember a few.
func (m *memory) room(d *device) bool {
	for m.total >= m.max {
		e := m.recent.Back()
		if e == nil || e.Value.(*device) == d {
			break
		}
		m.forget(e)
	}
	return m.total < m.max || len(d.procs) < minDeviceProcesses
}

const minDeviceProcesses = 16

// parseGUID reads a process GUID; anything else than 32 hexadecimal digits is
// not one.
func parseGUID(s string) (guid, bool) {
	var g guid
	if len(s) != 2*len(g) {
		return guid{}, false
	}
	var text [2 * len(g)]byte
	copy(text[:], s)
	if _, err := hex.Decode(g[:], text[:]); err != nil {
		return guid{}, false
	}
	return g, g != guid{}
}

func (g guid) String() string {
	if g == (guid{}) {
		return ""
	}
	return hex.EncodeToString(g[:])
}

// lookup returns a remembered process, nil when it is not known.
func (d *device) lookup(id guid) *process {
	if k, ok := d.index[id]; ok && id != (guid{}) {
		return &d.procs[k]
	}
	return nil
}
