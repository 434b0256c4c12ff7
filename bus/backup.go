// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/picket-edr/picket"
)

// positionsFile is what Backup writes and Open takes in.
const positionsFile = "positions.backup"

// Backup writes into a folder how far each device has come, so that a server
// restored from it can tell what it missed. The messages themselves are left
// out: readers have them, or sensors still do. Call it before readers are
// backed up. A bus opened on the folder takes the positions in.
func (b *Bus) Backup(ctx context.Context, dir string) error {
	all := map[string]string{} // by tenant and device
	if err := b.scan(ctx, positionsStream, func(m *stored) {
		all[strings.Join(strings.Split(m.subject, ".")[1:], " ")] = string(m.data)
	}); err != nil {
		return fmt.Errorf("bus: backup: %w", err)
	}
	names := b.js.StreamNames(ctx, jetstream.WithStreamListSubject("EVENTS.>"))
	for name := range names.Name() {
		tenant, ok := strings.CutPrefix(name, streamName(""))
		if !ok || picket.ValidTenantID(tenant) != nil {
			continue
		}
		if err := b.scan(ctx, name, func(m *stored) { all[tenant+" "+m.device] = m.last }); err != nil {
			return fmt.Errorf("bus: backup of tenant %s: %w", tenant, err)
		}
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("bus: backup: %v: %w", err, picket.Unavailable)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("bus: backup: %w", err)
	}
	return writePositions(filepath.Join(dir, positionsFile), all)
}

func writePositions(path string, all map[string]string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("bus: backup: %w", err)
	}
	w := bufio.NewWriter(f)
	for device, last := range all {
		fmt.Fprintf(w, "%s %s\n", device, last)
	}
	if err := errors.Join(w.Flush(), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("bus: backup: %w", err)
	}
	return nil
}

// scan calls f with every message of a stream that is there now.
func (b *Bus) scan(ctx context.Context, stream string, f func(*stored)) error {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("stream %s: %v: %w", stream, err, picket.Unavailable)
	}
	st := s.CachedInfo().State
	for from := st.FirstSeq; from <= st.LastSeq && st.Msgs > 0; {
		msgs, err := b.read(ctx, stream, from, true)
		if err != nil {
			return err
		}
		if len(msgs) == 0 {
			return nil
		}
		for i := range msgs {
			f(&msgs[i])
		}
		from = msgs[len(msgs)-1].seq + 1
	}
	return nil
}

// takeIn reads the positions that a backup left in the folder, and removes
// them. Devices of which more is known already stay as they are.
func (b *Bus) takeIn(ctx context.Context) error {
	if b.opts.Dir == "" {
		return nil
	}
	path := filepath.Join(b.opts.Dir, positionsFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	n := 0
	for sc.Scan() {
		n++
		if err := b.takeInLine(ctx, sc.Text()); err != nil {
			return fmt.Errorf("%s, line %d: %w", path, n, err)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("%s: %v: %w", path, err, picket.Invalid)
	}
	b.opts.Log.Info("positions of devices are restored", "devices", n)
	return os.Remove(path)
}

func (b *Bus) takeInLine(ctx context.Context, line string) error {
	f := strings.SplitN(line, " ", 3)
	if len(f) != 3 || !plain(f[1]) {
		return fmt.Errorf("no position: %w", picket.Invalid)
	}
	last, err := parseLast(f[2])
	if err != nil {
		return err
	}
	known, err := b.Last(ctx, f[0], f[1])
	if err != nil || known.BootID != "" {
		return err
	}
	if _, err := b.js.Publish(ctx, positionSubject(f[0], f[1]), []byte(last.text())); err != nil {
		return fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	return nil
}
