// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/schema"
)

// Options configure an Engine.
type Options struct {
	Clock     func() time.Time      // when an alert is created; required
	Log       *slog.Logger          // required
	Metrics   prometheus.Registerer // nil: no metrics
	Processes int                   // processes remembered over all devices; 0: DefaultProcesses
}

// DefaultProcesses suits a few thousand devices. It takes some 40 MB with usual
// command lines and 250 MB when all are as long as what is kept of them.
const DefaultProcesses = 1 << 17

// Detector is one way of finding things in the stream.
type Detector struct {
	Name string
	Doc  string
	open func(rules []*rule.Rule) finder
}

// Detectors is every detector that an engine runs, in order.
var Detectors = []Detector{
	{Name: "rules", Doc: "Single-event rules.", open: openRules},
}

// finder is an open detector. It is called for one row after the other and
// appends what it finds.
type finder interface {
	bind(batch *event.Batch)
	find(r *row, hits []hit) []hit
}

// hit is a rule that fired on the current row.
type hit struct {
	rule   *rule.Rule
	number int32
}

// row is the row at hand.
type row struct {
	env    *event.Envelope
	batch  *event.Batch
	view   *view
	block  int // in the batch
	index  int // in the block
	action string
}

// when returns the time of the row by the server's clock; a row without a time
// happened when its batch arrived.
func (r *row) when() event.Time {
	if t := r.env.Correct(event.Time(r.view.time.int(r.index))); t != 0 {
		return t
	}
	return r.env.Received
}

// Engine runs all detectors over the events of many devices. Rows of one
// device must come in the order in which its batches are numbered; devices
// may interleave in any way, and how rows are cut into batches makes no
// difference to what is found. It is safe for concurrent use.
type Engine struct {
	opts    Options
	metrics *metrics

	mu      sync.Mutex // guards what follows
	finders []finder
	memory  *memory
	views   []view
	hits    []hit
}

// New opens an engine with a set of rules.
func New(rules []*rule.Rule, o Options) (*Engine, error) {
	if o.Clock == nil || o.Log == nil {
		return nil, fmt.Errorf("open detection: no clock or no log: %w", picket.Invalid)
	}
	if o.Processes <= 0 {
		o.Processes = DefaultProcesses
	}
	keys := map[string]bool{}
	for _, r := range rules {
		if keys[r.Key()] {
			return nil, fmt.Errorf("open detection: two rules are called %q: %w", r.Key(), picket.Conflict)
		}
		keys[r.Key()] = true
	}
	e := &Engine{opts: o, memory: newMemory(o.Processes)}
	for _, d := range Detectors {
		e.finders = append(e.finders, d.open(rules))
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("open detection: %w", err)
	}
	e.metrics = m
	return e, nil
}

// Feed runs the detectors over the rows of one batch, in the order of their
// report ids, and returns what they found, equal causes folded into one alert.
// Tables that this build does not know are passed over.
func (e *Engine) Feed(env event.Envelope, batch *event.Batch) ([]picket.Alert, error) {
	if env.DeviceID == "" {
		return nil, fmt.Errorf("detect: batch of no device: %w", picket.Invalid)
	}
	if err := consistent(batch); err != nil {
		return nil, fmt.Errorf("detect: batch %d of device %s: %w", env.Seq, env.DeviceID, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	dev := e.memory.device(env.Tenant, env.DeviceID)
	e.open(batch)
	raised := alerts{engine: e, env: &env, batch: batch, device: dev}
	rows := 0
	r := row{env: &env, batch: batch}
	for e.next(&r) {
		if rows++; rows == 1 && env.Gap > 0 { // the missing batches were right before the first row
			dev.losses.add(r.when(), int64(min(env.Gap, maxGap)))
		}
		e.memory.observe(dev, &r)
		e.hits = e.hits[:0]
		for _, f := range e.finders {
			e.hits = f.find(&r, e.hits)
		}
		for _, h := range e.hits {
			raised.raise(h.rule, &r)
			e.metrics.hit(h.rule)
		}
	}
	e.metrics.rows.Add(float64(rows))
	return raised.list, nil
}

// maxGap bounds what one gap adds to the count of lost events.
const maxGap = 1 << 32

// consistent refuses batches whose columns are not as long as their blocks.
// Batches from the wire never are; this keeps others from causing a panic.
func consistent(batch *event.Batch) error {
	for _, b := range batch.Blocks {
		for i := range b.Columns {
			c := &b.Columns[i]
			n := len(c.Ints)
			switch {
			case c.Type.Text():
				n = len(c.Strings)
			case c.Type == schema.Real:
				n = len(c.Reals)
			}
			if n != b.Rows || c.Valid != nil && len(c.Valid) != b.Rows {
				return fmt.Errorf("column %.64s of %.64s does not have %d rows: %w", c.Name, b.Name, b.Rows, picket.Invalid)
			}
		}
	}
	return nil
}

// open readies views and finders for a batch.
func (e *Engine) open(batch *event.Batch) {
	e.views = e.views[:0]
	for _, b := range batch.Blocks {
		e.views = append(e.views, newView(b))
	}
	for _, f := range e.finders {
		f.bind(batch)
	}
}

// next moves to the row with the lowest report id among the next rows of all
// blocks. Sensors number rows as they leave, so within a block they are in order.
func (e *Engine) next(r *row) bool {
	best := -1
	var least int64
	for i := range e.views {
		v := &e.views[i]
		if v.at >= v.rows {
			continue
		}
		if id := v.report.int(v.at); best < 0 || id < least {
			best, least = i, id
		}
	}
	if best < 0 {
		return false
	}
	v := &e.views[best]
	r.view, r.block, r.index, r.action = v, best, v.at, v.action.text(v.at)
	v.at++
	return true
}

// rules is the detector of single-event rules.
type rules struct {
	tables map[*schema.Table]map[string][]*group // by action
	groups []*group
	fired  []uint32 // by rule number: row for which it has been reported
	row    uint32
}

func openRules(set []*rule.Rule) finder {
	d := &rules{tables: map[*schema.Table]map[string][]*group{}, fired: make([]uint32, len(set))}
	bySource := map[*schema.LogSource]*group{}
	for i, r := range set {
		routes := r.Routes()
		for k := range routes {
			rt := &routes[k]
			g := bySource[rt.Source]
			if g == nil {
				g = newGroup(rt.Table, rt.Source)
				bySource[rt.Source] = g
				d.groups = append(d.groups, g)
			}
			g.add(r, int32(i), rt)
		}
	}
	for _, g := range d.groups {
		g.finish()
		if d.tables[g.table] == nil {
			d.tables[g.table] = map[string][]*group{}
		}
		for _, a := range g.source.Actions {
			d.tables[g.table][a] = append(d.tables[g.table][a], g)
		}
	}
	return d
}

func (d *rules) bind(batch *event.Batch) {
	for _, g := range d.groups {
		g.bind(batch)
	}
}

// find reports each rule at most once for a row, also when several of its log
// sources cover the row.
func (d *rules) find(r *row, hits []hit) []hit {
	groups := d.tables[r.view.table][r.action]
	if len(groups) == 0 {
		return hits
	}
	if d.row++; d.row == 0 {
		clear(d.fired)
		d.row = 1
	}
	from := len(hits)
	for _, g := range groups {
		hits = g.match(r, hits)
	}
	kept := hits[:from]
	for _, h := range hits[from:] {
		if d.fired[h.number] != d.row {
			d.fired[h.number] = d.row
			kept = append(kept, h)
		}
	}
	return kept
}
