// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// Level is how much a timeline shows.
type Level string

// Levels. LevelAll and LevelVerbose show every event; what is a detection is
// not known here, so a caller who wants detections asks by ReportIDs.
const (
	LevelBehaviors Level = "behaviors"
	LevelVerbose   Level = "verbose"
)

// TimelineQuery chooses events of one device.
type TimelineQuery struct {
	DeviceID string
	From, To time.Time // inclusive, exclusive; zero: no bound
	Cursor   string    // of the page before
	Asc      bool      // oldest first
	Level    Level
	Types    []string // keys of EventTypes; none: all
	Search   string   // free text, or type:value with a key of SearchTypes
	User     string   // account of the process
	Reports  []Report // only these events; nil: all
	Limit    int      // 1 to 1000; 0: 100
}

// Report names one event of a device.
type Report struct {
	BootID   string
	ReportID int64
}

// Item is one event: its identity and the columns that have a value.
type Item struct {
	Time     time.Time
	Table    string
	BootID   string
	ReportID int64
	Fields   map[string]string

	batch, row int64 // the batch that brought it, and its place there
}

// TimelinePage is some events in order, and where the next page starts.
type TimelinePage struct {
	Items []Item
	Next  string // empty: no more
}

// aboutSensor tells what the sensor and the server say of themselves and of
// the state of the device.
const aboutSensor = `("ActionType" LIKE 'Sensor%' OR "ActionType" IN ('DeviceSilent', 'DeviceSuspended', 'DeviceResumed', 'ClockChanged'))`

// EventTypes are the kinds by which a timeline is filtered, as predicates.
var EventTypes = []struct{ Name, Where string }{
	{"process", `"TableName" = 'DeviceProcessEvents'`},
	{"file", `"TableName" = 'DeviceFileEvents'`},
	{"network", `"TableName" = 'DeviceNetworkEvents'`},
	{"dns", `("TableName" = 'DeviceEvents' AND "ActionType" LIKE 'Dns%')`},
	{"logon", `"TableName" = 'DeviceLogonEvents'`},
	{"image", `"TableName" = 'DeviceImageLoadEvents'`},
	{"registry", `"TableName" = 'DeviceRegistryEvents'`},
	{"sensor", `("TableName" = 'DeviceEvents' AND ` + aboutSensor + `)`},
	{"other", `("TableName" IN ('DeviceInfo', 'DeviceNetworkInfo', 'DeviceFileCertificateInfo') OR ("TableName" = 'DeviceEvents' AND "ActionType" NOT LIKE 'Dns%' AND NOT ` + aboutSensor + `))`},
}

// behaviors are the events of interest: what an analyst reads first. Files
// count when they are programs, scripts or where persistence lives.
var behaviors = []string{
	`("TableName" = 'DeviceProcessEvents' AND "ActionType" = 'ProcessCreated')`,
	`("TableName" = 'DeviceLogonEvents' AND "ActionType" <> 'LogonFound')`,
	`("TableName" = 'DeviceNetworkEvents' AND "ActionType" IN ('ListeningConnectionCreated', 'InboundConnectionAccepted') AND coalesce("RemoteIPType", '') <> 'Loopback')`,
	`("TableName" = 'DeviceNetworkEvents' AND "ActionType" IN ('ConnectionSuccess', 'ConnectionFailed') AND "RemoteIPType" = 'Public')`,
	`("TableName" = 'DeviceFileEvents' AND ("FolderPath" LIKE '/etc/%' OR "FolderPath" LIKE '/usr/%' OR "FolderPath" LIKE '%/.ssh/%' OR "FolderPath" LIKE '/var/spool/cron/%' OR "FolderPath" LIKE '%.sh' OR "FolderPath" LIKE '%.py' OR "FolderPath" LIKE '%.so'))`,
	`("TableName" = 'DeviceEvents' AND ` + aboutSensor + `)`,
	`"TableName" = 'DeviceRegistryEvents'`,
}

