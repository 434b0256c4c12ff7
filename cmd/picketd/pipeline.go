// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/detect"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/store"
	"github.com/picket-edr/picket/store/duckdb"
)

// pipeline is what happens to the events of one tenant: into the store, and
// through detection into alerts, each at its own pace.
type pipeline struct {
	tenant   string
	bus      *bus.Bus
	db       *state.DB
	events   *duckdb.Store
	engine   *detect.Engine
	testRule string // id of the rule of the detection test
	notify   *notifier
	metrics  *pipelineMetrics
	log      *slog.Logger
}

type pipelineMetrics struct {
	stored   *prometheus.CounterVec
	detected *prometheus.CounterVec
	alerts   *prometheus.CounterVec
	broken   *prometheus.CounterVec
	at       *prometheus.GaugeVec
}

func newPipelineMetrics(r prometheus.Registerer) *pipelineMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "picket", Name: name, Help: help}, append([]string{"tenant"}, labels...))
	}
	m := &pipelineMetrics{
		stored:   counter("store_rows_total", "Rows given to the event store."),
		detected: counter("detect_rows_total", "Rows seen by detection."),
		alerts:   counter("alerts_total", "Alerts raised or extended.", "severity"),
		broken:   counter("broken_messages_total", "Messages on the bus that could not be read.", "reader"),
		at:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "picket", Name: "reader_position", Help: "Sequence that a reader of the bus has reached."}, []string{"tenant", "reader"}),
	}
	r.MustRegister(m.stored, m.detected, m.alerts, m.broken, m.at)
	return m
}

// eventsDir is where a tenant's events rest.
func eventsDir(data, tenant string) string { return filepath.Join(data, "events", tenant) }

// run works until ctx ends.
func (p *pipeline) run(ctx context.Context) error {
	st, err := p.bus.State(ctx, p.tenant)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.store(ctx, st.Epoch) })
	g.Go(func() error { return p.detect(ctx, st.Epoch) })
	g.Go(func() error { return p.trim(ctx, st.Epoch) })
	return g.Wait()
}

// decode reads a message's batch. What cannot be read was accepted by the
// gateway of another version; it is counted and skipped.
func (p *pipeline) decode(reader string, m bus.Message) *event.Batch {
	b, err := event.Decode(m.Envelope.Payload, event.DefaultLimits)
	if err != nil {
		p.metrics.broken.WithLabelValues(p.tenant, reader).Inc()
		p.log.Error("message on the bus cannot be read", "tenant", p.tenant, "reader", reader, "sequence", m.Sequence, "error", err)
		return nil
	}
	return b
}

// store moves messages into the event store, from its own durable position.
func (p *pipeline) store(ctx context.Context, epoch string) error {
	from := uint64(0)
	if at := p.events.Sealed(); at.Epoch == epoch {
		from = at.Sequence
	}
	made := map[string]event.Time{} // when each device made its newest batch, by its own clock
	return p.bus.Consume(ctx, p.tenant, from, func(ctx context.Context, group []bus.Message) error {
		deliveries := make([]store.Delivery, 0, len(group))
		rows := 0
		for _, m := range group {
			b := p.decode("store", m)
			if b == nil {
				b = &event.Batch{}
			}
			if m.Envelope.Gap > 0 {
				b.Blocks = append(b.Blocks, gapBlocks(&m.Envelope, made[m.Envelope.DeviceID], b.Created)...)
			}
			if b.Created != 0 && !m.Envelope.Remark() {
				made[m.Envelope.DeviceID] = b.Created
			}
			rows += b.Rows()
			deliveries = append(deliveries, store.Delivery{Position: store.Position{Epoch: epoch, Sequence: m.Sequence}, Envelope: m.Envelope, Batch: b})
		}
		if err := p.events.Append(ctx, deliveries); err != nil {
			return err
		}
		p.metrics.stored.WithLabelValues(p.tenant).Add(float64(rows))
		p.metrics.at.WithLabelValues(p.tenant, "store").Set(float64(group[len(group)-1].Sequence))
		return nil
	})
}

// gapBlocks says on the timeline that batches never arrived: those between two
// that were made from one moment to another. Zero: not known.
func gapBlocks(e *event.Envelope, from, to event.Time) []*event.Block {
	if to == 0 {
		to = e.Received - event.Time(e.ClockOffset)
	}
	more := map[string]any{"Lost": map[string]uint64{"batches": e.Gap}, "To": to.Time()}
	if from != 0 && from < to {
		more["From"] = from.Time()
	}
	fields, err := json.Marshal(more)
	if err != nil {
		return nil
	}
	var b event.Builder
	b.Add(&event.DeviceEvents{Timestamp: to, ActionType: "SensorGap", AdditionalFields: string(fields)})
	return b.Take()
}

// raise folds alerts into the queue and tells browsers.
func (p *pipeline) raise(ctx context.Context, alerts []picket.Alert) error {
	if len(alerts) == 0 {
		return nil
	}
	now := time.Now()
	results, err := p.db.FoldAlerts(ctx, p.tenant, alerts, now)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.Added == 0 && !r.Created {
			continue
		}
		p.metrics.alerts.WithLabelValues(p.tenant, string(r.Severity)).Inc()
		p.notify.alert(p.tenant, r.ID, r.DeviceID)
		if i < len(alerts) && alerts[i].RuleID == p.testRule {
			step := state.SetupStep{At: now, DeviceID: r.DeviceID, DeviceName: alerts[i].DeviceName, AlertID: r.ID}
			if _, err := p.db.CompleteSetupStep(ctx, p.tenant, state.StepDetectionTest, step); err != nil {
				return err
			}
			p.notify.setup(p.tenant)
		}
	}
	return nil
}

// trim lets the bus forget what both readers are done with.
func (p *pipeline) trim(ctx context.Context, epoch string) error {
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	trimmed := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		sealed := p.events.Sealed()
		detected, err := p.db.Position(ctx, p.tenant, "detect@"+epoch)
		if err != nil || sealed.Epoch != epoch {
			continue
		}
		if upTo := min(sealed.Sequence, detected); upTo > trimmed {
			if err := p.bus.Trim(ctx, p.tenant, upTo); err != nil {
				p.log.Warn("bus is not trimmed", "tenant", p.tenant, "error", err)
				continue
			}
			trimmed = upTo
		}
	}
}
