// SPDX-License-Identifier: Apache-2.0

package content

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/rule/sigma"
)

//go:embed rules
var files embed.FS

// DetectionTestCommand is the detection test: a line for any shell of any user
// on any Linux which raises exactly one alert, by the rule DetectionTestRule.
// It starts a shell in a shell, waits a second and prints a line, needs no
// network and leaves nothing behind. The rule recognises the inner shell by
// its name, which is the last word of its command line.
const DetectionTestCommand = `sh -c 'sh -c "sleep 1; echo Picket detection test: done" picket-detection-test; true'`

// DetectionTestRule is the id of the rule that DetectionTestCommand triggers.
const DetectionTestRule = "1f7328c8-7537-4ca0-9e0d-01289789ce07"

// Files returns the built-in rules as a file system: <tactic>/<name>.yml.
func Files() (fs.FS, error) {
	sub, err := fs.Sub(files, "rules")
	if err != nil {
		return nil, fmt.Errorf("built-in rules: %w", err)
	}
	return sub, nil
}

// Rules returns the built-in detection rules in the order of their files.
func Rules() ([]*rule.Rule, error) {
	fsys, err := Files()
	if err != nil {
		return nil, err
	}
	rules, failed, err := sigma.Load(fsys, sigma.Options{})
	if err != nil {
		return nil, fmt.Errorf("built-in rules: %w", err)
	}
	if len(failed) > 0 {
		errs := make([]error, len(failed))
		for i, f := range failed {
			errs[i] = f
		}
		return nil, fmt.Errorf("built-in rules: %w: %w", picket.Internal, errors.Join(errs...))
	}
	return rules, nil
}
