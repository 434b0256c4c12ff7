// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/picket-edr/picket"
)

// farewellName is the file in the data folder by which a command that is about
// to stop the sensor tells it why.
const farewellName = "farewell"

// announceFarewell leaves word for the running sensor why it is about to be
// stopped. Without a data folder there is no sensor to tell.
func announceFarewell(dir string, why picket.Farewell) error {
	err := writeFile(filepath.Join(dir, farewellName), []byte(why), 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tell the sensor why it stops: %w", err)
	}
	return nil
}

// takeFarewell reads what a command left, and removes it.
func takeFarewell(dir string) picket.Farewell {
	path := filepath.Join(dir, farewellName)
	b := readFirst(path, 64)
	if len(b) == 0 {
		return picket.FarewellNone
	}
	if os.Remove(path) != nil {
		return picket.FarewellNone // it would be read again at the next stop
	}
	return picket.KnownFarewell(string(bytes.TrimSpace(b)))
}

// shutdownShows is how long after the order to stop it may take until the
// host shows that it goes down: services are stopped side by side.
const shutdownShows = 300 * time.Millisecond

// goodbye finds out why the sensor was told to stop. Where a service manager
// stopped it, that may be since the host goes down.
func (a *agent) goodbye(ctx context.Context) picket.Farewell {
	if why := takeFarewell(a.o.Dir); why != picket.FarewellNone {
		return why
	}
	for end := time.Now().Add(shutdownShows); ; sleep(ctx, 20*time.Millisecond) {
		if hostStops(a.o.Root, time.Now()) {
			return picket.FarewellShutdown
		}
		if os.Getenv("INVOCATION_ID") == "" || !time.Now().Before(end) || ctx.Err() != nil {
			return picket.FarewellStop
		}
	}
}

// readFirst reads at most limit bytes of a file; nothing of one that cannot be read.
func readFirst(path string, limit int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, limit)
	n, err := f.Read(b)
	if err != nil {
		return nil
	}
	return b[:n]
}
