// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/detect"
)

// detection reads a tenant's stream for the rules. Batches of one moment are
// put together first, so that the rules see what a device did in order.
type detection struct {
	*pipeline
	reader string

	mu     sync.Mutex
	gather *detect.Gather
	read   uint64 // place in the stream that was read last
	kept   uint64 // position that is kept
}

// overdueEvery is how often moments are looked at whose rest does not come.
const overdueEvery = 250 * time.Millisecond

// detect runs the rules. Its position is kept in the state database after the
// alerts, and alerts fold, so a crash in between repeats without effect.
func (p *pipeline) detect(ctx context.Context, epoch string) error {
	d := &detection{pipeline: p, reader: "detect@" + epoch, gather: &detect.Gather{}}
	from, err := p.db.Position(ctx, p.tenant, d.reader)
	if err != nil && picket.Kind(err) != picket.NotFound {
		return err
	}
	d.read, d.kept = from, from
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.watch(ctx) })
	g.Go(func() error { return p.bus.Consume(ctx, p.tenant, from, d.take) })
	return g.Wait()
}

// take works off a group of messages. After an error the same group comes
// again: nothing has been taken then.
func (d *detection) take(ctx context.Context, group []bus.Message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	gather, now := d.gather.Clone(), time.Now()
	var ready []detect.Moment
	for _, m := range group {
		if b := d.decode("detect", m); b != nil {
			ready = append(ready, gather.Add(m.Sequence, m.Envelope, b, now)...)
		}
	}
	return d.feed(ctx, gather, append(ready, gather.Overdue(now)...), group[len(group)-1].Sequence)
}

// watch gives up waiting for what does not come, until ctx ends.
func (d *detection) watch(ctx context.Context) error {
	t := time.NewTicker(overdueEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := d.overdue(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("detection failed and tries again", "tenant", d.tenant, "error", err)
		}
	}
}

func (d *detection) overdue(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	gather := d.gather.Clone()
	ready := gather.Overdue(time.Now())
	if len(ready) == 0 {
		return nil
	}
	return d.feed(ctx, gather, ready, d.read)
}

// feed has the rules see what is ready, raises what they find, and then takes
// over what is held back now and the position before it.
func (d *detection) feed(ctx context.Context, gather *detect.Gather, ready []detect.Moment, read uint64) error {
	var alerts []picket.Alert
	rows := 0
	for _, m := range ready {
		found, err := d.engine.Feed(m.Envelope, m.Batch)
		if err != nil {
			return fmt.Errorf("detect: batch %d of %s: %w", m.Envelope.Seq, m.Envelope.DeviceID, err)
		}
		rows += m.Batch.Rows()
		alerts = append(alerts, found...)
	}
	if err := d.raise(ctx, alerts); err != nil {
		return err
	}
	if at := gather.Before(read); at > d.kept {
		if err := d.db.SetPosition(ctx, d.tenant, d.reader, at); err != nil {
			return err
		}
		d.kept = at
	}
	d.gather, d.read = gather, read
	d.metrics.detected.WithLabelValues(d.tenant).Add(float64(rows))
	d.metrics.at.WithLabelValues(d.tenant, "detect").Set(float64(d.kept))
	return nil
}
