// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

// raised makes an alert of cause n as detection would, with one event per
// report id.
func raised(n int, device string, s picket.Severity, reports ...int64) picket.Alert {
	a := picket.Alert{
		ID: fmt.Sprintf("%032x", n), DeviceID: device, DeviceName: "host", Title: fmt.Sprintf("Cause %d", n), Description: "What happened.",
		Severity: s, Category: "Execution", Techniques: []string{"T1059.004"}, RuleID: "rule", RuleAuthor: "Picket", DetectionSource: "EDR",
		User: "root", ProcessGUID: fmt.Sprintf("%032x", 7000+n),
	}
	for _, r := range reports {
		t := now.Add(time.Duration(r) * time.Second)
		a.Evidence = append(a.Evidence,
			picket.Evidence{
				EntityType: "Process", Role: "Impacted", Time: t, Table: "DeviceProcessEvents", ReportID: r, BootID: "boot",
				ProcessGUID: fmt.Sprintf("%032x", 9000+r), Fields: map[string]string{"FileName": "sh"},
			},
			picket.Evidence{EntityType: "File", Role: "Related", Time: t, Table: "DeviceProcessEvents", ReportID: r, BootID: "boot"})
		if a.FirstActivity.IsZero() || t.Before(a.FirstActivity) {
			a.FirstActivity = t
		}
		if t.After(a.LastActivity) {
			a.LastActivity = t
		}
	}
	return a
}

// foldOne folds one alert and returns the result.
func foldOne(t *testing.T, db *state.DB, tenant string, a picket.Alert, at time.Time) state.FoldResult {
	t.Helper()
	return got(db.FoldAlerts(t.Context(), tenant, []picket.Alert{a}, at))(t)[0]
}

func TestFold(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		a := raised(1, deviceID(1), picket.Low, 10, 11)
		r := foldOne(t, db, ours, a, now)
		if want := (state.FoldResult{ID: a.ID, Cause: a.ID, DeviceID: a.DeviceID, Severity: picket.Low, Created: true, Added: 2}); r != want {
			t.Errorf("result %+v, want %+v", r, want)
		}
		want := state.Alert{Alert: a, Revision: 1}
		want.Tenant, want.Status, want.Count, want.Created, want.Updated = ours, picket.StatusNew, 2, now, now
		want.Comments = []picket.Comment{{Time: now, By: "Picket", Text: "Alert raised."}}
		if diff := cmp.Diff(want, got(db.Alert(ctx, ours, a.ID))(t), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}

		// More of the same: one event known, one new and earlier, a worse severity.
		b := raised(1, deviceID(1), picket.High, 11, 5)
		b.EvidenceLost = 4
		later := now.Add(time.Hour)
		if r := foldOne(t, db, ours, b, later); r.Created || r.Added != 1 || r.Severity != picket.High {
			t.Errorf("result %+v", r)
		}
		if r := foldOne(t, db, ours, a, later.Add(time.Hour)); r.Created || r.Added != 0 {
			t.Errorf("replay: %+v", r)
		}
		want.Severity, want.Count, want.EvidenceLost, want.Updated = picket.High, 3, 4, later
		want.FirstActivity = now.Add(5 * time.Second)
		want.Evidence = append(want.Evidence, b.Evidence[2:]...)
		if diff := cmp.Diff(want, got(db.Alert(ctx, ours, a.ID))(t), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		_, err := db.Alert(ctx, theirs, a.ID)
		kind(t, "other tenant", err, picket.NotFound)
		if r := foldOne(t, db, theirs, a, now); !r.Created {
			t.Error("the other tenant's alert folded into ours")
		}
	})
}

