// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/picket-edr/picket/store"
)

// order is how rows lie in a file: what a timeline reads lies together.
const order = `ORDER BY "DeviceId", "Timestamp", "BootId", "BatchSequence", "` + store.IndexColumn + `"`

// sealDays is how many days of one seal get a file of their own. Devices that
// were offline bring old rows; days before the newest sealDays share a file,
// so that a device with a random clock does not make hundreds.
const sealDays = 16

func (s *Store) sealLoop(ctx context.Context) {
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.full:
		case <-t.C:
			if !s.due() {
				continue
			}
		}
		s.report(ctx, "seal", s.Seal(ctx))
		ask(s.merge)
	}
}

// due reports whether rows in memory are old enough to be sealed, or an
// earlier seal failed.
func (s *Store) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cold != nil || !s.hot.since.IsZero() && s.opts.Now().Sub(s.hot.since) >= s.opts.SealAge
}

func (s *Store) report(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		s.metrics.failures.Inc()
		s.opts.Log.Error("event store, tries again", "step", what, "dir", s.opts.Dir, "error", brief(err))
	}
}

// Seal writes the rows in memory into files and moves the durable position
// forward. Rows stay visible all the time. When it fails, rows stay in memory
// and on the bus, and the next call tries again.
func (s *Store) Seal(ctx context.Context) error {
	s.sealing.Lock()
	defer s.sealing.Unlock()
	left := s.frozen()
	err := s.sealTable(ctx)
	if outOfMemory(err) {
		s.readers.giveWay()
		left = s.frozen()
		err = s.sealTable(ctx)
	}
	if err == nil && left {
		err = s.sealTable(ctx)
	}
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if s.opts.OnSealed != nil {
		s.opts.OnSealed(s.Sealed())
	}
	return nil
}

// frozen reports whether a seal that failed has left a table.
func (s *Store) frozen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cold != nil
}

func (s *Store) sealTable(ctx context.Context) error {
	began := s.opts.Now()
	cold, next, err := s.freeze(ctx)
	if err != nil {
		return err
	}
	var files []fileSet
	if cold != nil {
		if files, err = s.writeDays(ctx, cold.table); err != nil {
			return err
		}
	}
	if err := s.thaw(files, next); err != nil {
		return err
	}
	if cold != nil {
		s.metrics.seals.Observe(s.opts.Now().Sub(began).Seconds())
	}
	return nil
}

// freeze puts the table in memory aside for sealing and starts a new one. It
// returns nil when there is nothing to write, and what an earlier seal that
// failed had put aside when there is such.
func (s *Store) freeze(ctx context.Context) (*hotTable, snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cold != nil {
		return s.cold, s.next, nil
	}
	// Rows that cannot be flushed, for want of memory say, stay for the next
	// table: sealing the others is what makes room.
	flushErr := s.flush()
	if isFatal(flushErr) {
		return nil, snapshot{}, flushErr
	}
	next := s.snapshot()
	if s.hot.rows == s.heldRows {
		return nil, next, flushErr
	}
	old := s.hot
	s.cold, s.next = &old, next
	if err := s.switchTable(ctx); err != nil {
		s.cold, s.next = nil, snapshot{}
		return nil, next, err
	}
	if len(s.held) > 0 {
		s.hot.rows, s.hot.since = s.heldRows, s.opts.Now()
		if err := s.giveHeld(); err != nil {
			s.broken(err)
		}
	}
	return s.cold, next, nil
}

// snapshot returns what will be true of the stream once all visible rows are
// on disk. The caller holds mu.
func (s *Store) snapshot() snapshot {
	next := snapshot{s.visible, s.boots.clone()}
	for _, h := range s.held {
		boots := next.boots[h.Envelope.DeviceID]
		if b := boots[h.Envelope.BootID]; b.Seq >= h.Envelope.Seq {
			boots[h.Envelope.BootID] = boot{h.Envelope.Seq - 1, b.At}
		}
	}
	return next
}

