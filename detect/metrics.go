// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picket-edr/picket/rule"
)

type metrics struct {
	rows prometheus.Counter
	hits *prometheus.CounterVec
}

// newMetrics makes the metrics and registers them unless r is nil.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		rows: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "picket", Subsystem: "detect", Name: "rows_evaluated_total", Help: "Rows that the detectors have seen."}),
		hits: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "picket", Subsystem: "detect", Name: "rule_hits_total", Help: "Rows on which a rule fired."}, []string{"rule"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.rows, m.hits} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) hit(r *rule.Rule) { m.hits.WithLabelValues(r.Key()).Inc() }