func TestFoldBounds(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		var reports []int64
		for i := range int64(1200) {
			reports = append(reports, i)
		}
		a := raised(1, deviceID(1), picket.Low, reports...)
		a.Title, a.Description = strings.Repeat("ü", 9999)+"\xff\x00", strings.Repeat("x", 1<<20)
		foldOne(t, db, ours, a, now)
		kept := got(db.Alert(ctx, ours, a.ID))(t)
		if kept.Count != 1200 || len(kept.Evidence) != 100 || len(kept.Title) > 500 || len(kept.Description) > 8<<10 {
			t.Errorf("count %d, %d evidence, title %d, description %d", kept.Count, len(kept.Evidence), len(kept.Title), len(kept.Description))
		}

		// An alert that names no event counts once.
		none := raised(2, deviceID(1), picket.Low)
		none.Evidence = []picket.Evidence{{EntityType: "User"}}
		foldOne(t, db, ours, none, now)
		foldOne(t, db, ours, none, now.Add(time.Hour))
		if kept := got(db.Alert(ctx, ours, none.ID))(t); kept.Count != 1 || len(kept.Evidence) != 1 || !kept.FirstActivity.Equal(now) {
			t.Errorf("alert without events: %+v", kept)
		}
		for name, bad := range map[string]func(*picket.Alert){
			"id": func(a *picket.Alert) { a.ID = "x" }, "tenant": func(a *picket.Alert) { a.Tenant = theirs },
			"severity": func(a *picket.Alert) { a.Severity = "Bad" }, "device": func(a *picket.Alert) { a.DeviceID = "" },
		} {
			a := raised(3, deviceID(1), picket.Low, 1)
			bad(&a)
			_, err := db.FoldAlerts(ctx, ours, []picket.Alert{raised(4, deviceID(1), picket.Low, 1), a}, now)
			kind(t, name, err, picket.Invalid)
		}
		if total := got(db.Alerts(ctx, ours, state.AlertQuery{}))(t).Total; total != 2 {
			t.Errorf("%d alerts, want 2: a refused batch left something", total)
		}
	})
}

func TestFoldAfterResolution(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		a := raised(1, deviceID(1), picket.Medium, 1)
		foldOne(t, db, ours, a, now)
		resolve := state.AlertUpdate{Status: ptr(picket.StatusResolved), Classification: ptr(picket.FalsePositive)}
		before := got(db.UpdateAlert(ctx, ours, a.ID, resolve, "ann", now.Add(time.Minute)))(t)

		if r := foldOne(t, db, ours, a, now.Add(time.Hour)); r.Created || r.Added != 0 || r.ID != a.ID {
			t.Errorf("a replay after resolution: %+v", r)
		}
		// A clock that was set back hides nothing: the event's time is before the resolution.
		again := raised(1, deviceID(1), picket.Medium, -3600, 1)
		r := foldOne(t, db, ours, again, now.Add(time.Hour))
		if !r.Created || r.Added != 1 || r.ID == a.ID || r.Cause != a.ID {
			t.Errorf("new activity after resolution: %+v", r)
		}
		if diff := cmp.Diff(before, got(db.Alert(ctx, ours, a.ID))(t)); diff != "" {
			t.Errorf("the resolved alert changed: %s", diff)
		}
		next := got(db.Alert(ctx, ours, r.ID))(t)
		if next.Status != picket.StatusNew || next.Count != 1 || next.Classification != "" || !strings.Contains(next.Comments[0].Text, a.ID) {
			t.Errorf("following alert %+v", next)
		}
		if more := foldOne(t, db, ours, raised(1, deviceID(1), picket.Medium, 1, 2, -3600), now); more.ID != r.ID || more.Added != 1 || more.Created {
			t.Errorf("activity after the following alert: %+v", more)
		}
		got(db.UpdateAlert(ctx, ours, r.ID, resolve, "ann", now.Add(2*time.Hour)))(t)
		third := foldOne(t, db, ours, raised(1, deviceID(1), picket.Medium, 3), now)
		if !third.Created || third.ID == r.ID || third.ID == a.ID {
			t.Errorf("third alert: %+v", third)
		}
	})
}

// TestFoldOrder hands the same events in, in any order, in any parts and more
// than once: the alert is the same.
func TestFoldOrder(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			n++
			reports := rapid.SliceOfN(rapid.Int64Range(1, 12), 1, 30).Draw(rt, "reports")
			distinct := slices.Compact(slices.Sorted(slices.Values(reports)))
			created, added := 0, int64(0)
			for rest := reports; len(rest) > 0; {
				k := rapid.IntRange(1, len(rest)).Draw(rt, "part")
				rs, err := db.FoldAlerts(t.Context(), ours, []picket.Alert{raised(n, deviceID(1), picket.Low, rest[:k]...)}, now)
				if err != nil {
					rt.Fatal(err)
				}
				rest = rest[k:]
				added += rs[0].Added
				if rs[0].Created {
					created++
				}
			}
			a, err := db.Alert(t.Context(), ours, fmt.Sprintf("%032x", n))
			if err != nil {
				rt.Fatal(err)
			}
			first, last := now.Add(time.Duration(distinct[0])*time.Second), now.Add(time.Duration(distinct[len(distinct)-1])*time.Second)
			if a.Count != int64(len(distinct)) || added != a.Count || created != 1 || !a.FirstActivity.Equal(first) || !a.LastActivity.Equal(last) {
				rt.Fatalf("count %d (added %d, created %d), %s to %s; want %d, %s to %s", a.Count, added, created, a.FirstActivity, a.LastActivity, len(distinct), first, last)
			}
		})
	})
}

