// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command picket-guest is the first process of a test guest. It mounts file
// systems and ends the machine, so it does nothing unless it is process 1.
package main

import (
	"context"
	"os"

	"github.com/picket-edr/picket/internal/vmtest/atomics"
	"github.com/picket-edr/picket/internal/vmtest/guest"
)

func main() {
	guest.Child()
	if os.Getpid() == 1 {
		work := guest.RunRounds
		if os.Getenv("PICKET_WORK") == atomics.Work { // from the command line of the kernel
			work = atomics.Run
		}
		guest.First(context.Background(), work)
	}
}
