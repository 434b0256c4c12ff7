// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"
	"testing"

	"github.com/picket-edr/picket/event"
)

// BenchmarkAppend appends batches of 100 rows and reads them back.
func BenchmarkAppend(b *testing.B) {
	s := open(b, Options{Dir: b.TempDir(), BootID: boot1, SyncEvery: DefaultSyncEvery})
	for n := 0; b.Loop(); n++ {
		var rows event.Builder
		for i := range 100 {
			rows.Add(&event.DeviceFileEvents{
				ActionType: "FileModified", ReportId: s.NextReportID(), Timestamp: event.Time(1764000000000000 + n*100 + i),
				FileName: fmt.Sprintf("file-%d.log", i), FolderPath: fmt.Sprintf("/var/log/app/file-%d.log", i),
				InitiatingProcessFileName: "app", InitiatingProcessId: int64(1000 + i%7),
			})
		}
		must(b, s.Append(Low, rows.Take()))
		batch, ok := s.Next()
		if !ok {
			b.Fatal("nothing to read")
		}
		s.Ack(batch.Boot, batch.Seq)
	}
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "events/s")
	must(b, s.Close())
}
