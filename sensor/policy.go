// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/budget"
	"github.com/picket-edr/picket/sensor/redact"
	"github.com/picket-edr/picket/sensor/spool"
)

// ScriptLevels are what a policy may let be told of scripts; each has all of
// those before it. Script files are known by path and hash, and what is typed
// into shells is told, unless the policy says otherwise.
var ScriptLevels = []string{"off", "hashes", "lines", "content"}

// Policy is what the server wants of a sensor. Zero values mean the default.
type Policy struct {
	FlushMilliseconds int           `json:"flushMilliseconds,omitempty"` // longest wait of an event for its batch: 10 to 5000, default 150
	HealthSeconds     int           `json:"healthSeconds,omitempty"`     // between two reports: 5 to 60, default 30
	SpoolBytes        int64         `json:"spoolBytes,omitempty"`        // disk space of the spool: 1 MiB to 64 GiB, default as configured
	DisabledKinds     []string      `json:"disabledKinds,omitempty"`     // of Kinds: not reported
	Exclude           Exclusions    `json:"exclude,omitzero"`
	Redact            redact.Policy `json:"redact,omitzero"`         // what is hidden before it leaves the host
	Limits            budget.Limits `json:"limits,omitzero"`         // events a second that may be told; more are counted
	Ceiling           Ceiling       `json:"ceiling,omitzero"`        // what the sensor may take of the host
	ScriptContent     string        `json:"scriptContent,omitempty"` // what is told of scripts: off, hashes, lines (default), content
	LogLevel          string        `json:"logLevel,omitempty"`      // debug, info, warn, error; default as configured
}

// Ceiling is what the sensor may take of the host in the long run. Beyond it
// the kinds of event are shed in the order of package budget.
type Ceiling struct {
	CPUPercent      float64 `json:"cpuPercent,omitempty"`      // of one processor: 1 to 400, default 40
	CPUBurstSeconds int     `json:"cpuBurstSeconds,omitempty"` // of processor time that may be saved up: 1 to 600, default 30
	MemoryBytes     int64   `json:"memoryBytes,omitempty"`     // resident: 64 MiB to 4 GiB, default 256 MiB
}

// or returns the ceiling with what it does not say from another.
func (c Ceiling) or(d budget.Ceiling) budget.Ceiling {
	if c.CPUPercent != 0 {
		d.CPUPercent = c.CPUPercent
	}
	if c.CPUBurstSeconds != 0 {
		d.CPUBurst = time.Duration(c.CPUBurstSeconds) * time.Second
	}
	if c.MemoryBytes != 0 {
		d.MemoryBytes = uint64(c.MemoryBytes)
	}
	return d
}

// Exclusions are events that are not reported. They are counted as filtered,
// not as lost.
type Exclusions struct {
	Folders   []string `json:"folders,omitempty"`   // file, attribute and image events below these absolute paths
	Processes []string `json:"processes,omitempty"` // file, attribute, image, network and name events by processes of these images (absolute paths)
}

const (
	defaultScripts = 2 // of ScriptLevels
	maxPolicy      = 256 << 10
	maxExclusions  = 1000
)

// ParsePolicy reads and checks a policy. Unknown keys are refused, so that a
// server that wants more than this sensor can do learns of it.
func ParsePolicy(data []byte) (*Policy, error) {
	if len(data) > maxPolicy {
		return nil, fmt.Errorf("policy of %d bytes: %w", len(data), picket.TooLarge)
	}
	p := &Policy{}
	if len(bytes.TrimSpace(data)) == 0 {
		return p, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("policy: %v: %w", err, picket.Invalid)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("policy: more than one value: %w", picket.Invalid)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("policy: %w: %w", err, picket.Invalid)
	}
	return p, nil
}

func (p *Policy) check() error {
	for _, r := range []struct {
		name       string
		v, min, mx int64
	}{
		{"flushMilliseconds", int64(p.FlushMilliseconds), 10, 5000},
		{"healthSeconds", int64(p.HealthSeconds), 5, 60},
		{"spoolBytes", p.SpoolBytes, spool.MinLimit, 64 << 30},
		{"ceiling.cpuPercent", int64(math.Ceil(p.Ceiling.CPUPercent)), 1, 400},
		{"ceiling.cpuBurstSeconds", int64(p.Ceiling.CPUBurstSeconds), 1, 600},
		{"ceiling.memoryBytes", p.Ceiling.MemoryBytes, 64 << 20, 4 << 30},
	} {
		if r.v != 0 && (r.v < r.min || r.v > r.mx) {
			return fmt.Errorf("%s is %d, want %d to %d", r.name, r.v, r.min, r.mx)
		}
	}
	for _, k := range p.DisabledKinds {
		if !slices.Contains(Kinds, k) {
			return fmt.Errorf("disabledKinds: unknown kind %q, want some of %s", k, strings.Join(Kinds, ", "))
		}
	}
	if p.LogLevel != "" {
		if _, err := ParseLevel(p.LogLevel); err != nil {
			return err
		}
	}
	if err := p.Limits.Check(); err != nil {
		return err
	}
	if p.ScriptContent != "" && !slices.Contains(ScriptLevels, p.ScriptContent) {
		return fmt.Errorf("scriptContent is %q, want one of %s", p.ScriptContent, strings.Join(ScriptLevels, ", "))
	}
	if err := p.Redact.Check(); err != nil {
		return fmt.Errorf("redact: %w", err)
	}
	return p.Exclude.check()
}

