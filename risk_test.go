// SPDX-License-Identifier: Apache-2.0

package picket_test

import (
	"testing"

	"github.com/picket-edr/picket"
)

func TestRisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		active picket.AlertCounts
		want   picket.RiskLevel
	}{
		{picket.AlertCounts{}, picket.RiskNone},
		{picket.AlertCounts{Informational: 9}, picket.RiskLow},
		{picket.AlertCounts{Low: 4}, picket.RiskLow},
		{picket.AlertCounts{Low: 5}, picket.RiskMedium},
		{picket.AlertCounts{Medium: 1}, picket.RiskMedium},
		{picket.AlertCounts{Medium: 7, Low: 30}, picket.RiskMedium},
		{picket.AlertCounts{High: 1}, picket.RiskHigh},
	} {
		if got := picket.Risk(c.active); got != c.want {
			t.Errorf("Risk(%+v) = %s, want %s", c.active, got, c.want)
		}
	}
}
