// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	published prometheus.Counter
	bytes     prometheus.Counter
	refused   prometheus.Counter
	skipped   prometheus.Counter
	seconds   prometheus.Histogram
	all       []prometheus.Collector
}

func newMetrics(b *Bus) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "picket", Subsystem: "bus", Name: name, Help: help})
	}
	m := &metrics{
		published: counter("published_total", "Messages that are durable."),
		bytes:     counter("published_bytes_total", "Bytes of payload in durable messages."),
		refused:   counter("refused_total", "Messages that could not be made durable when they came."),
		skipped:   counter("skipped_total", "Messages that were trimmed before a reader saw them."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "picket", Subsystem: "bus", Name: "publish_seconds", Help: "Time until a message was durable.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
	}
	m.all = []prometheus.Collector{m.published, m.bytes, m.refused, m.skipped, m.seconds, &streams{b}}
	if b.opts.Metrics == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := b.opts.Metrics.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister(b.opts.Metrics)
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.all {
		r.Unregister(c)
	}
}

// streams tells the state of each tenant's stream when it is asked.
type streams struct{ bus *Bus }

var (
	streamMessages = prometheus.NewDesc("picket_bus_stream_messages", "Messages in a tenant's stream.", []string{"tenant"}, nil)
	streamBytes    = prometheus.NewDesc("picket_bus_stream_bytes", "Bytes of a tenant's stream.", []string{"tenant"}, nil)
	streamLast     = prometheus.NewDesc("picket_bus_stream_last", "Sequence of the newest message of a tenant's stream.", []string{"tenant"}, nil)
)

// Describe implements prometheus.Collector.
func (s *streams) Describe(ch chan<- *prometheus.Desc) {
	ch <- streamMessages
	ch <- streamBytes
	ch <- streamLast
}

// Collect implements prometheus.Collector. A stream that does not answer is
// left out.
func (s *streams) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, tenant := range s.bus.known() {
		st, err := s.bus.State(ctx, tenant)
		if err != nil {
			continue
		}
		ch <- prometheus.MustNewConstMetric(streamMessages, prometheus.GaugeValue, float64(st.Last+1-st.First), tenant)
		ch <- prometheus.MustNewConstMetric(streamBytes, prometheus.GaugeValue, float64(st.Bytes), tenant)
		ch <- prometheus.MustNewConstMetric(streamLast, prometheus.GaugeValue, float64(st.Last), tenant)
	}
}
