// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// Report is what came of one round.
type Report struct {
	Round   string
	Rungs   map[string]string `json:",omitempty"` // that were asked for
	Error   string            `json:",omitempty"` // why the collector did not work
	Hooks   []picket.Hook
	Results []Result
	Lost    map[string]uint64
	Took    time.Duration
}

// Result is what came of one kind in a round.
type Result struct {
	Kind  string
	Rung  string // that collected the kind of hook; "off": none
	Seen  bool
	Row   map[string]any `json:",omitempty"` // the row's own columns
	Error string         `json:",omitempty"` // why it could not be done
}

// How long a row may take. Nothing waits that long unless one is missing.
const patience = 20 * time.Second

// kinds are those that the round tries: all, or those of the hooks whose rung
// it asks for.
func (r Round) kinds() []Kind {
	if len(r.Rungs) == 0 {
		return Kinds
	}
	return slices.DeleteFunc(slices.Clone(Kinds), func(k Kind) bool { return r.Rungs[k.Hook] == "" })
}

// rungs are those asked for; the other hooks are left off, but for the one that
// knows the processes, since loading them takes an emulator seconds.
func (r Round) rungs() map[string]string {
	if len(r.Rungs) == 0 {
		return nil
	}
	all := map[string]string{}
	for _, k := range Kinds {
		all[k.Hook] = "off"
	}
	for _, l := range Lacks {
		all[l.Hook] = "off"
	}
	delete(all, "process")
	maps.Copy(all, r.Rungs)
	return all
}

// Run collects with the rungs of the round, makes its kinds happen below a
// folder, and reports what was seen.
func (r Round) Run(ctx context.Context, kernel, below string) (Report, error) {
	began, kinds := time.Now(), r.kinds()
	w, err := Collect(ctx, r.rungs())
	if err != nil {
		return Report{Round: r.Name}, err
	}
	report := Report{Round: r.Name, Rungs: r.Rungs, Hooks: w.Hooks()}
	acts := make([]*Act, len(kinds))
	report.Results = make([]Result, len(kinds))
	for i, k := range kinds {
		res := &report.Results[i]
		res.Kind, res.Rung = k.Name, rungOf(report.Hooks, k.Hook)
		if k.Guest && kernel == "" {
			res.Rung = "off"
		}
		if res.Rung == "off" {
			continue // nothing could see it, or it is not for this host
		}
		if acts[i], err = k.do(ctx, below); err != nil {
			res.Error = err.Error()
		}
	}
	w.Wait(patience, func() bool {
		for i, k := range kinds {
			if want, _ := k.claimed(kernel, report.Results[i].Rung); want && w.find(k.told(acts[i])) == nil {
				return false
			}
		}
		return true
	})
	report.Lost, err = w.End()
	for i, k := range kinds {
		if acts[i] == nil {
			continue
		}
		if row := w.find(k.told(acts[i])); row != nil {
			report.Results[i].Seen, report.Results[i].Row = true, columns(row)
		}
	}
	report.Took = time.Since(began)
	return report, err
}

// rungOf is the rung that collects a kind of hook.
func rungOf(hooks []picket.Hook, kind string) string {
	for _, h := range hooks {
		if h.Kind == kind && h.Attached {
			return h.Rung
		}
	}
	return "off"
}

// told matches the row that an act should have.
func (k Kind) told(a *Act) func(event.Row) bool {
	return func(row event.Row) bool {
		if row.Table().Name != k.Table {
			return false
		}
		v := reflect.ValueOf(row).Elem()
		return v.FieldByName("ActionType").String() == k.Action &&
			v.FieldByName("InitiatingProcessId").Int() == int64(a.PID) && (k.Match == nil || k.Match(a, row))
	}
}

// columns returns what a row says of the event itself, not of who acted.
func columns(row event.Row) map[string]any {
	out := map[string]any{}
	v := reflect.ValueOf(row).Elem()
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		if f.IsZero() || strings.HasPrefix(name, "InitiatingProcess") || strings.HasSuffix(name, "NamespaceId") || name == "Timestamp" {
			continue
		}
		switch x := f.Interface().(type) {
		case event.Long:
			out[name] = x.Value
		case string:
			out[name] = fmt.Sprintf("%.200s", x)
		default:
			out[name] = x
		}
	}
	return out
}
