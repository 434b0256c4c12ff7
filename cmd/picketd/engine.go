// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"time"

	"github.com/picket-edr/picket/detect"
	"github.com/picket-edr/picket/rule"
)

// newEngine opens detection for one tenant.
func newEngine(rules []*rule.Rule, log *slog.Logger) (*detect.Engine, error) {
	return detect.New(rules, detect.Options{Clock: time.Now, Log: log})
}
