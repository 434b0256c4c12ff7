// SPDX-License-Identifier: Apache-2.0

package picket

import "time"

// Severity of an alert.
type Severity string

// Severities, as the Defender API spells them.
const (
	Informational Severity = "Informational"
	Low           Severity = "Low"
	Medium        Severity = "Medium"
	High          Severity = "High"
)

// Rank orders severities: Informational 0 to High 3, anything else -1.
func (s Severity) Rank() int {
	for i, x := range []Severity{Informational, Low, Medium, High} {
		if s == x {
			return i
		}
	}
	return -1
}

// AlertStatus is the place of an alert in the queue.
type AlertStatus string

// Alert statuses.
const (
	StatusNew        AlertStatus = "New"
	StatusInProgress AlertStatus = "InProgress"
	StatusResolved   AlertStatus = "Resolved"
)

// Classification of an alert by an analyst.
type Classification string

// Classifications. The empty value means not set.
const (
	TruePositive  Classification = "TruePositive"
	FalsePositive Classification = "FalsePositive"
)

// Alert is one finding on one device. Repeats of the same finding are folded
// into it: Count grows, LastActivity moves, Evidence keeps the first events.
type Alert struct {
	ID              string // 32 hexadecimal digits; equal for equal causes
	Tenant          string
	DeviceID        string
	DeviceName      string
	Title           string
	Description     string
	Recommended     string
	Severity        Severity
	Category        string   // alert category of the product: Persistence, Execution, ...
	Techniques      []string // ATT&CK ids: T1059.004
	RuleID          string
	RuleAuthor      string
	DetectionSource string // EDR, Antivirus, Custom TI, ...
	Status          AlertStatus
	Classification  Classification
	Determination   string
	AssignedTo      string
	User            string // account of the process that caused it

	FirstActivity time.Time // of the events
	LastActivity  time.Time
	Created       time.Time // when the server raised it
	Updated       time.Time
	Count         int64 // events folded into this alert

	ProcessGUID  string // process to centre the story on
	EvidenceLost int64  // events known lost on the device around this alert
	Evidence     []Evidence
	Comments     []Comment
}

// Evidence is one entity or event that an alert rests on.
type Evidence struct {
	EntityType  string            `json:"entityType"` // Process, File, Ip, Url, User (Defender's names)
	Role        string            `json:"role"`       // Impacted, Related
	Time        time.Time         `json:"time"`
	Table       string            `json:"table"`    // table of the event
	ReportID    int64             `json:"reportId"` // event within the boot
	BootID      string            `json:"bootId"`
	ProcessGUID string            `json:"processGuid"`
	Fields      map[string]string `json:"fields"` // column name to value
}

// Comment is one entry of an alert's history, by a person or by the system.
type Comment struct {
	Time time.Time `json:"time"`
	By   string    `json:"by"`
	Text string    `json:"text"`
}
