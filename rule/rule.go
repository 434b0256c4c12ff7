// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"strings"

	"github.com/picket-edr/picket"
)

// Rule is one detection rule, ready to be evaluated.
type Rule struct {
	ID             string // globally unique; empty when the author gave none
	Name           string // unique short name for reference by other rules
	Title          string
	Status         string // stable, test, experimental, deprecated, unsupported
	Description    string
	Recommended    string // what a person should do about a finding
	Author         string
	References     []string
	FalsePositives []string

	Level      string // as the author wrote it
	Severity   picket.Severity
	Category   string   // alert category of the product
	Tactics    []string // ATT&CK tactics as tags name them: credential-access
	Techniques []string // ATT&CK ids: T1059.004

	Source    LogSource
	Condition *Expr
	Tests     Tests
	Warnings  []string // oddities that do not change the meaning

	File string // where it was read from
	Line int    // first line of its document
}

// LogSource names the kind of events that a rule reads.
type LogSource struct {
	Category string
	Product  string
	Service  string
}

// String returns the log source as people write it.
func (s LogSource) String() string {
	var parts []string
	for _, p := range [][2]string{{"category", s.Category}, {"product", s.Product}, {"service", s.Service}} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	return strings.Join(parts, ", ")
}

// Tests are sample events that a rule brings along to prove itself.
type Tests struct {
	Match  []Test // must fire
	Ignore []Test // must not fire
}

// Test is one sample event: log source fields or column names to values. The
// key ActionType picks an action of the log source; without it the first one
// is meant.
type Test struct {
	Event map[string]string
	Line  int
}

// Key identifies the rule in alerts: its id, or its name or title when the
// author gave none.
func (r *Rule) Key() string {
	switch {
	case r.ID != "":
		return r.ID
	case r.Name != "":
		return r.Name
	}
	return r.Title
}

// SeverityOf returns the alert severity of a rule level. A rule without a
// level is Medium, the severity of rare behaviour that nobody has weighed.
func SeverityOf(level string) (picket.Severity, bool) {
	switch level {
	case "informational":
		return picket.Informational, true
	case "low":
		return picket.Low, true
	case "medium", "":
		return picket.Medium, true
	case "high", "critical":
		return picket.High, true
	}
	return "", false
}

// tactics are those of ATT&CK, also by the names of version 19, with the alert
// category of the product. Tactics that the product has no word for are
// suspicious activity.
var tactics = []struct{ name, category string }{
	{"reconnaissance", "Reconnaissance"},
	{"resource-development", "Weaponization"},
	{"initial-access", "Delivery"},
	{"execution", "SuspiciousActivity"},
	{"persistence", "Persistence"},
	{"privilege-escalation", "PrivilegeEscalation"},
	{"defense-evasion", "SuspiciousActivity"},
	{"stealth", "SuspiciousActivity"},
	{"defense-impairment", "SuspiciousActivity"},
	{"credential-access", "CredentialTheft"},
	{"discovery", "ExplorationEnumeration"},
	{"lateral-movement", "LateralMovement"},
	{"collection", "SuspiciousActivity"},
	{"command-and-control", "CommandAndControl"},
	{"exfiltration", "Exfiltration"},
	{"impact", "SuspiciousActivity"},
}

// KnownTactic reports whether name is an ATT&CK tactic as tags spell it.
func KnownTactic(name string) bool {
	for _, t := range tactics {
		if t.name == name {
			return true
		}
	}
	return false
}

// CategoryOf returns the alert category for the tactics of a rule. The author
// names the main tactic first, so the first known one decides.
func CategoryOf(names []string) string {
	for _, n := range names {
		for _, t := range tactics {
			if t.name == n {
				return t.category
			}
		}
	}
	return "General"
}