// SearchTypes are the keys of a type:value search with the columns that each
// looks at, and how.
var SearchTypes = []struct {
	Name    string
	Columns []string
	Exact   bool
}{
	{"hash", []string{"SHA1", "SHA256", "MD5", "InitiatingProcessSHA1", "InitiatingProcessSHA256", "InitiatingProcessMD5"}, true},
	{"file", []string{"FileName", "PreviousFileName", "InitiatingProcessFileName"}, false},
	{"path", []string{"FolderPath", "PreviousFolderPath", "InitiatingProcessFolderPath"}, false},
	{"cmd", []string{"ProcessCommandLine", "InitiatingProcessCommandLine"}, false},
	{"user", []string{"AccountName", "InitiatingProcessAccountName", "TargetAccountName"}, false},
	{"ip", []string{"RemoteIP", "LocalIP"}, true},
	{"url", []string{"RemoteUrl", "DnsQueryName"}, false},
}

// freeText is what a search without a type looks at.
var freeText = []string{"FileName", "FolderPath", "ProcessCommandLine", "InitiatingProcessFileName", "InitiatingProcessCommandLine", "AccountName", "InitiatingProcessAccountName", "RemoteIP", "RemoteUrl", "DnsQueryName", "SHA1", "SHA256", "MD5", "ActionType"}

// where gathers predicates and their arguments.
type where struct {
	conds []string
	args  []any
}

func (w *where) add(cond string, args ...any) {
	w.conds = append(w.conds, cond)
	w.args = append(w.args, args...)
}

func (w *where) sql() string { return strings.Join(w.conds, " AND ") }

// order is the total order of a timeline. A cursor holds the same values.
const order = `"Timestamp" %[1]s, coalesce("ReportId", 0) %[1]s, "BootId" %[1]s, "BatchSequence" %[1]s, "RowIndex" %[1]s`

// Timeline reads one page of a device's events. It first looks for where the
// page ends with the few columns that this needs, in ever longer spans of
// time, and reads whole rows only of the page itself.
func Timeline(ctx context.Context, ev Events, q TimelineQuery) (TimelinePage, error) {
	if q.Limit == 0 {
		q.Limit = 100
	}
	if q.Limit < 1 || q.Limit > 1000 {
		return TimelinePage{}, fmt.Errorf("timeline: limit %d is not 1 to 1000: %w", q.Limit, picket.Invalid)
	}
	w, err := q.where()
	if err != nil {
		return TimelinePage{}, err
	}
	page, err := q.read(ctx, ev, w)
	if err != nil {
		return TimelinePage{}, fmt.Errorf("timeline of %s: %w", q.DeviceID, err)
	}
	return page, nil
}

func (q *TimelineQuery) read(ctx context.Context, ev Events, w *where) (TimelinePage, error) {
	span, err := q.locate(ctx, ev, w)
	if err != nil || span == (Between{}) {
		return TimelinePage{}, err
	}
	w.add(`"Timestamp" >= ? AND "Timestamp" <= ?`, span.From, span.To)
	rows, err := ev.Query(Within(ctx, span.From, span.To), q.statement("*", w), w.args...)
	if err != nil {
		return TimelinePage{}, err
	}
	defer rows.Close()
	items, err := scan(rows)
	if err != nil {
		return TimelinePage{}, err
	}
	page := TimelinePage{Items: items}
	if len(items) > q.Limit {
		page.Items = items[:q.Limit]
		page.Next = cursorOf(&page.Items[q.Limit-1])
	}
	return page, nil
}

func (q *TimelineQuery) statement(columns string, w *where) string {
	dir := "DESC"
	if q.Asc {
		dir = "ASC"
	}
	return fmt.Sprintf("SELECT %s FROM events WHERE %s ORDER BY "+fmt.Sprintf(order, dir)+" LIMIT %d", columns, w.sql(), q.Limit+1)
}