func TestFoldTogether(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range 10 {
					batch := []picket.Alert{raised(1, deviceID(1), picket.Low, int64(i)), raised(2, deviceID(1), picket.Low, int64(i))}
					if worker%2 == 1 {
						slices.Reverse(batch)
					}
					if _, err := db.FoldAlerts(ctx, ours, batch, now); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for n := 1; n <= 2; n++ {
			if a := got(db.Alert(ctx, ours, fmt.Sprintf("%032x", n)))(t); a.Count != 10 {
				t.Errorf("cause %d has %d events, want 10", n, a.Count)
			}
		}
	})
}

func TestUpdateAlert(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		a := raised(1, deviceID(1), picket.Low, 1)
		foldOne(t, db, ours, a, now)
		foldOne(t, db, theirs, a, now)
		later := now.Add(time.Minute)

		u := state.AlertUpdate{
			Status: ptr(picket.StatusInProgress), Classification: ptr(picket.TruePositive), Determination: ptr("Malware"),
			AssignedTo: ptr("ann"), Comment: " it's ? bad ", Revision: 1,
		}
		up := got(db.UpdateAlert(ctx, ours, a.ID, u, "ann", later))(t)
		if up.Status != picket.StatusInProgress || up.Classification != picket.TruePositive || up.Determination != "Malware" ||
			up.AssignedTo != "ann" || up.Revision != 2 || !up.Updated.Equal(later) {
			t.Errorf("alert %+v", up)
		}
		var texts []string
		for _, c := range up.Comments[1:] {
			if c.By != "ann" || !c.Time.Equal(later) {
				t.Errorf("comment %+v", c)
			}
			texts = append(texts, c.Text)
		}
		want := []string{
			"Status changed from New to InProgress.", "Classification changed from not set to TruePositive.",
			"Determination changed from not set to Malware.", "Assigned to changed from not set to ann.", "it's ? bad",
		}
		if diff := cmp.Diff(want, texts); diff != "" {
			t.Error(diff)
		}

		_, err := db.UpdateAlert(ctx, ours, a.ID, u, "bob", later)
		kind(t, "stale revision", err, picket.Conflict)
		u.Revision, u.Comment = 2, ""
		if up := got(db.UpdateAlert(ctx, ours, a.ID, u, "bob", later))(t); up.Revision != 2 || len(up.Comments) != 6 {
			t.Error("a change of nothing is a change")
		}
		up = got(db.UpdateAlert(ctx, ours, a.ID, state.AlertUpdate{Classification: ptr(picket.FalsePositive)}, "bob", later))(t)
		if up.Determination != "" {
			t.Errorf("a false alert has determination %q", up.Determination)
		}
		foldOne(t, db, ours, raised(1, deviceID(1), picket.Low, 2), later)
		if up := got(db.Alert(ctx, ours, a.ID))(t); up.Revision != 3 || up.Count != 2 {
			t.Errorf("revision %d, count %d: new events are no change by a person", up.Revision, up.Count)
		}

		for name, c := range map[string]struct {
			u    state.AlertUpdate
			kind error
		}{
			"status":                     {state.AlertUpdate{Status: ptr(picket.AlertStatus("Open"))}, picket.Invalid},
			"classification":             {state.AlertUpdate{Classification: ptr(picket.Classification("Maybe"))}, picket.Invalid},
			"determination":              {state.AlertUpdate{Classification: ptr(picket.TruePositive), Determination: ptr("Gremlins")}, picket.Invalid},
			"determination of false one": {state.AlertUpdate{Determination: ptr("Apt")}, picket.Invalid},
			"assigned":                   {state.AlertUpdate{AssignedTo: ptr("a\nb")}, picket.Invalid},
			"comment":                    {state.AlertUpdate{Comment: strings.Repeat("x", 9<<10)}, picket.TooLarge},
		} {
			_, err := db.UpdateAlert(ctx, ours, a.ID, c.u, "bob", later)
			kind(t, name, err, c.kind)
		}
		if other := got(db.Alert(ctx, theirs, a.ID))(t); other.Revision != 1 || len(other.Comments) != 1 {
			t.Error("alert of another tenant changed")
		}
	})
}

