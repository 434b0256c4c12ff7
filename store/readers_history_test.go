// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/store"
)

const daySeconds = 24 * 3600

func TestTreeReachesBackInTime(t *testing.T) {
	long := &event.DeviceFileEvents{
		Timestamp: at - 3600_000_000, ReportId: 90, ActionType: "FileCreated", FolderPath: "/run/x", InitiatingProcessUniqueId: "daemon", InitiatingProcessFileName: "daemon",
		InitiatingProcessCreationTime: at - 100*daySeconds*1_000_000, InitiatingProcessParentUniqueId: "init",
	}
	ev := fill(t,
		started(-100*daySeconds-1, "init", "", "systemd"),
		started(-100*daySeconds, "daemon", "init", "daemon"), // found by the time that others tell
		long,
		started(-30, "shell", "daemon", "sh"),
		started(0, "focus", "shell", "nc"),
	)
	for _, when := range []time.Time{{}, noon, noon.Add(20 * time.Minute)} {
		got := tree(t, ev, store.TreeQuery{Focus: "focus", At: when})
		if d := cmp.Diff("systemd\n daemon\n  sh\n   nc*\n", outline(got)); d != "" {
			t.Errorf("at %v: %s", when, d)
		}
	}
}

func TestTreeShowsNearSiblings(t *testing.T) {
	rows := []event.Row{started(-2000, "parent", "", "sh"), started(0, "focus", "parent", "focus")}
	for i := range 20 {
		rows = append(rows, started(-100-i, fmt.Sprint("before", i), "parent", fmt.Sprintf("b%02d", i)), started(100+i, fmt.Sprint("after", i), "parent", fmt.Sprintf("a%02d", i)))
	}
	ev := fill(t, rows...)
	for siblings, want := range map[int]string{
		-1: "sh\n focus*\n",
		4:  "sh\n b01\n b00\n focus*\n a00\n a01\n",
	} {
		got := tree(t, ev, store.TreeQuery{Focus: "focus", Siblings: siblings})
		if d := cmp.Diff(want, outline(got)); d != "" {
			t.Errorf("%d siblings: %s", siblings, d)
		}
	}
	if got := tree(t, ev, store.TreeQuery{Focus: "focus"}); len(got.Nodes) != 12 {
		t.Errorf("%d nodes, want parent, focus and ten siblings", len(got.Nodes))
	}
}

func TestTreeCountsEventsOfEachProcess(t *testing.T) {
	rows := []event.Row{started(0, "loud", "", "loud"), started(1, "quiet", "loud", "quiet")}
	for i := range 3000 {
		rows = append(rows, &event.DeviceFileEvents{Timestamp: at + event.Time(i), ReportId: int64(100 + i), ActionType: "FileModified", InitiatingProcessUniqueId: "loud"})
	}
	rows = append(rows, &event.DeviceNetworkEvents{Timestamp: at + 2_000_000, ReportId: 9999, ActionType: "ConnectionSuccess", RemoteIP: "192.0.2.1", InitiatingProcessUniqueId: "quiet"})
	got := tree(t, fill(t, rows...), store.TreeQuery{Focus: "loud", MaxEvents: 3})
	counts := map[string][2]int{}
	for _, n := range got.Nodes {
		counts[n.GUID] = [2]int{len(n.Events), n.MoreEvents}
		for i, e := range n.Events {
			if len(e.Fields) == 0 || i > 0 && e.Time.Before(n.Events[i-1].Time) || e.Fields["TotalEvents"] != "" {
				t.Errorf("%s event %d: %+v", n.GUID, i, e)
			}
		}
	}
	if d := cmp.Diff(map[string][2]int{"loud": {3, 2997}, "quiet": {1, 0}}, counts); d != "" {
		t.Error(d)
	}
}