// thaw names the files in the manifest and forgets the table that they were
// written from.
func (s *Store) thaw(files []fileSet, next snapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit.Lock()
	defer s.commit.Unlock()
	now := s.versions.current()
	if len(files) == 0 && now.manifest.Position == next.position {
		return nil
	}
	cold := s.cold
	if len(files) > 0 {
		s.cold = nil
	}
	err := s.save(now, s.tablesNow(), func(m *manifest) bool {
		for _, f := range files {
			f.file.Set = m.set(f.columns)
			m.Files = append(m.Files, f.file)
		}
		m.Position, m.Boots = next.position, next.boots
		return true
	})
	if err != nil {
		// The files stay: the manifest may have reached the disk all the same.
		s.cold = cold
		return err
	}
	s.notify()
	return nil
}

// fileSet is a file that the manifest does not name yet.
type fileSet struct {
	file    file
	columns []string
}

// writeDays writes the rows of a table into a file per day.
func (s *Store) writeDays(ctx context.Context, t table) (_ []fileSet, err error) {
	from := memory + "." + t.name
	days, err := daysOf(ctx, s.engine, from)
	if err != nil {
		return nil, err
	}
	var columns []string
	for _, c := range t.columns {
		columns = append(columns, c.Name)
	}
	slices.Sort(columns)
	var out []fileSet
	defer func() {
		if err != nil {
			for _, f := range out {
				_ = os.Remove(filepath.Join(s.opts.Dir, filesDir, f.file.Name))
			}
		}
	}()
	for i, day := range days {
		where := fmt.Sprintf(` WHERE "Timestamp" >= make_timestamp(%d) AND "Timestamp" < make_timestamp(%d) `, day*dayMicros, (day+1)*dayMicros)
		if last := i == sealDays-1; last {
			where = fmt.Sprintf(` WHERE "Timestamp" < make_timestamp(%d) `, (day+1)*dayMicros)
		} else if i >= sealDays {
			break
		}
		f, err := s.write(ctx, s.engine, "SELECT * FROM "+from+where, day, 1)
		if err != nil {
			return out, err
		}
		out = append(out, fileSet{f, columns})
	}
	return out, nil
}

// daysOf returns the days of a table's rows, newest first.
func daysOf(ctx context.Context, e *engine, from string) ([]int64, error) {
	rows, err := e.db.QueryContext(ctx, fmt.Sprintf(`SELECT DISTINCT CAST(floor(epoch_us("Timestamp") / %d) AS BIGINT) FROM %s ORDER BY 1 DESC`, dayMicros, from))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var days []int64
	for rows.Next() {
		var d int64
		if err := rows.Scan(&d); err != nil {
			return nil, err
		}
		days = append(days, d)
	}
	return days, rows.Err()
}

// write copies the rows of a query, sorted, into a new file that is on disk
// on return.
func (s *Store) write(ctx context.Context, e *engine, query string, day int64, level int) (f file, err error) {
	f.Name = filepath.Join(dayName(day), fmt.Sprintf("%010d.parquet", s.number.Add(1)))
	path := filepath.Join(s.opts.Dir, filesDir, f.Name)
	if err := ensureDir(filepath.Dir(path)); err != nil {
		return f, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	copyQuery := fmt.Sprintf("COPY (%s %s) TO %s (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL %d, ROW_GROUP_SIZE 40960)", query, order, quote(path), level)
	if err := e.exec(ctx, copyQuery); err != nil {
		return f, err
	}
	if err := syncFile(path); err != nil {
		return f, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return f, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return f, err
	}
	f.Bytes = info.Size()
	if f.Sum, err = checksum(path, nil); err != nil {
		return f, err
	}
	stats := `SELECT count(*), coalesce(epoch_us(min("Timestamp")), 0), coalesce(epoch_us(max("Timestamp")), 0) FROM ` + readParquet([]string{quote(path)})
	return f, e.db.QueryRowContext(ctx, stats).Scan(&f.Rows, &f.Min, &f.Max)
}

// sortFiles sorts files by a strict order.
func sortFiles(files []file, less func(a, b file) bool) {
	slices.SortStableFunc(files, func(a, b file) int {
		switch {
		case less(a, b):
			return -1
		case less(b, a):
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
}