func (e *Exclusions) check() error {
	if n := len(e.Folders) + len(e.Processes); n > maxExclusions {
		return fmt.Errorf("%d exclusions, at most %d", n, maxExclusions)
	}
	for _, f := range slices.Concat(e.Folders, e.Processes) {
		if !path.IsAbs(f) && !isWindowsPath(f) || path.Clean(f) == "/" {
			return fmt.Errorf("exclusion %q: want an absolute path that is not the root", f)
		}
	}
	return nil
}

func isWindowsPath(p string) bool { return len(p) > 3 && p[1] == ':' && (p[2] == '\\' || p[2] == '/') }

// ParseLevel reads the name of a log level.
func ParseLevel(name string) (slog.Level, error) {
	switch name {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log level %q, want debug, info, warn or error: %w", name, picket.Invalid)
}

func (p *Policy) flush(byDefault time.Duration) time.Duration {
	if p.FlushMilliseconds == 0 {
		return byDefault
	}
	return time.Duration(p.FlushMilliseconds) * time.Millisecond
}

func (p *Policy) health(byDefault time.Duration) time.Duration {
	if p.HealthSeconds == 0 {
		return byDefault
	}
	return time.Duration(p.HealthSeconds) * time.Second
}

// Scripts returns what the policy lets be told of scripts: one of ScriptLevels.
func (p *Policy) Scripts() string { return cmp.Or(p.ScriptContent, ScriptLevels[defaultScripts]) }

// filter decides which rows a policy lets through.
type filter struct {
	off       map[string]bool
	actions   map[string]bool // of kinds that are off
	folders   []string        // with a separator at the end
	processes map[string]bool
}

// newFilter returns nil when the policy lets everything through.
func newFilter(p *Policy) *filter {
	if len(p.DisabledKinds)+len(p.Exclude.Folders)+len(p.Exclude.Processes) == 0 {
		return nil
	}
	f := &filter{off: map[string]bool{}, actions: map[string]bool{}, processes: map[string]bool{}}
	for _, k := range p.DisabledKinds {
		f.off[k] = true
		for _, a := range kindsOfActions[k] {
			f.actions[a] = true
		}
	}
	for _, d := range p.Exclude.Folders {
		sep := "/"
		if isWindowsPath(d) {
			sep = `\`
		}
		f.folders = append(f.folders, strings.TrimRight(d, `/\`)+sep)
	}
	for _, i := range p.Exclude.Processes {
		f.processes[i] = true
	}
	return f
}

// drops reports whether a row is not to be reported.
func (f *filter) drops(row event.Row) bool {
	if f == nil {
		return false
	}
	switch r := row.(type) {
	case *event.DeviceProcessEvents:
		return f.off["process"]
	case *event.DeviceFileEvents:
		off := f.off["file"]
		if slices.Contains(kindsOfActions["attribute"], r.ActionType) {
			off = f.off["attribute"]
		}
		return off || f.processes[r.InitiatingProcessFolderPath] || f.below(r.FolderPath)
	case *event.DeviceImageLoadEvents:
		return f.off["image"] || f.processes[r.InitiatingProcessFolderPath] || f.below(r.FolderPath)
	case *event.DeviceNetworkEvents:
		return f.off["network"] || f.off["stream"] && strings.HasSuffix(r.ActionType, "Inspected") || f.processes[r.InitiatingProcessFolderPath]
	case *event.DeviceLogonEvents:
		return f.off["logon"]
	case *event.DeviceEvents:
		switch r.ActionType {
		case "DnsQueryRequest", "DnsQueryResponse", "ScriptContent":
			return f.actions[r.ActionType] || f.processes[r.InitiatingProcessFolderPath]
		case "FileTimestampModificationEvent":
			return f.actions[r.ActionType] || f.processes[r.InitiatingProcessFolderPath] || f.below(r.FolderPath)
		}
		if r.ActionType == "FirewallRuleChanged" {
			return f.off["firewall"]
		}
		return f.actions[r.ActionType] || f.off["interface"] && changesNetwork(r.ActionType)
	}
	return false
}

// changesNetwork reports whether an action is one of kind interface.
func changesNetwork(action string) bool {
	switch action {
	case "TunnelCreated", "TunnelRemoved", "PromiscuousModeEnabled", "PromiscuousModeDisabled", "DefaultRouteChanged":
		return true
	}
	return strings.HasPrefix(action, "NetworkInterface") || strings.HasPrefix(action, "NetworkAddress")
}

// RuleUsage is what one rule of the policy left out.
type RuleUsage struct {
	Rule string `json:"rule"` // as "process /path", "folder /path" or "kind of TABLE"
	Rows uint64 `json:"rows"`
}

// rule names the rule by which a row was dropped.
func (f *filter) rule(row event.Row) string {
	image, path := "", ""
	switch r := row.(type) {
	case *event.DeviceFileEvents:
		image, path = r.InitiatingProcessFolderPath, r.FolderPath
	case *event.DeviceNetworkEvents:
		image = r.InitiatingProcessFolderPath
	case *event.DeviceEvents:
		image = r.InitiatingProcessFolderPath
	}
	if f.processes[image] {
		return "process " + image
	}
	for _, d := range f.folders {
		if strings.HasPrefix(path, d) {
			return "folder " + d
		}
	}
	return "kind of " + row.Table().Name
}

func (f *filter) below(path string) bool {
	for _, d := range f.folders {
		if strings.HasPrefix(path, d) {
			return true
		}
	}
	return false
}
