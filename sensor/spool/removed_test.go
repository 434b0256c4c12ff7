// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Somebody removes the folder while the spool works: it goes on, loses nothing
// that this run can still read, and says that something is wrong.
func TestRemovedFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files cannot be removed there")
	}
	o := Options{Dir: filepath.Join(t.TempDir(), "spool"), BootID: boot1, SyncEvery: -1, Limit: MinLimit}
	s := open(t, o)
	for range 5 {
		must(t, fat(t, s, High, 30<<10)) // more than one segment
	}
	must(t, os.RemoveAll(o.Dir))
	for range 5 {
		must(t, fat(t, s, High, 30<<10))
	}
	must(t, s.Sync())
	before := drain(s)
	if n := len(rowsOf(t, before)); n != 10 {
		t.Errorf("%d of 10 rows can be read", n)
	}
	st := s.Stats()
	if st.DiskErrors == 0 || st.LastError == "" || len(st.Lost) != 0 {
		t.Errorf("stats %+v", st)
	}
	s.Ack(boot1, before[1].Seq) // whose file is gone already
	id := s.NextReportID()
	must(t, s.Close())

	s = open(t, o)
	defer s.Close()
	after := drain(s)
	if len(after) == 0 || after[len(after)-1].Seq != before[len(before)-1].Seq {
		t.Errorf("%d batches outlive the run", len(after))
	}
	if next := s.NextReportID(); next <= id {
		t.Errorf("report id %d after %d", next, id)
	}
	must(t, add(t, s, High, 1))
	if all := drain(s); all[len(all)-1].Seq != before[len(before)-1].Seq+1 {
		t.Errorf("batch %d after %d", all[len(all)-1].Seq, before[len(before)-1].Seq)
	}
}
