// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/picket-edr/picket/wire/wirepb"
)

// Bounds of what a device may say about itself. More is cut, not refused: a
// report with one silly value in it is still a sign of life.
const (
	maxName    = 256 // bytes
	maxNote    = 2048
	maxEntries = 256
	maxList    = 64
	maxCount   = 1 << 53
)

// clip cuts text to at most n bytes, at a rune, and takes control characters
// out, which would end up in logs and terminals.
func clip(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

func clipAll(n int, texts ...*string) {
	for _, t := range texts {
		*t = clip(*t, n)
	}
}

func clipList(list []string) []string {
	list = slices.Clone(list[:min(len(list), maxList)])
	for i := range list {
		list[i] = clip(list[i], maxName)
	}
	return list
}

// clipFacts bounds facts in place.
func clipFacts(f *wirepb.Facts) {
	clipAll(maxName, &f.HostName, &f.OsPlatform, &f.OsDistribution, &f.OsVersion, &f.Architecture, &f.KernelVersion,
		&f.SensorVersion, &f.MachineId, &f.BootId, &f.HardwareUuid)
	f.HostName = strings.ToLower(strings.TrimSpace(f.HostName))
	f.IpAddresses = clipList(f.IpAddresses)
}

// clipHealth bounds a report in place.
func clipHealth(h *wirepb.Health) {
	clipAll(maxName, &h.Rung)
	h.Events, h.Lost = clipCounts(h.Events), clipCounts(h.Lost)
	h.IpAddresses = clipList(h.IpAddresses)
	h.Hooks = slices.DeleteFunc(h.Hooks[:min(len(h.Hooks), maxList)], func(k *wirepb.Hook) bool { return k == nil })
	for _, k := range h.Hooks {
		clipAll(maxName, &k.Kind, &k.Rung)
		clipAll(maxNote, &k.BlindSpot, &k.Error)
	}
	h.Notes = slices.DeleteFunc(h.Notes[:min(len(h.Notes), maxEntries)], func(n *wirepb.Note) bool { return n == nil })
	for _, n := range h.Notes {
		clipAll(maxName, &n.Level)
		clipAll(maxNote, &n.Text)
	}
	clipClock(h.Clock)
	h.SpoolBytes, h.SpoolLimitBytes, h.RssBytes = min(h.SpoolBytes, maxCount), min(h.SpoolLimitBytes, maxCount), min(h.RssBytes, maxCount)
	if math.IsNaN(h.CpuPercent) || h.CpuPercent < 0 || h.CpuPercent > 1e6 {
		h.CpuPercent = 0
	}
}

// clipClock bounds what is said of clocks in place.
func clipClock(c *wirepb.HostClock) {
	if c != nil {
		c.SuspendedUs, c.ChangedUs = min(c.SuspendedUs, maxCount), max(0, min(c.ChangedUs, maxCount))
	}
}

// clipCounts keeps the entries that come first by name.
func clipCounts(m map[string]uint64) map[string]uint64 {
	out := make(map[string]uint64, min(len(m), maxEntries))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if len(out) == maxEntries {
			break
		}
		out[clip(k, maxName)] = min(m[k], maxCount)
	}
	return out
}
