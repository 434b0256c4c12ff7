// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/store"
)

// heldBatch is a delivery whose rows are not visible yet. It is kept to be
// given again when DuckDB could not take it.
type heldBatch struct {
	store.Delivery
	limit int // bytes of one text
}

// Append takes deliveries into memory. It waits while there is no room.
func (s *Store) Append(ctx context.Context, deliveries []store.Delivery) error {
	for i := range deliveries {
		if err := s.accept(ctx, &deliveries[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) accept(ctx context.Context, d *store.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.await(ctx, d); err != nil {
		return err
	}
	if s.pending.Epoch != d.Position.Epoch {
		s.boots.restart()
	} else if d.Position.Sequence <= s.pending.Sequence {
		s.counts.duplicate++
		return nil
	}
	s.pending = d.Position
	if !d.Envelope.Remark() && s.boots.seen(d.Envelope.DeviceID, d.Envelope.BootID, d.Envelope.Seq, d.Position.Sequence) {
		s.counts.duplicate++
		return nil
	}
	rows := d.Batch.Rows()
	if rows == 0 {
		return nil
	}
	h := &heldBatch{Delivery: *d}
	var size int64
	h.limit, size = textLimit(d.Batch)
	s.held = append(s.held, h)
	s.heldRows += rows
	if s.hot.since.IsZero() {
		s.hot.since = s.opts.Now()
	}
	s.hot.rows += rows
	s.hot.bytes += size + int64(rows*len(s.hot.columns)*12)
	s.metrics.rows.Add(float64(rows))
	if err := s.app.add(h); err != nil {
		s.broken(err) // the flush loop tries again
	}
	return nil
}

// await returns when the delivery can be taken. The caller holds mu, which is
// given up while waiting.
func (s *Store) await(ctx context.Context, d *store.Delivery) error {
	for {
		if s.closed {
			return errClosed()
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("append: %w: %w", err, picket.Canceled)
		}
		if isFatal(s.failure) {
			return s.failure
		}
		if s.room() {
			err := s.widen(ctx, d.Batch)
			if err == nil {
				return nil
			}
			s.broken(err)
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
}

// room reports whether a batch can be taken now, and asks for a seal when the
// table in memory is full. The caller holds mu.
func (s *Store) room() bool {
	if s.heldRows >= min(flushRows, s.opts.SealRows/4+1) {
		_ = s.flush() // s.failure tells
	}
	if s.app == nil {
		return false
	}
	if s.hot.rows < s.opts.SealRows && s.hot.bytes < s.opts.SealBytes {
		return true
	}
	s.pressed.Store(s.opts.Now().Unix())
	ask(s.full)
	return s.cold == nil && s.hot.rows < 2*s.opts.SealRows && s.hot.bytes < 2*s.opts.SealBytes
}

// ask sends on a channel that remembers one request.
func ask(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // asked already
	}
}

// notify wakes callers that wait for room. The caller holds mu.
func (s *Store) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// widen adds columns that a batch brings, and nobody filled so far, to the
// table in memory. The caller holds mu.
func (s *Store) widen(ctx context.Context, b *event.Batch) error {
	var more []schema.Column
	for _, blk := range b.Blocks {
		for i := range blk.Columns {
			col := blk.Columns[i].Name
			if s.app.has(col) || has(more, col) {
				continue
			}
			if c := find(s.physical(), col); c != nil {
				more = append(more, *c)
			}
		}
	}
	if len(more) == 0 {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.app.close()
	s.app = nil
	defer s.showTables()
	for _, c := range more {
		if err := s.engine.exec(ctx, fmt.Sprintf("ALTER TABLE %s.%s ADD COLUMN %s %s", memory, s.hot.name, name(c.Name), sqlType(c.Type))); err != nil {
			return err
		}
		s.hot.columns = append(s.hot.columns[:len(s.hot.columns):len(s.hot.columns)], c)
	}
	app, err := newAppender(s.engine, s.hot.table)
	if err == nil {
		s.app = app
	}
	return err
}

func find(columns []schema.Column, name string) *schema.Column {
	for i := range columns {
		if strings.EqualFold(columns[i].Name, name) {
			return &columns[i]
		}
	}
	return nil
}

func has(columns []schema.Column, name string) bool { return find(columns, name) != nil }

// broken drops the appender, whose rows DuckDB forgets with it, and remembers
// why. The rows are held still. The caller holds mu.
func (s *Store) broken(err error) {
	if s.app != nil {
		s.app.close()
		s.app = nil
	}
	if s.failure == nil {
		s.opts.Log.Error("event store cannot take rows, and tries again", "dir", s.opts.Dir, "error", brief(err))
	}
	if outOfMemory(err) {
		s.readers.giveWay()
	}
	s.failure = err
	s.metrics.failures.Inc()
	if isFatal(err) {
		s.notify() // nothing will get better
	}
}

// isFatal reports whether the engine refuses all work from now on. Its rows
// in memory are gone and come again from the bus after a restart.
func isFatal(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "FATAL") || strings.Contains(err.Error(), "has been invalidated"))
}

// outOfMemory reports whether the engine had too little memory.
func outOfMemory(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "Out of Memory") || strings.Contains(err.Error(), "could not allocate") || strings.Contains(err.Error(), "failed to pin"))
}

// brief leaves out the advice that the engine adds to an error.
func brief(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// flush makes all rows visible, trying those again that failed before. The
// caller holds mu.
func (s *Store) flush() error {
	err := s.giveAgain()
	if err == nil {
		err = s.app.flush()
	}
	if err != nil {
		s.broken(err)
		return err
	}
	s.counts.unknown += s.app.unknown
	s.counts.truncated += s.app.truncated
	s.app.unknown, s.app.truncated = 0, 0
	s.held, s.heldRows, s.visible = nil, 0, s.pending
	if s.failure != nil {
		s.failure = nil
		s.opts.Log.Info("event store takes rows again", "dir", s.opts.Dir)
		s.notify()
	}
	return nil
}

// giveAgain makes a new appender after a failure and gives it what is held.
func (s *Store) giveAgain() error {
	if s.app != nil {
		return nil
	}
	app, err := newAppender(s.engine, s.hot.table)
	if err != nil {
		return err
	}
	s.app = app
	return s.giveHeld()
}

// giveHeld gives what is held to the appender, which is new.
func (s *Store) giveHeld() error {
	for _, h := range s.held {
		if err := s.app.add(h); err != nil {
			return err
		}
	}
	return nil
}

// Flush makes all appended rows visible now. Its error is the reason why rows
// cannot be taken.
func (s *Store) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isFatal(s.failure) {
		return s.failure
	}
	return s.flush()
}

func (s *Store) flushLoop(ctx context.Context) {
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			_ = s.Flush() // told by broken, and tried again
		}
	}
}