// locate returns the first and last moment of the page with the row after it,
// or no bounds when there are no rows.
func (q *TimelineQuery) locate(ctx context.Context, ev Events, w *where) (Between, error) {
	for _, span := range q.spans() {
		narrow := &where{conds: w.conds[:len(w.conds):len(w.conds)], args: w.args[:len(w.args):len(w.args)]}
		if !span.From.IsZero() {
			narrow.add(`"Timestamp" >= ?`, span.From)
		}
		if !span.To.IsZero() {
			narrow.add(`"Timestamp" <= ?`, span.To)
		}
		found, n, err := times(Within(ctx, span.From, span.To), ev, q.statement(`"Timestamp"`, narrow), narrow.args)
		if err != nil || n > q.Limit {
			return found, err
		}
		if span.last {
			return found, nil
		}
	}
	return Between{}, nil
}

// span is a part of the time that a query asks for.
type span struct {
	Between
	last bool // there is no more than this
}

// spans returns ever longer parts of the time asked for, from the end where
// the page starts. Where that end is open, time starts now.
func (q *TimelineQuery) spans() []span {
	whole := Between{q.From.UTC(), q.To.UTC()}
	if q.From.IsZero() {
		whole.From = time.Time{}
	}
	if q.To.IsZero() {
		whole.To = time.Time{}
	}
	if k, err := parseCursor(q.Cursor); err == nil && q.Cursor != "" {
		if q.Asc {
			whole.From = k.time()
		} else {
			whole.To = k.time()
		}
	}
	var out []span
	for _, days := range []int{1, 8, 60} {
		s := span{Between: whole}
		if q.Asc {
			if s.From.IsZero() {
				break
			}
			s.To = s.From.AddDate(0, 0, days)
			if !whole.To.IsZero() && !s.To.Before(whole.To) {
				break
			}
		} else {
			end := whole.To
			if end.IsZero() {
				end = time.Now().UTC()
			}
			if s.From = end.AddDate(0, 0, -days); !whole.From.IsZero() && !s.From.After(whole.From) {
				break
			}
		}
		out = append(out, s)
	}
	return append(out, span{whole, true})
}

// times reads one column of moments and returns the first, the last and how
// many there are.
func times(ctx context.Context, ev Events, query string, args []any) (b Between, n int, err error) {
	rows, err := ev.Query(ctx, query, args...)
	if err != nil {
		return b, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var t time.Time
		if err := rows.Scan(&t); err != nil {
			return b, n, err
		}
		if t = t.UTC(); n == 0 || t.Before(b.From) {
			b.From = t
		}
		if n == 0 || t.After(b.To) {
			b.To = t
		}
		n++
	}
	return b, n, rows.Err()
}

func (q *TimelineQuery) where() (*where, error) {
	w := &where{}
	w.add(`"DeviceId" = ?`, q.DeviceID)
	if !q.From.IsZero() {
		w.add(`"Timestamp" >= ?`, q.From.UTC())
	}
	if !q.To.IsZero() {
		w.add(`"Timestamp" < ?`, q.To.UTC())
	}
	if q.Cursor != "" {
		k, err := parseCursor(q.Cursor)
		if err != nil {
			return nil, err
		}
		w.after(k, q.Asc)
	}
	if q.Level == LevelBehaviors {
		w.add("(" + strings.Join(behaviors, " OR ") + ")")
	}
	if err := w.types(q.Types); err != nil {
		return nil, err
	}
	w.search(q.Search)
	if q.User != "" {
		u := strings.ToLower(q.User)
		w.add(`(lower("AccountName") = ? OR lower("InitiatingProcessAccountName") = ?)`, u, u)
	}
	w.reports(q.Reports)
	return w, nil
}

// after admits only rows that come after a cursor.
func (w *where) after(k key, asc bool) {
	op := "<"
	if asc {
		op = ">"
	}
	columns := []string{`"Timestamp"`, `coalesce("ReportId", 0)`, `"BootId"`, `"BatchSequence"`, `"RowIndex"`}
	values := []any{k.time(), k.Report, k.Boot, k.Batch, k.Row}
	var any []string
	for i := range columns {
		var all []string
		for j := range i {
			all = append(all, columns[j]+" = ?")
			w.args = append(w.args, values[j])
		}
		all = append(all, columns[i]+" "+op+" ?")
		w.args = append(w.args, values[i])
		any = append(any, "("+strings.Join(all, " AND ")+")")
	}
	w.conds = append(w.conds, "("+strings.Join(any, " OR ")+")")
}

