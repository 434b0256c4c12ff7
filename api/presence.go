// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"time"

	"github.com/picket-edr/picket"
)

// Silence is a time in which nothing was heard of a device.
type Silence struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason" enum:"Asleep,ShutDown,SensorStopped,NetworkCut,SensorUpgraded,SensorKilled,HostCrashed,ServerAway"`
	Text   string    `json:"text" doc:"What it has been, in a sentence."`
}

func silenceOf(s picket.Silence) *Silence {
	if s.From.IsZero() {
		return nil
	}
	return &Silence{s.From.UTC(), s.To.UTC(), string(s.Reason), silenceText(s)}
}

// pasts say what a silence has been.
var pasts = map[picket.ConnectionState]string{
	picket.Asleep:         "the host slept",
	picket.ShutDown:       "the host was shut down and started again",
	picket.SensorStopped:  "the sensor was stopped; what the host did meanwhile is not known",
	picket.NetworkCut:     "the network was cut; the sensor went on and sent its events later",
	picket.SensorUpgraded: "the sensor was upgraded; what the host did meanwhile is not known",
	picket.SensorKilled:   "the sensor was killed; what the host did meanwhile is not known",
	picket.HostCrashed:    "the host went down without a word and was started again; its last events may be missing",
	picket.ServerAway:     "this server was away; the sensor sent its events later",
}

func silenceText(s picket.Silence) string {
	what, ok := pasts[s.Reason]
	if !ok {
		what = "nobody knows why"
	}
	return fmt.Sprintf("Nothing was heard of the device for %s: %s.", span(s.To.Sub(s.From)), what)
}

// presents say what the state of a connection is; %s is how long.
var presents = map[picket.ConnectionState]string{
	picket.NeverConnected: "The sensor has not connected since it was enrolled.",
	picket.Asleep:         "The host went to sleep %s ago.",
	picket.ShutDown:       "The host was shut down %s ago.",
	picket.SensorStopped:  "The sensor was stopped in order %s ago.",
	picket.Uninstalled:    "The sensor was uninstalled %s ago.",
	picket.NetworkCut:     "Silent for %s without a goodbye: the network is cut, or the host is gone.",
	picket.HostGone:       "Silent for %s without a goodbye: the host is probably gone.",
}

func connectionText(state picket.ConnectionState, silent time.Duration) string {
	switch text := presents[state]; state {
	case picket.Connected:
		return "The sensor is connected."
	case picket.NeverConnected:
		return text
	default:
		return fmt.Sprintf(text, span(silent))
	}
}

// span is a duration as people say it, in its largest unit or two.
func span(d time.Duration) string {
	s := int64(max(d, 0).Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return two(s/60, "min", s%60, "s")
	case s < 24*3600:
		return two(s/3600, "h", s%3600/60, "min")
	case s < 48*3600:
		return "1 day"
	}
	return fmt.Sprintf("%d days", s/(24*3600))
}

func two(a int64, unit string, b int64, smaller string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unit)
	}
	return fmt.Sprintf("%d %s %d %s", a, unit, b, smaller)
}
