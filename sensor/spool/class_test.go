// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"testing"

	"github.com/picket-edr/picket/event"
)

func TestClassOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		row  event.Row
		want Class
	}{
		{&event.DeviceProcessEvents{ActionType: "ProcessCreated"}, High},
		{&event.DeviceProcessEvents{ActionType: "ProcessFound"}, High},
		{&event.DeviceProcessEvents{ActionType: "ProcessExited"}, Normal},
		{&event.DeviceLogonEvents{ActionType: "LogonFailed"}, High},
		{&event.DeviceEvents{ActionType: "DnsQueryRequest"}, Low},
		{&event.DeviceEvents{ActionType: "DnsQueryResponse"}, Normal},
		{&event.DeviceEvents{ActionType: "SensorLoss"}, High},
		{&event.DeviceFileEvents{ActionType: "FileModified"}, Low},
		{&event.DeviceFileEvents{ActionType: "FileDeleted"}, Normal},
		{&event.DeviceNetworkEvents{ActionType: "ConnectionSuccess"}, Normal},
		{&event.DeviceNetworkEvents{ActionType: "ConnectionFound"}, Low},
		{&event.DeviceNetworkEvents{ActionType: "ConnectionFailed"}, Low},
		{&event.DeviceInfo{}, High},
		{&event.DeviceNetworkInfo{}, Normal},
		{&event.DeviceImageLoadEvents{}, Low},
		{&event.DeviceFileEvents{ActionType: "FileOwnerModified"}, Low},
		{&event.DeviceFileEvents{ActionType: "FilePermissionsModified"}, Normal},
		{&event.DeviceEvents{ActionType: "FileTimestampModificationEvent"}, Low},
		{&event.DeviceEvents{ActionType: "MemoryFileCreated"}, Normal},
		{&event.DeviceEvents{ActionType: "PTraceDetected"}, High},
		{&event.DeviceEvents{ActionType: "DriverLoad"}, High},
	} {
		if got := ClassOf(c.row); got != c.want {
			t.Errorf("%T %+v has class %s, want %s", c.row, c.row, got, c.want)
		}
	}
	equal(t, []string{"high", "normal", "low", "unknown"}, []string{High.String(), Normal.String(), Low.String(), classes.String()})
}

func TestSmallerLimit(t *testing.T) {
	t.Parallel()
	s := open(t, options(newMemFS(), boot1))
	for range 60 {
		must(t, fat(t, s, Low, 60<<10))
	}
	s.SetLimit(2 << 20)
	must(t, fat(t, s, Low, 60<<10))
	if st := s.Stats(); st.Bytes > 2<<20 || st.Limit != 2<<20 || st.Lost["spool.low"] == 0 {
		t.Errorf("%+v", st)
	}
	s.SetLimit(1)
	equal(t, int64(MinLimit), s.Stats().Limit)
	equal(t, true, s.Pending())
	for _, b := range drain(s) {
		s.Ack(b.Boot, b.Seq)
	}
	equal(t, false, s.Pending())
}