func (w *where) types(types []string) error {
	var any []string
	for _, name := range types {
		found := false
		for _, t := range EventTypes {
			if t.Name == name {
				any, found = append(any, t.Where), true
			}
		}
		if !found {
			return fmt.Errorf("timeline: unknown event type %q: %w", name, picket.Invalid)
		}
	}
	if len(any) > 0 {
		w.add("(" + strings.Join(any, " OR ") + ")")
	}
	return nil
}

// search adds free text or type:value. A colon after an unknown word is text.
func (w *where) search(text string) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "" {
		return
	}
	columns, exact := freeText, false
	if key, value, ok := strings.Cut(text, ":"); ok {
		value = strings.TrimSpace(value)
		if key == "ext" {
			w.add(`lower("FileName") LIKE ? ESCAPE '\'`, "%."+like(strings.TrimPrefix(value, ".")))
			return
		}
		for _, t := range SearchTypes {
			if t.Name == key {
				columns, exact, text = t.Columns, t.Exact, value
			}
		}
	}
	var any []string
	for _, c := range columns {
		if exact {
			any = append(any, fmt.Sprintf(`%q = ?`, c))
			w.args = append(w.args, text)
			continue
		}
		any = append(any, fmt.Sprintf(`lower(%q) LIKE ? ESCAPE '\'`, c))
		w.args = append(w.args, "%"+like(text)+"%")
	}
	w.conds = append(w.conds, "("+strings.Join(any, " OR ")+")")
}

// like escapes a text for use within a LIKE pattern.
func like(s string) string { return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s) }

func (w *where) reports(reports []Report) {
	if reports == nil {
		return
	}
	any := []string{"false"}
	for _, r := range reports {
		any = append(any, `("BootId" = ? AND "ReportId" = ?)`)
		w.args = append(w.args, r.BootID, r.ReportID)
	}
	w.conds = append(w.conds, "("+strings.Join(any, " OR ")+")")
}

// key is the place of a row in the order of a timeline.
type key struct {
	Time   int64  `json:"t"`
	Report int64  `json:"r,omitempty"`
	Boot   string `json:"b"`
	Batch  int64  `json:"s"`
	Row    int64  `json:"i,omitempty"`
}

func (k key) time() time.Time { return time.UnixMicro(k.Time).UTC() }

func cursorOf(it *Item) string {
	k := key{Time: it.Time.UnixMicro(), Report: it.ReportID, Boot: it.BootID, Batch: it.batch, Row: it.row}
	data, err := json.Marshal(k)
	if err != nil {
		return "" // cannot be: the key is numbers and a text
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func parseCursor(s string) (k key, err error) {
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil {
		return k, fmt.Errorf("cursor is not one of ours: %w", picket.Invalid)
	}
	return k, nil
}

// scan reads rows of the events table into items.
func scan(rows Rows) ([]Item, error) {
	names := rows.Columns()
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	var items []Item
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		it := Item{Fields: map[string]string{}}
		for i, name := range names {
			it.take(name, values[i])
		}
		it.BootID = it.Fields["BootId"]
		items = append(items, it)
	}
	return items, rows.Err()
}

// take puts one value where it belongs.
func (it *Item) take(name string, v any) {
	switch name {
	case TableColumn:
		it.Table, _ = v.(string)
		return
	case IndexColumn:
		it.row, _ = v.(int64)
		return
	case "Timestamp":
		if t, ok := v.(time.Time); ok {
			it.Time = t.UTC()
		}
	case "ReportId":
		it.ReportID, _ = v.(int64)
	case "BatchSequence":
		it.batch, _ = v.(int64)
	}
	if text := Text(v); text != "" {
		it.Fields[name] = text
	}
}

// Text is how a value read from an engine is shown: as event.Column.Text does,
// but false is "".
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "true"
		}
		return ""
	case time.Time:
		return event.TimeOf(v).String()
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return fmt.Sprint(v)
}