// TestTimelinePagesThroughOneMoment pages through rows that share their time
// and number, as rows made by the server do.
func TestTimelinePagesThroughOneMoment(t *testing.T) {
	var rows []event.Row
	for i := range 23 {
		rows = append(rows, &event.DeviceEvents{Timestamp: at, ActionType: "SensorGap", AdditionalFields: fmt.Sprintf(`{"n":%d}`, i)})
	}
	rows = append(rows, started(0, "a", "", "a"), started(1, "b", "", "b"))
	ev := fill(t, rows...)
	for _, asc := range []bool{false, true} {
		seen := map[string]int{}
		q := store.TimelineQuery{DeviceID: device, Limit: 4, Asc: asc}
		for {
			page, err := store.Timeline(context.Background(), ev, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range page.Items {
				seen[it.Fields["AdditionalFields"]+it.Fields["FileName"]]++
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if len(seen) != 25 {
			t.Errorf("ascending %v: %d of 25 rows", asc, len(seen))
		}
		for what, n := range seen {
			if n != 1 {
				t.Errorf("ascending %v: %s comes %d times", asc, what, n)
			}
		}
	}
}

// TestTimelineReachesBackInTime finds rows however old they are, and only
// those asked for.
func TestTimelineReachesBackInTime(t *testing.T) {
	var rows []event.Row
	for _, days := range []int{0, 2, 20, 150} {
		rows = append(rows, started(-days*daySeconds, fmt.Sprint("p", days), "", fmt.Sprint("p", days)))
	}
	ev := fill(t, rows...)
	ago := func(days int) time.Time { return noon.AddDate(0, 0, -days) }
	for what, c := range map[string]struct {
		q    store.TimelineQuery
		want []string
	}{
		"newest first":    {store.TimelineQuery{}, []string{"p0", "p2", "p20", "p150"}},
		"oldest first":    {store.TimelineQuery{Asc: true}, []string{"p150", "p20", "p2", "p0"}},
		"from":            {store.TimelineQuery{From: ago(20)}, []string{"p0", "p2", "p20"}},
		"to is exclusive": {store.TimelineQuery{To: ago(2)}, []string{"p20", "p150"}},
		"both":            {store.TimelineQuery{From: ago(20), To: ago(0), Asc: true}, []string{"p20", "p2"}},
		"narrow":          {store.TimelineQuery{From: ago(2), To: ago(2).Add(time.Second)}, []string{"p2"}},
		"limited":         {store.TimelineQuery{Limit: 3, Asc: true, From: ago(170)}, []string{"p150", "p20", "p2"}},
		"empty":           {store.TimelineQuery{From: ago(1), To: ago(2)}, nil},
	} {
		c.q.DeviceID = device
		page, err := store.Timeline(context.Background(), ev, c.q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, it := range page.Items {
			got = append(got, it.Fields["FileName"])
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", what, d)
		}
		if (page.Next != "") != (what == "limited") {
			t.Errorf("%s: next page %q", what, page.Next)
		}
	}
}

func TestVolumes(t *testing.T) {
	ev := fill(t, started(0, "a", "", "a"), started(1, "b", "", "b"), started(-daySeconds, "c", "", "c"), started(-3*daySeconds, "d", "", "d"),
		&event.DeviceInfo{Timestamp: at, ReportId: 77})
	got, err := store.Volumes(context.Background(), ev, noon.AddDate(0, 0, -2), noon.AddDate(0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	today := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	want := []store.Volume{{today.AddDate(0, 0, -1), "DeviceProcessEvents", 1}, {today, "DeviceInfo", 1}, {today, "DeviceProcessEvents", 2}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWindowOfContext(t *testing.T) {
	t.Parallel()
	if w := store.WindowOf(context.Background()); w != (store.Between{}) {
		t.Errorf("%+v", w)
	}
	if w := store.WindowOf(store.Within(context.Background(), noon, noon)); w.From != noon || w.To != noon {
		t.Errorf("%+v", w)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add("eyJ0IjoxLCJiIjoieCIsInMiOjJ9")
	f.Add("bnVsbA")
	f.Fuzz(func(t *testing.T, cursor string) {
		ev := &recorder{}
		_, err := store.Timeline(context.Background(), ev, store.TimelineQuery{DeviceID: device, Cursor: cursor})
		if err != nil && ev.queries > 0 {
			t.Errorf("%q reached the engine and failed: %v", cursor, err)
		}
	})
}

// recorder is an engine without rows that checks statements and arguments.
type recorder struct {
	store.Events
	queries int
}

func (r *recorder) Query(_ context.Context, query string, args ...any) (store.Rows, error) {
	r.queries++
	marks := 0
	for _, c := range query {
		if c == '?' {
			marks++
		}
	}
	if marks != len(args) {
		return nil, fmt.Errorf("%d marks for %d arguments", marks, len(args))
	}
	return noRows{}, nil
}

type noRows struct{}

func (noRows) Columns() []string { return []string{"Timestamp"} }
func (noRows) Next() bool        { return false }
func (noRows) Scan(...any) error { return nil }
func (noRows) Err() error        { return nil }
func (noRows) Close() error      { return nil }
