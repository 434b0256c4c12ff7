// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/picket-edr/picket"
)

// embed starts the server in this process. It opens no port: only this
// process can reach it.
func (b *Bus) embed() error {
	dir := filepath.Clean(b.opts.Dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "picketd", DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: true,
		NoSigs: true, MaxPayload: maxMessage, DisableJetStreamBanner: true,
		// Each stream's own bound decides, and the disk guard; these only keep
		// the sum of the bounds from being reserved.
		JetStreamMaxStore: 1 << 50, JetStreamMaxMemory: 64 << 20,
	})
	if err != nil {
		return err
	}
	s.SetLogger(serverLog{b.opts.Log}, false, false)
	b.server = s
	go s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("the embedded server does not start")
	}
	if !s.JetStreamEnabled() {
		return fmt.Errorf("the embedded server cannot use %s: %w", dir, picket.Unavailable)
	}
	if b.conn, err = nats.Connect("", nats.InProcessServer(s), nats.Name("picketd write"), nats.ErrorHandler(b.complain)); err != nil {
		return err
	}
	b.disk = &disk{dir: dir, reserve: b.opts.Reserve, free: freeBytes}
	b.reads, err = nats.Connect("", nats.InProcessServer(s), nats.Name("picketd read"), nats.ErrorHandler(b.complain))
	return err
}

// serverLog writes what the embedded server says into our log.
type serverLog struct{ log *slog.Logger }

func (l serverLog) say(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, "bus server", "says", fmt.Sprintf(format, v...))
}

func (l serverLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.say(slog.LevelWarn, format, v) }
func (l serverLog) Errorf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l serverLog) Debugf(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
func (l serverLog) Tracef(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }

// disk keeps the embedded server from filling the disk: it would stop for
// good then, where a refused batch is only sent again. A nil disk has room.
type disk struct {
	dir     string
	reserve int64
	free    func(dir string) (int64, error)

	mu      sync.Mutex
	checked time.Time
	err     error
}

// checkEvery is how long one look at the disk counts.
const checkEvery = 500 * time.Millisecond

func (d *disk) room() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.checked) < checkEvery {
		return d.err
	}
	d.checked, d.err = time.Now(), nil
	free, err := d.free(d.dir)
	switch {
	case err != nil:
		d.err = fmt.Errorf("bus: free space of %s: %v: %w", d.dir, err, picket.Unavailable)
	case free < d.reserve:
		d.err = fmt.Errorf("bus: %d bytes free on the disk of %s, %d are kept: %w", free, d.dir, d.reserve, picket.Unavailable)
	}
	return d.err
}
