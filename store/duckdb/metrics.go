// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what operators watch. Stores of several tenants share a registry
// when each gets one that adds a label.
type metrics struct {
	rows, failures, failedQueries, expired prometheus.Counter
	queries, seals, compactions            prometheus.Histogram
	gauges                                 []prometheus.Collector
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "picket", Subsystem: "events", Name: name, Help: help})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "picket", Subsystem: "events", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.001, 4, 9)})
	}
	return &metrics{
		rows:          counter("rows_total", "Rows taken."),
		failures:      counter("failures_total", "Times that rows could not be taken, sealed or compacted at once."),
		failedQueries: counter("failed_queries_total", "Queries that failed or were cancelled."),
		expired:       counter("expired_files_total", "Files forgotten because they were older than the retention."),
		queries:       histogram("query_seconds", "Time of a query."),
		seals:         histogram("seal_seconds", "Time to write rows in memory into files."),
		compactions:   histogram("compaction_seconds", "Time to merge files."),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return append([]prometheus.Collector{m.rows, m.failures, m.failedQueries, m.expired, m.queries, m.seals, m.compactions}, m.gauges...)
}

func (m *metrics) register(r prometheus.Registerer, s *Store) error {
	if r == nil {
		return nil
	}
	gauge := func(name, help string, value func() float64) {
		m.gauges = append(m.gauges, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "picket", Subsystem: "events", Name: name, Help: help}, value))
	}
	gauge("memory_rows", "Rows in memory.", func() float64 { return float64(s.Stats().Hot) })
	gauge("files", "Sealed files.", func() float64 { return float64(s.Stats().Files) })
	gauge("bytes", "Size of the sealed files.", func() float64 { return float64(s.Stats().Bytes) })
	gauge("lost_rows", "Rows in files that were given up as damaged.", func() float64 { return float64(s.Stats().Lost) })
	for i, c := range m.all() {
		if err := r.Register(c); err != nil {
			for _, done := range m.all()[:i] {
				r.Unregister(done)
			}
			return err
		}
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil || len(m.gauges) == 0 {
		return
	}
	for _, c := range m.all() {
		r.Unregister(c)
	}
}
