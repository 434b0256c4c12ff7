// SPDX-License-Identifier: Apache-2.0

package persist

import "strings"

// cleared tells that a log lost content: logs grow, so any shrinking counts.
// A history is trimmed by its shell; there it takes the loss of half of it.
func (t *Tracker) cleared(f *finding) []Event {
	how := ""
	was := int64(-1)
	if f.prev != nil && f.prev.info.Kind == Regular {
		was = f.prev.info.Size
	}
	history := f.w.Category == "ShellHistory"
	switch {
	case f.now.Kind == Link:
		if f.prev != nil && f.prev.info.Target == f.now.Target {
			return nil
		}
		how = "Redirected"
	case f.now.Size == 0 && (f.c.Truncated || was > 0):
		how = "Emptied"
	case history && was >= 0 && f.now.Size < was/2:
		how = "Shortened"
	case !history && (f.c.Truncated || was > f.now.Size):
		how = "Shortened"
	}
	// One that a rotation moved away and made anew is not a loss.
	if how == "" || !f.c.Truncated && f.prev == nil && how != "Redirected" || f.c.Op == Created && how != "Redirected" && !history {
		return nil
	}
	e := f.event(f.w.Actions.Changed, "Cleared")
	e.Fields["Cleared"] = how
	if was >= 0 {
		e.Fields["PreviousSize"] = was
	}
	if f.now.Kind == Link {
		e.Fields["LinksTo"] = oneLine(f.now.Target)
	}
	t.owner(f, &e)
	return []Event{e}
}

// vanished tells that a log was removed. Rotation moves it to a longer name.
func (t *Tracker) vanished(f *finding) []Event {
	if f.c.Op == Renamed && f.path == f.c.OldPath && strings.HasPrefix(f.c.Path, strings.TrimSuffix(f.path, ".journal")) {
		return nil
	}
	e := f.event(f.w.Actions.Deleted, "Deleted")
	e.Fields["Cleared"] = "Deleted"
	if f.c.Op == Renamed && f.path == f.c.OldPath {
		e.Fields["Cleared"], e.Fields["MovedTo"] = "Moved", f.c.Path
	}
	if f.prev != nil {
		e.Fields["PreviousSize"] = f.prev.info.Size
	}
	t.owner(f, &e)
	return []Event{e}
}
