// SPDX-License-Identifier: Apache-2.0

// Package content is the built-in rules.
package content

import (
	"embed"
	"errors"

	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/rule/sigma"
)

//go:embed all:rules
var files embed.FS

const (
	DetectionTestCommand = `sh -c '/bin/true picket-detection-test; exit 0'`
	DetectionTestRule    = "6d3f0f7e-3d0c-4f57-9a53-6b6a3b4c9d11"
)

// Rules returns the built-in rules.
func Rules() ([]*rule.Rule, error) {
	rules, failed, err := sigma.Load(files, sigma.Options{})
	for _, f := range failed {
		err = errors.Join(err, f)
	}
	return rules, err
}
