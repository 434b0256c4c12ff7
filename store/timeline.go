// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"encoding/base64"
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
}

// TimelinePage is some events in order, and where the next page starts.
type TimelinePage struct {
	Items []Item
	Next  string // empty: no more
}

// EventTypes are the kinds by which a timeline is filtered, as predicates.
var EventTypes = []struct{ Name, Where string }{
	{"process", `"TableName" = 'DeviceProcessEvents'`},
	{"file", `"TableName" = 'DeviceFileEvents'`},
	{"network", `"TableName" = 'DeviceNetworkEvents'`},
	{"dns", `("TableName" = 'DeviceEvents' AND "ActionType" LIKE 'Dns%')`},
	{"logon", `"TableName" = 'DeviceLogonEvents'`},
	{"image", `"TableName" = 'DeviceImageLoadEvents'`},
	{"registry", `"TableName" = 'DeviceRegistryEvents'`},
	{"sensor", `("TableName" = 'DeviceEvents' AND "ActionType" LIKE 'Sensor%')`},
	{"other", `("TableName" IN ('DeviceInfo', 'DeviceNetworkInfo', 'DeviceFileCertificateInfo') OR ("TableName" = 'DeviceEvents' AND "ActionType" NOT LIKE 'Dns%' AND "ActionType" NOT LIKE 'Sensor%'))`},
}

// behaviors are the events of interest: what an analyst reads first. Files
// count when they are programs, scripts or where persistence lives.
var behaviors = []string{
	`("TableName" = 'DeviceProcessEvents' AND "ActionType" = 'ProcessCreated')`,
	`("TableName" = 'DeviceLogonEvents' AND "ActionType" <> 'LogonFound')`,
	`("TableName" = 'DeviceNetworkEvents' AND "ActionType" IN ('ListeningConnectionCreated', 'InboundConnectionAccepted') AND coalesce("RemoteIPType", '') <> 'Loopback')`,
	`("TableName" = 'DeviceNetworkEvents' AND "ActionType" IN ('ConnectionSuccess', 'ConnectionFailed') AND "RemoteIPType" = 'Public')`,
	`("TableName" = 'DeviceFileEvents' AND ("FolderPath" LIKE '/etc/%' OR "FolderPath" LIKE '/usr/%' OR "FolderPath" LIKE '%/.ssh/%' OR "FolderPath" LIKE '/var/spool/cron/%' OR "FolderPath" LIKE '%.sh' OR "FolderPath" LIKE '%.py' OR "FolderPath" LIKE '%.so'))`,
	`("TableName" = 'DeviceEvents' AND "ActionType" LIKE 'Sensor%')`,
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

// Timeline reads one page of a device's events.
func Timeline(ctx context.Context, ev Events, q TimelineQuery) (TimelinePage, error) {
	w, err := q.where()
	if err != nil {
		return TimelinePage{}, err
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	if q.Limit < 1 || q.Limit > 1000 {
		return TimelinePage{}, fmt.Errorf("timeline: limit %d is not 1 to 1000: %w", q.Limit, picket.Invalid)
	}
	dir := "DESC"
	if q.Asc {
		dir = "ASC"
	}
	query := fmt.Sprintf(`SELECT * FROM events WHERE %s ORDER BY "Timestamp" %s, "ReportId" %s, "BatchSequence" %s, "RowIndex" %s LIMIT %d`, w.sql(), dir, dir, dir, dir, q.Limit+1)
	rows, err := ev.Query(ctx, query, w.args...)
	if err != nil {
		return TimelinePage{}, fmt.Errorf("timeline of %s: %w", q.DeviceID, err)
	}
	defer rows.Close()
	items, err := scan(rows)
	if err != nil {
		return TimelinePage{}, fmt.Errorf("timeline of %s: %w", q.DeviceID, err)
	}
	page := TimelinePage{Items: items}
	if len(items) > q.Limit {
		page.Items = items[:q.Limit]
		last := page.Items[q.Limit-1]
		page.Next = cursor(last.Time.UnixMicro(), last.ReportID)
	}
	return page, nil
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
		us, id, err := parseCursor(q.Cursor)
		if err != nil {
			return nil, err
		}
		at, op := event.Time(us).Time(), "<"
		if q.Asc {
			op = ">"
		}
		w.add(`("Timestamp" `+op+` ? OR ("Timestamp" = ? AND coalesce("ReportId", 0) `+op+` ?))`, at, at, id)
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

func cursor(us, id int64) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d", us, id))
}

func parseCursor(s string) (us, id int64, err error) {
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		a, b, _ := strings.Cut(string(data), " ")
		if us, err = strconv.ParseInt(a, 10, 64); err == nil {
			if id, err = strconv.ParseInt(b, 10, 64); err == nil {
				return us, id, nil
			}
		}
	}
	return 0, 0, fmt.Errorf("cursor is not one of ours: %w", picket.Invalid)
}

// scan reads rows of the events table into items.
func scan(rows *sql.Rows) ([]Item, error) {
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
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
			switch name {
			case TableColumn:
				it.Table, _ = values[i].(string)
			case IndexColumn:
			default:
				if text := Text(values[i]); text != "" {
					it.Fields[name] = text
				}
			}
		}
		if t, ok := values[indexOf(names, "Timestamp")].(time.Time); ok {
			it.Time = t.UTC()
		}
		it.BootID = it.Fields["BootId"]
		it.ReportID, _ = strconv.ParseInt(it.Fields["ReportId"], 10, 64)
		items = append(items, it)
	}
	return items, rows.Err()
}

func indexOf(names []string, name string) int {
	for i, n := range names {
		if n == name {
			return i
		}
	}
	return 0
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
