// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/picket-edr/picket/sensor"
)

// printStatus writes a status for people.
func printStatus(w io.Writer, s *sensor.Status) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	link := fmt.Sprintf("connected to %s (%s) since %s", s.Server, s.Way, s.Since.Local().Format(time.DateTime))
	if !s.Connected {
		link = fmt.Sprintf("not connected to %s: %s", s.Server, s.LastError)
	}
	fmt.Fprintf(t, "Sensor:\t%s, process %d, up %v\n", s.Version, s.PID, time.Duration(s.UptimeSeconds)*time.Second)
	fmt.Fprintf(t, "Device:\t%s, tenant %s, group %q\n", s.DeviceID, s.Tenant, s.Group)
	fmt.Fprintf(t, "Server:\t%s\n", link)
	fmt.Fprintf(t, "Certificate:\tgood until %s\n", s.Certificate.Local().Format(time.DateTime))
	fmt.Fprintf(t, "Policy:\tversion %d\n", s.Policy)
	fmt.Fprintf(t, "Spool:\t%d of %d bytes\n", s.SpoolBytes, s.SpoolLimit)
	if s.SpoolError != "" {
		fmt.Fprintf(t, "\tlast error: %s\n", s.SpoolError)
	}
	fmt.Fprintf(t, "Load:\t%.1f %% of a processor, %d MiB\n", s.CPUPercent, s.RSSBytes>>20)
	for _, p := range s.Processes {
		fmt.Fprintf(t, "Process %s:\t%s\n", p.Role, describe(&p))
	}
	fmt.Fprintf(t, "Events:\t%s\n", counts(s.Events))
	fmt.Fprintf(t, "Lost:\t%s\n", counts(s.Lost))
	if s.Filtered > 0 {
		fmt.Fprintf(t, "Left out by policy:\t%d\n", s.Filtered)
	}
	for _, h := range s.Hooks {
		what := h.Rung
		if h.BlindSpot != "" {
			what += "; does not see: " + h.BlindSpot
		}
		if !h.Attached {
			what = "not collected: " + h.Error
		}
		fmt.Fprintf(t, "Hook %s:\t%s\n", h.Kind, what)
	}
	return t.Flush()
}

// describe tells of one process what it may and what it takes.
func describe(p *sensor.Process) string {
	text := fmt.Sprintf("%d, user %d, ", p.PID, p.UID)
	if p.Capabilities == "" {
		text += "no capabilities"
	} else {
		text += "capabilities " + strings.TrimLeft(p.Capabilities, "0")
	}
	if p.Seccomp {
		text += ", system calls filtered"
	}
	return fmt.Sprintf("%s, %.1f %%, %d MiB", text, p.CPUPercent, p.RSSBytes>>20)
}

func counts(m map[string]uint64) string {
	if len(m) == 0 {
		return "none"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

// printConnectivity writes the test of one way for people.
func printConnectivity(w io.Writer, c *sensor.Connectivity) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	way := c.Way
	if c.Proxy != "" {
		way += " " + c.Proxy
	}
	result := "works"
	if !c.OK {
		result = "fails at " + c.Failed
	}
	fmt.Fprintf(t, "%s to %s: %s\n", way, c.Server, result)
	for _, s := range c.Steps {
		if s.OK {
			fmt.Fprintf(t, "  %s\tok\t%s\n", s.Step, s.Detail)
		} else {
			fmt.Fprintf(t, "  %s\tFAILED\t%s\n", s.Step, s.Error)
		}
	}
	return t.Flush()
}
