// SPDX-License-Identifier: Apache-2.0

package picket

// AlertCounts are numbers of alerts by severity.
type AlertCounts struct {
	High          int64 `json:"high"`
	Medium        int64 `json:"medium"`
	Low           int64 `json:"low"`
	Informational int64 `json:"informational"`
}

// Of returns the count of one severity; 0 for an unknown one.
func (c AlertCounts) Of(s Severity) int64 {
	switch s {
	case High:
		return c.High
	case Medium:
		return c.Medium
	case Low:
		return c.Low
	case Informational:
		return c.Informational
	}
	return 0
}

// Total returns the number of alerts of all severities.
func (c AlertCounts) Total() int64 { return c.High + c.Medium + c.Low + c.Informational }

// RiskLevel of a device.
type RiskLevel string

// Risk levels.
const (
	RiskNone   RiskLevel = "None"
	RiskLow    RiskLevel = "Low"
	RiskMedium RiskLevel = "Medium"
	RiskHigh   RiskLevel = "High"
)

// RiskRule gives a level to a device that has at least so many active alerts
// of one severity.
type RiskRule struct {
	Level    RiskLevel
	Severity Severity
	AtLeast  int64
}

// RiskRules decide the risk level of a device: the first that holds wins, and
// none means RiskNone.
var RiskRules = []RiskRule{
	{RiskHigh, High, 1},
	{RiskMedium, Medium, 1},
	{RiskMedium, Low, 5},
	{RiskLow, Low, 1},
	{RiskLow, Informational, 1},
}

// Risk computes the level from the counts of active alerts.
func Risk(active AlertCounts) RiskLevel {
	for _, r := range RiskRules {
		if active.Of(r.Severity) >= r.AtLeast {
			return r.Level
		}
	}
	return RiskNone
}
