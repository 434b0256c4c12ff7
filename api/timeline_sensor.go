// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/picket-edr/picket"
)

// sensorDetail is what rows about the sensor and the state of the device tell
// in AdditionalFields.
type sensorDetail struct {
	Reason       string
	PreviousStop string
	Version      string
	Level        string
	Message      string
	From, To     time.Time
	SleptSeconds float64
	StepSeconds  float64
	Lost         map[string]int64
}

// farewells end the sentence that the sensor stopped.
var farewells = map[picket.Farewell]string{
	picket.FarewellUpgrade:   " to be upgraded",
	picket.FarewellShutdown:  " because the host is shut down",
	picket.FarewellSuspend:   " because the host goes to sleep",
	picket.FarewellUninstall: " to be uninstalled",
}

// sensorSentence says what such a row tells; empty: nothing more than its name.
func sensorSentence(action, fields string) string {
	var d sensorDetail
	if json.Unmarshal([]byte(fields), &d) != nil {
		return ""
	}
	switch action {
	case "SensorStarted":
		if strings.HasPrefix(d.PreviousStop, "unclean") {
			return "The sensor started; the run before did not stop in order"
		}
	case "SensorStopped":
		return "The sensor stopped" + farewells[picket.Farewell(d.Reason)]
	case "SensorLoss":
		return "The sensor lost " + lostText(d.Lost)
	case "SensorGap":
		return lostText(d.Lost) + " of this device never arrived"
	case "SensorNote":
		if d.Message != "" {
			return "Sensor " + strings.TrimSpace(d.Level+": "+d.Message)
		}
	case "DeviceSilent":
		return strings.TrimSuffix(silenceText(picket.Silence{From: d.From, To: d.To, Reason: picket.ConnectionState(d.Reason)}), ".")
	case "DeviceResumed":
		return "The host woke up after " + span(seconds(d.SleptSeconds))
	case "ClockChanged":
		if d.StepSeconds < 0 {
			return "The clock of the host was set back by " + span(seconds(-d.StepSeconds))
		}
		return "The clock of the host was set forward by " + span(seconds(d.StepSeconds))
	}
	return ""
}

func seconds(s float64) time.Duration {
	return time.Duration(min(max(s, 0), math.MaxInt32) * float64(time.Second))
}

// lostText lists what was lost by class, the most first.
func lostText(lost map[string]int64) string {
	var classes []string
	for c, n := range lost {
		if n > 0 {
			classes = append(classes, c)
		}
	}
	if len(classes) == 0 {
		return "events"
	}
	slices.SortFunc(classes, func(a, b string) int {
		if lost[a] != lost[b] {
			return int(min(max(lost[b]-lost[a], -1), 1))
		}
		return strings.Compare(a, b)
	})
	const shown = 4
	var parts []string
	for _, c := range classes[:min(len(classes), shown)] {
		switch {
		case c == "batches" && lost[c] == 1:
			parts = append(parts, "1 batch")
		case c == "batches":
			parts = append(parts, fmt.Sprintf("%d batches", lost[c]))
		default:
			parts = append(parts, fmt.Sprintf("%d events (%s)", lost[c], c))
		}
	}
	if n := len(classes) - shown; n > 0 {
		parts = append(parts, fmt.Sprintf("and of %d more kinds", n))
	}
	return strings.Join(parts, ", ")
}
