// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/picket-edr/picket"
)

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(c *console) error {
	_, err := fmt.Fprintln(c.out, picket.Version)
	return err
}
