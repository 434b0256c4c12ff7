// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket"
)

// lockDir makes sure that one agent at a time uses a data folder. Closing the
// file, or dying, gives it up.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("data folder %s is in use by another sensor: %w: %w", dir, err, picket.Conflict), f.Close())
	}
	return f, nil
}