func TestUpdateAlerts(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		var ids []string
		for n := range 4 {
			a := raised(n, deviceID(1), picket.Low, 1)
			ids = append(ids, a.ID)
			foldOne(t, db, ours, a, now)
		}
		resolve := state.AlertUpdate{Status: ptr(picket.StatusResolved)}
		kind(t, "one missing", db.UpdateAlerts(ctx, ours, append(ids[:1:1], strings.Repeat("f", 32)), resolve, "ann", now), picket.NotFound)
		kind(t, "other tenant", db.UpdateAlerts(ctx, theirs, ids, resolve, "ann", now), picket.NotFound)
		kind(t, "too many", db.UpdateAlerts(ctx, ours, make([]string, 501), resolve, "ann", now), picket.TooLarge)
		if c := got(db.ActiveAlerts(ctx, ours, ""))(t); c.Low != 4 {
			t.Errorf("%+v active: a refused batch left something", c)
		}
		ok(t, db.UpdateAlerts(ctx, ours, []string{ids[0], ids[1], ids[0]}, resolve, "ann", now))
		if c := got(db.ActiveAlerts(ctx, ours, deviceID(1)))(t); c.Low != 2 {
			t.Errorf("%+v active, want 2 low", c)
		}
		if c := got(db.ActiveAlerts(ctx, theirs, ""))(t); c.Total() != 0 {
			t.Errorf("other tenant counts %+v", c)
		}
	})
}

func TestAlertList(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		severities := []picket.Severity{picket.Informational, picket.Low, picket.Medium, picket.High}
		for n := range 20 {
			a := raised(n, deviceID(n%3), severities[n%4], int64(n%7*60))
			a.User, a.DetectionSource = fmt.Sprintf("user%d", n%2), []string{"EDR", "Antivirus"}[n%2]
			foldOne(t, db, ours, a, now.Add(time.Duration(n)*time.Second))
		}
		foldOne(t, db, theirs, raised(99, deviceID(0), picket.High, 1), now)
		ok(t, db.UpdateAlerts(ctx, ours, []string{fmt.Sprintf("%032x", 0), fmt.Sprintf("%032x", 1)}, state.AlertUpdate{
			Status: ptr(picket.StatusResolved), AssignedTo: ptr("ann"),
		}, "ann", now))
		for name, c := range map[string]struct {
			q    state.AlertQuery
			want int64
		}{
			"all":         {state.AlertQuery{}, 20},
			"status":      {state.AlertQuery{Status: []picket.AlertStatus{picket.StatusNew, picket.StatusInProgress}}, 18},
			"severity":    {state.AlertQuery{Severity: []picket.Severity{picket.High, picket.Low}}, 10},
			"category":    {state.AlertQuery{Category: []string{"Execution"}}, 20},
			"no category": {state.AlertQuery{Category: []string{"execution", "'"}}, 0},
			"source":      {state.AlertQuery{Source: []string{"Antivirus"}}, 10},
			"device":      {state.AlertQuery{DeviceID: deviceID(2)}, 6},
			"user":        {state.AlertQuery{User: "SER1"}, 10},
			"assigned":    {state.AlertQuery{AssignedTo: ptr("ann")}, 2},
			"unassigned":  {state.AlertQuery{AssignedTo: ptr("")}, 18},
			"text":        {state.AlertQuery{Text: "cause 1"}, 11},
			"id":          {state.AlertQuery{Text: fmt.Sprintf("%032x", 4)}, 1},
			"since":       {state.AlertQuery{ActiveSince: now.Add(5 * time.Minute)}, 5},
			"until":       {state.AlertQuery{ActiveUntil: now.Add(1 * time.Minute)}, 3},
			"together":    {state.AlertQuery{Text: "cause", DeviceID: deviceID(0), Status: []picket.AlertStatus{picket.StatusResolved}}, 1},
		} {
			p, err := db.Alerts(ctx, ours, c.q)
			if err != nil || p.Total != c.want || int64(len(p.Items)) != c.want {
				t.Errorf("%s: %d alerts of %d, want %d; %v", name, len(p.Items), p.Total, c.want, err)
			}
		}
		for _, sort := range []string{"lastActivity", "firstActivity", "created", "severity", "status", "count", "title", "device", "user", "category", "source", "assignedTo"} {
			for _, order := range []string{sort, "-" + sort} {
				whole := got(db.Alerts(ctx, ours, state.AlertQuery{Sort: order, Limit: 1000}))(t)
				var paged []state.Alert
				for cursor, pages := "", 0; pages < 20; pages++ {
					p := got(db.Alerts(ctx, ours, state.AlertQuery{Sort: order, Limit: 3, Cursor: cursor}))(t)
					paged = append(paged, p.Items...)
					if cursor = p.Next; cursor == "" {
						break
					}
				}
				if diff := cmp.Diff(whole.Items, paged); diff != "" {
					t.Errorf("pages by %s: %s", order, diff)
				}
			}
		}
		newest := got(db.Alerts(ctx, ours, state.AlertQuery{}))(t).Items
		if !slices.IsSortedFunc(newest, func(a, b state.Alert) int { return b.LastActivity.Compare(a.LastActivity) }) {
			t.Error("the queue does not begin with the latest activity")
		}
		worst := got(db.Alerts(ctx, ours, state.AlertQuery{Sort: "-severity"}))(t).Items
		if !slices.IsSortedFunc(worst, func(a, b state.Alert) int { return b.Severity.Rank() - a.Severity.Rank() }) {
			t.Error("not sorted by severity")
		}
		_, err := db.Alerts(ctx, ours, state.AlertQuery{Sort: "tenant"})
		kind(t, "sort", err, picket.Invalid)
	})
}

