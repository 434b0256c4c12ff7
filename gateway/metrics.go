// SPDX-License-Identifier: Apache-2.0

package gateway

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	batches prometheus.Counter
	rows    prometheus.Counter
	bytes   prometheus.Counter
	repeats prometheus.Counter
	missing prometheus.Counter
	refused *prometheus.CounterVec
	waits   prometheus.Counter
	streams prometheus.Gauge
	publish prometheus.Histogram
	ack     prometheus.Histogram
	clashes prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "picket", Subsystem: "gateway", Name: name, Help: help})
	}
	m := &metrics{
		batches: counter("batches_total", "Batches that are durable."),
		rows:    counter("rows_total", "Rows in durable batches."),
		bytes:   counter("bytes_total", "Bytes of durable batches as received."),
		repeats: counter("repeated_batches_total", "Batches that were durable already."),
		missing: counter("missing_batches_total", "Batches that never arrived."),
		waits:   counter("throttles_total", "Times that a sensor was asked to wait."),
		clashes: counter("identity_clashes_total", "Times that two hosts used one identity."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "picket", Subsystem: "gateway", Name: "refused_total", Help: "What was refused, by reason."}, []string{"reason"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "picket", Subsystem: "gateway", Name: "streams", Help: "Live streams of devices."}),
		publish: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "picket", Subsystem: "gateway", Name: "publish_seconds", Help: "Time until a batch was durable.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
	}
	m.ack = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "picket", Subsystem: "gateway", Name: "ack_seconds", Help: "Time from the arrival of a batch until it was acknowledged.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)})
	r.MustRegister(m.batches, m.rows, m.bytes, m.repeats, m.missing, m.waits, m.clashes, m.refused, m.streams, m.publish, m.ack)
	return m
}