func TestAlertMarks(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		low, high := raised(1, deviceID(1), picket.Low, 10, 11), raised(2, deviceID(1), picket.High, 11)
		got(db.FoldAlerts(ctx, ours, []picket.Alert{low, high, raised(3, deviceID(2), picket.High, 10)}, now))(t)
		got(db.FoldAlerts(ctx, theirs, []picket.Alert{raised(4, deviceID(1), picket.High, 10)}, now))(t)
		lowRef := state.AlertRef{ID: low.ID, Title: low.Title, Severity: picket.Low, Status: picket.StatusNew}
		highRef := state.AlertRef{ID: high.ID, Title: high.Title, Severity: picket.High, Status: picket.StatusNew}

		marks := got(db.AlertsOfEvents(ctx, ours, deviceID(1), []state.EventRef{{"boot", 10}, {"boot", 11}, {"boot", 12}, {"other", 10}}))(t)
		want := map[state.EventRef][]state.AlertRef{{"boot", 10}: {lowRef}, {"boot", 11}: {highRef, lowRef}}
		if diff := cmp.Diff(want, marks); diff != "" {
			t.Error(diff)
		}
		guid := func(n int) string { return fmt.Sprintf("%032x", n) }
		procs := got(db.AlertsOfProcesses(ctx, ours, deviceID(1), []string{guid(7001), guid(9011), guid(9999), guid(7003)}))(t)
		if diff := cmp.Diff(map[string][]state.AlertRef{guid(7001): {lowRef}, guid(9011): {highRef, lowRef}}, procs); diff != "" {
			t.Error(diff)
		}
		found := got(db.Detections(ctx, ours, deviceID(1), now, now.Add(11*time.Second), 10))(t)
		one := state.Detection{EventRef: state.EventRef{BootID: "boot", ReportID: 10}, Table: "DeviceProcessEvents", Time: now.Add(10 * time.Second), Alert: lowRef}
		if diff := cmp.Diff([]state.Detection{one}, found); diff != "" {
			t.Error(diff)
		}
		if n := len(got(db.Detections(ctx, ours, deviceID(1), now, now.Add(time.Hour), 2))(t)); n != 2 {
			t.Errorf("%d detections, want 2", n)
		}
		_, err := db.Detections(ctx, ours, deviceID(1), now, now, 0)
		kind(t, "limit", err, picket.Invalid)
	})
}

func TestExpireAlerts(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		var old []picket.Alert
		for n := range 450 {
			old = append(old, raised(n, deviceID(1), picket.Low, 1))
		}
		got(db.FoldAlerts(ctx, ours, old, now))(t)
		got(db.FoldAlerts(ctx, theirs, old[:1], now))(t)
		stays := raised(500, deviceID(1), picket.Low, 1, 9999)
		foldOne(t, db, ours, stays, now)
		if n := got(db.ExpireAlerts(ctx, ours, now.Add(time.Minute)))(t); n != 450 {
			t.Errorf("%d alerts expired, want 450", n)
		}
		if p := got(db.Alerts(ctx, ours, state.AlertQuery{}))(t); p.Total != 1 || p.Items[0].ID != stays.ID || p.Items[0].Count != 2 {
			t.Errorf("left: %+v", p)
		}
		if n := len(got(db.Detections(ctx, ours, deviceID(1), now, now.Add(24*time.Hour), 1000))(t)); n != 1 {
			t.Errorf("%d event marks left, want 1", n)
		}
		if p := got(db.Alerts(ctx, theirs, state.AlertQuery{}))(t); p.Total != 1 {
			t.Error("alert of another tenant expired")
		}
		if r := foldOne(t, db, ours, old[0], now); !r.Created {
			t.Errorf("an expired alert cannot be raised again: %+v", r)
		}
	})
}
