// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/rule/sigma"
	"github.com/picket-edr/picket/schema"
)

var epoch = time.Date(2025, 3, 4, 10, 30, 0, 0, time.UTC)

func options() Options {
	return Options{Clock: func() time.Time { return epoch.Add(time.Hour) }, Log: slog.New(slog.DiscardHandler)}
}

func engine(t testing.TB, rules ...*rule.Rule) *Engine {
	t.Helper()
	e, err := New(rules, options())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// parse reads rules written as detection sections.
func parse(t testing.TB, category, title, detection string) *rule.Rule {
	t.Helper()
	src := fmt.Sprintf("title: %s\nlevel: high\ntags: [attack.execution, attack.t1059]\nlogsource: {category: %s, product: linux}\ndetection:\n    %s\n",
		title, category, strings.ReplaceAll(strings.TrimSpace(detection), "\n", "\n    "))
	rules, failed := sigma.Parse("test.yml", []byte(src), sigma.Options{})
	if len(failed) > 0 {
		t.Fatal(failed)
	}
	return rules[0]
}

func envelope(device string) event.Envelope {
	return event.Envelope{Tenant: "default", DeviceID: device, DeviceName: "host-" + device, Received: event.TimeOf(epoch.Add(time.Minute)), BootID: "boot"}
}

func batch(rows ...event.Row) *event.Batch {
	var b event.Builder
	for _, r := range rows {
		b.Add(r)
	}
	return &event.Batch{BootID: "boot", Seq: 1, Blocks: b.Take()}
}

func feed(t testing.TB, e *Engine, env event.Envelope, b *event.Batch) []picket.Alert {
	t.Helper()
	alerts, err := e.Feed(env, b)
	if err != nil {
		t.Fatal(err)
	}
	return alerts
}

// id makes the GUID of an invented process.
func id(n int) string {
	if n == 0 {
		return ""
	}
	return picket.ProcessGUID("device", "boot", uint32(n), uint64(n))
}

// started is process n, child of parent, at a second of the trace.
func started(report int64, n, parent int, path, command string) *event.DeviceProcessEvents {
	return &event.DeviceProcessEvents{
		Timestamp: event.TimeOf(epoch.Add(time.Duration(report) * time.Second)), ReportId: report, ActionType: "ProcessCreated",
		FileName: path[strings.LastIndexByte(path, '/')+1:], FolderPath: path, ProcessCommandLine: command, ProcessId: int64(n), ProcessUniqueId: id(n), AccountName: "alice",
		InitiatingProcessUniqueId: id(parent), InitiatingProcessId: int64(parent), InitiatingProcessFolderPath: fmt.Sprintf("/bin/p%d", parent), InitiatingProcessFileName: fmt.Sprintf("p%d", parent),
	}
}

func TestAlert(t *testing.T) {
	t.Parallel()
	e := engine(t, parse(t, "process_creation", "Evil", "s:\n    CommandLine|contains: evil\ncondition: s"))
	if got := feed(t, e, envelope("d1"), batch(started(1, 1, 0, "/sbin/init", "init"), started(2, 2, 1, "/bin/bash", "bash -l"), started(3, 3, 2, "/bin/sh", "sh -c x"))); len(got) != 0 {
		t.Fatalf("%v", got)
	}
	row := started(4, 4, 3, "/tmp/e", "e --EVIL")
	row.InitiatingProcessParentUniqueId = id(2)
	row.SHA256 = "aa"
	row.EvidenceLoss = 3
	alerts := feed(t, e, envelope("d1"), batch(row))
	if len(alerts) != 1 {
		t.Fatalf("%d alerts", len(alerts))
	}
	a := alerts[0]
	at := epoch.Add(4 * time.Second)
	entity := func(kind, role, guid string, fields map[string]string) picket.Evidence {
		return picket.Evidence{EntityType: kind, Role: role, Time: at, Table: "DeviceProcessEvents", ReportID: 4, BootID: "boot", ProcessGUID: guid, Fields: fields}
	}
	want := picket.Alert{
		ID: a.ID, Tenant: "default", DeviceID: "d1", DeviceName: "host-d1", Title: "Evil", Severity: picket.High, Category: "SuspiciousActivity",
		Techniques: []string{"T1059"}, RuleID: "Evil", DetectionSource: "EDR", Status: picket.StatusNew, User: "alice",
		FirstActivity: at, LastActivity: at, Created: epoch.Add(time.Hour), Updated: epoch.Add(time.Hour), Count: 1, ProcessGUID: id(4), EvidenceLost: 3,
		Evidence: []picket.Evidence{
			entity("Process", "Impacted", id(4), map[string]string{"ActionType": "ProcessCreated", "FileName": "e", "FolderPath": "/tmp/e", "ProcessCommandLine": "e --EVIL", "ProcessId": "4",
				"ProcessUniqueId": id(4), "InitiatingProcessUniqueId": id(3), "AccountName": "alice", "SHA256": "aa"}),
			entity("Process", "Related", id(3), map[string]string{"FileName": "p3", "FolderPath": "/bin/p3", "ProcessId": "3", "ProcessUniqueId": id(3), "InitiatingProcessUniqueId": id(2)}),
			entity("Process", "Related", id(2), map[string]string{"FileName": "bash", "FolderPath": "/bin/bash", "ProcessCommandLine": "bash -l", "ProcessId": "2", "ProcessUniqueId": id(2), "InitiatingProcessUniqueId": id(1), "AccountName": "alice"}),
			entity("Process", "Related", id(1), map[string]string{"FileName": "init", "FolderPath": "/sbin/init", "ProcessCommandLine": "init", "ProcessId": "1", "ProcessUniqueId": id(1), "AccountName": "alice"}),
			entity("File", "Related", id(4), map[string]string{"FileName": "e", "FolderPath": "/tmp/e", "SHA256": "aa"}),
			entity("User", "Impacted", id(4), map[string]string{"AccountName": "alice"}),
		},
	}
	if d := cmp.Diff(want, a); d != "" {
		t.Error(d)
	}
	if len(a.ID) != 32 {
		t.Errorf("id %q", a.ID)
	}
}

// TestCause: which events are one alert.
func TestCause(t *testing.T) {
	t.Parallel()
	anything := "s:\n    ActionType|exists: true\ncondition: s"
	rules := []*rule.Rule{
		parse(t, "process_creation", "P", anything), parse(t, "file_event", "F", anything),
		parse(t, "network_connection", "N", anything), parse(t, "logon", "L", anything), parse(t, "dns_query", "D", anything),
	}
	at := func(minutes int) event.Time { return event.TimeOf(epoch.Add(time.Duration(minutes) * time.Minute)) }
	file := func(actor int, path string) *event.DeviceFileEvents {
		return &event.DeviceFileEvents{Timestamp: at(0), ReportId: 9, ActionType: "FileCreated", FolderPath: path, InitiatingProcessUniqueId: id(actor)}
	}
	logon := func(user, ip string, actor int) *event.DeviceLogonEvents {
		return &event.DeviceLogonEvents{Timestamp: at(0), ReportId: 9, ActionType: "LogonFailed", AccountName: user, RemoteIP: ip, InitiatingProcessUniqueId: id(actor)}
	}
	later := started(1, 5, 1, "/bin/a", "a")
	later.Timestamp = at(31)
	for name, c := range map[string]struct {
		a, b event.Row
		same bool
	}{
		"children of one process":  {started(1, 2, 1, "/bin/a", "a"), started(2, 3, 1, "/bin/b", "b"), true},
		"children of two":          {started(1, 2, 1, "/bin/a", "a"), started(2, 3, 2, "/bin/a", "a"), false},
		"next hour":                {started(1, 2, 1, "/bin/a", "a"), later, false},
		"no parent known":          {started(1, 2, 0, "/bin/a", "a"), started(2, 3, 0, "/bin/a", "a"), false},
		"files of one process":     {file(1, "/a"), file(1, "/b"), true},
		"files of two processes":   {file(1, "/a"), file(2, "/a"), false},
		"files of nobody":          {file(0, "/a"), file(0, "/b"), false},
		"logons of one account":    {logon("root", "1.2.3.4", 1), logon("root", "1.2.3.4", 2), true},
		"logons from two places":   {logon("root", "1.2.3.4", 1), logon("root", "1.2.3.5", 1), false},
		"logons of other accounts": {logon("root", "1.2.3.4", 1), logon("bob", "1.2.3.4", 1), false},
	} {
		e := engine(t, rules...)
		envelope := func(device string) event.Envelope {
			env := envelope(device)
			env.Received = at(40)
			return env
		}
		a, b := feed(t, e, envelope("d"), batch(c.a)), feed(t, e, envelope("d"), batch(c.b))
		if len(a) != 1 || len(b) != 1 || (a[0].ID == b[0].ID) != c.same {
			t.Errorf("%s: %v %v", name, a, b)
			continue
		}
		if other := feed(t, e, envelope("d2"), batch(c.a)); other[0].ID == a[0].ID {
			t.Errorf("%s: two devices share an alert", name)
		}
		env := envelope("d")
		env.Tenant = "other"
		if other := feed(t, e, env, batch(c.a)); other[0].ID == a[0].ID {
			t.Errorf("%s: two tenants share an alert", name)
		}
		together := feed(t, engine(t, rules...), envelope("d"), batch(c.a, c.b))
		if want := map[bool]int{true: 1, false: 2}[c.same]; len(together) != want {
			t.Errorf("%s: in one batch %d alerts", name, len(together))
		}
	}
}

func TestEvidenceOfOtherTables(t *testing.T) {
	t.Parallel()
	anything := "s:\n    ActionType|exists: true\ncondition: s"
	kinds := func(a picket.Alert) (out []string) {
		for _, e := range a.Evidence {
			out = append(out, e.EntityType)
		}
		return out
	}
	rules := []*rule.Rule{parse(t, "file_event", "F", anything), parse(t, "network_connection", "N", anything), parse(t, "logon", "L", anything), parse(t, "dns_query", "D", anything)}
	when := event.TimeOf(epoch)
	for _, c := range []struct {
		row  event.Row
		want []string
		user string
	}{
		{&event.DeviceFileEvents{Timestamp: when, ActionType: "FileCreated", FolderPath: "/a/b", InitiatingProcessUniqueId: id(1), InitiatingProcessFileName: "vi", InitiatingProcessAccountName: "bob"}, []string{"Process", "File", "User"}, "bob"},
		{&event.DeviceNetworkEvents{Timestamp: when, ActionType: "ConnectionSuccess", RemoteIP: "1.2.3.4", RemotePort: 80, RemoteUrl: "x.example", InitiatingProcessFileName: "curl", InitiatingProcessParentFileName: "sh"}, []string{"Process", "Process", "Ip", "Url"}, ""},
		{&event.DeviceLogonEvents{Timestamp: when, ActionType: "LogonFailed", AccountName: "root", RemoteIP: "1.2.3.4"}, []string{"Ip", "User"}, "root"},
		{&event.DeviceEvents{Timestamp: when, ActionType: "DnsQueryRequest", DnsQueryName: "x.example", InitiatingProcessFileName: "dig"}, []string{"Process", "Url"}, ""},
		{&event.DeviceFileEvents{Timestamp: when, ActionType: "FileCreated"}, []string{"Process"}, ""},
	} {
		alerts := feed(t, engine(t, rules...), envelope("d"), batch(c.row))
		if len(alerts) != 1 {
			t.Fatalf("%T: %d alerts", c.row, len(alerts))
		}
		a := alerts[0]
		if d := cmp.Diff(c.want, kinds(a)); d != "" {
			t.Errorf("%T: %s", c.row, d)
		}
		if a.User != c.user {
			t.Errorf("%T: user %q", c.row, a.User)
		}
		for _, e := range a.Evidence {
			if e.Table == "" || e.BootID == "" {
				t.Errorf("%T: evidence without event: %+v", c.row, e)
			}
		}
		if a.Evidence[0].Fields["ActionType"] == "" {
			t.Errorf("%T: nothing tells what happened", c.row)
		}
	}
}

func TestLosses(t *testing.T) {
	t.Parallel()
	r := parse(t, "process_creation", "Evil", "s:\n    CommandLine: evil\ncondition: s")
	at := func(d time.Duration) event.Time { return event.TimeOf(epoch.Add(d)) }
	evil := func(d time.Duration) *event.DeviceProcessEvents {
		p := started(1000, 7, 1, "/bin/e", "evil")
		p.Timestamp = at(d)
		return p
	}
	report := &event.DeviceEvents{Timestamp: at(0), ReportId: 1, ActionType: "SensorLoss", AdditionalFields: `{"Lost":{"ring.process":5,"queue.full":100,"hash.late":9,"bad":-3}}`}
	other := &event.DeviceFileEvents{Timestamp: at(0), ReportId: 2, ActionType: "FileCreated", EvidenceLoss: 2}
	for name, c := range map[string]struct {
		rows []event.Row
		gap  uint64
		want int64
	}{
		"none":      {[]event.Row{evil(0)}, 0, 0},
		"reported":  {[]event.Row{report, evil(time.Minute)}, 0, 5},
		"in rows":   {[]event.Row{other, report, evil(time.Minute)}, 0, 7},
		"long ago":  {[]event.Row{other, report, evil(7 * time.Minute)}, 0, 0},
		"gap":       {[]event.Row{other, evil(time.Minute)}, 4, 6},
		"huge gap":  {[]event.Row{evil(0)}, 1 << 63, maxGap},
		"bad":       {[]event.Row{&event.DeviceEvents{Timestamp: at(0), ReportId: 1, ActionType: "SensorLoss", AdditionalFields: `{"Lost":[]}`}, evil(0)}, 0, 0},
		"long text": {[]event.Row{&event.DeviceEvents{Timestamp: at(0), ReportId: 1, ActionType: "SensorLoss", AdditionalFields: `{"Lost":{"a":1}}` + strings.Repeat(" ", lossText)}, evil(0)}, 0, 0},
	} {
		env := envelope("d")
		env.Gap = c.gap
		env.Received = at(10 * time.Minute)
		got := feed(t, engine(t, r), env, batch(c.rows...))
		if len(got) != 1 || got[0].EvidenceLost != c.want {
			t.Errorf("%s: %+v, want %d", name, got, c.want)
		}
	}
	var l losses
	l.add(-1, 5)
	l.add(event.TimeOf(epoch), 1)
	l.add(event.TimeOf(epoch)-event.Time(6*minuteMicros), 7) // older than what is kept at its place
	if n := l.around(event.TimeOf(epoch)); n != 1 {
		t.Errorf("%d lost", n)
	}
}

func TestClockCorrection(t *testing.T) {
	t.Parallel()
	r := parse(t, "process_creation", "Evil", "s:\n    Timestamp|hour: 12\ncondition: s")
	env := envelope("d")
	env.ClockOffset = int64(2 * time.Hour / time.Microsecond)
	env.Received = event.TimeOf(epoch.Add(2 * time.Hour))
	a := feed(t, engine(t, r), env, batch(started(1, 2, 1, "/bin/a", "a")))
	if len(a) != 1 || !a[0].FirstActivity.Equal(epoch.Add(2*time.Hour+time.Second)) {
		t.Errorf("%v", a)
	}
	env.ClockOffset = 0
	row := started(1, 2, 1, "/bin/a", "a")
	row.Timestamp = 0
	env.Received = event.TimeOf(epoch.Add(2 * time.Hour))
	any := parse(t, "process_creation", "Any", "s:\n    Image: /bin/a\ncondition: s")
	if a = feed(t, engine(t, any), env, batch(row)); len(a) != 1 || !a[0].FirstActivity.Equal(epoch.Add(2*time.Hour)) {
		t.Errorf("a row without a time: %v", a)
	}
}

func TestRefusedBatches(t *testing.T) {
	t.Parallel()
	e := engine(t)
	if _, err := e.Feed(event.Envelope{}, batch()); picket.Kind(err) != picket.Invalid {
		t.Errorf("no device: %v", err)
	}
	table := schema.Lookup("DeviceProcessEvents")
	for _, c := range []event.Column{
		{Name: "FolderPath", Type: schema.String, Strings: []string{"a"}},
		{Name: "FolderPath", Type: schema.String, Ints: []int64{1, 2}},
		{Name: "ProcessId", Type: schema.Long},
		{Name: "X", Type: schema.Real, Reals: []float64{1, 2, 3}},
		{Name: "ProcessUserId", Type: schema.Long, Ints: []int64{1, 2}, Valid: []bool{true}},
	} {
		b := &event.Batch{Blocks: []*event.Block{{Name: table.Name, Table: table, Rows: 2, Columns: []event.Column{c}}}}
		if _, err := e.Feed(envelope("d"), b); picket.Kind(err) != picket.Invalid {
			t.Errorf("%+v: %v", c, err)
		}
	}
	// A known column of another type has no value; an unknown table is passed over.
	r := parse(t, "process_creation", "R", "s:\n    Image: null\ncondition: s")
	b := &event.Batch{Blocks: []*event.Block{
		{Name: table.Name, Table: table, Rows: 1, Columns: []event.Column{
			{Name: "ActionType", Type: schema.String, Strings: []string{"ProcessCreated"}},
			{Name: "FolderPath", Type: schema.Long, Ints: []int64{7}},
		}},
		{Name: "Future", Rows: 1, Columns: []event.Column{{Name: "ActionType", Type: schema.String, Strings: []string{"ProcessCreated"}}}},
	}}
	if a := feed(t, engine(t, r), envelope("d"), b); len(a) != 1 {
		t.Errorf("%v", a)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := New(nil, Options{}); picket.Kind(err) != picket.Invalid {
		t.Error(err)
	}
	r := parse(t, "process_creation", "R", "s: {Image: a}\ncondition: s")
	if _, err := New([]*rule.Rule{r, r}, options()); picket.Kind(err) != picket.Conflict {
		t.Error(err)
	}
	o := options()
	o.Metrics = prometheus.NewRegistry()
	e, err := New([]*rule.Rule{r}, o)
	if err != nil {
		t.Fatal(err)
	}
	feed(t, e, envelope("d"), batch(started(1, 2, 1, "a", "b")))
	families, err := o.Metrics.(*prometheus.Registry).Gather()
	if err != nil || len(families) != 2 {
		t.Errorf("%v %v", families, err)
	}
	if _, err := New(nil, o); err == nil {
		t.Error("metrics are registered twice without an error")
	}
	for _, d := range Detectors {
		if d.Name == "" || d.Doc == "" {
			t.Error("a detector without name or description")
		}
	}
}

// TestNothingMissing: rules that lack a field never fire because of that.
func TestMissingFields(t *testing.T) {
	t.Parallel()
	for detection, want := range map[string]int{
		"s: {Nonsense: a}\ncondition: s":                                    0,
		"s: {Nonsense: a}\ncondition: not s":                                0,
		"s: {Nonsense: null}\ncondition: s":                                 0,
		"s:\n    Nonsense|neq: a\ncondition: s":                             0,
		"s:\n    Nonsense|exists: false\ncondition: s":                      0,
		"s:\n    Image|fieldref: Nonsense\ncondition: s":                    0,
		"s: {Image: /bin/a}\nf: {Nonsense: a}\ncondition: s and not f":      1,
		"s: {Image: /bin/a}\nf: {Nonsense: a}\ncondition: s and f":          0,
		"s: {Image: /bin/a}\nf: {Nonsense: a}\ncondition: 1 of them":        1,
		"s: {Image: /bin/a}\nf: {Nonsense: a}\ncondition: 2 of them":        0,
		"s: {Image: null}\ncondition: not s":                                1,
		"s:\n    Image|fieldref: InitiatingProcessFolderPath\ncondition: s": 0,
	} {
		if got := feed(t, engine(t, parse(t, "process_creation", "R", detection)), envelope("d"), batch(started(1, 2, 1, "/bin/a", "b"))); len(got) != want {
			t.Errorf("%s: %d alerts, want %d", detection, len(got), want)
		}
	}
}

// TestOneRuleManySources: a row that several log sources cover raises a rule once.
func TestOneRuleManySources(t *testing.T) {
	t.Parallel()
	rules, failed := sigma.Parse("r.yml", []byte("title: W\nlogsource: {product: linux}\ndetection:\n    w: [evil]\n    condition: w\n"), sigma.Options{})
	if len(failed) > 0 {
		t.Fatal(failed)
	}
	e := engine(t, rules...)
	row := &event.DeviceFileEvents{Timestamp: event.TimeOf(epoch), ReportId: 1, ActionType: "FileModified", FolderPath: "/tmp/Evil", InitiatingProcessUniqueId: id(1)}
	if a := feed(t, e, envelope("d"), batch(row)); len(a) != 1 || a[0].Count != 1 {
		t.Errorf("%+v", a)
	}
	child := started(2, 2, 1, "/bin/ls", "ls")
	child.InitiatingProcessCommandLine = "evil"
	if a := feed(t, e, envelope("d"), batch(child)); len(a) != 0 {
		t.Errorf("a word of the parent's command line: %+v", a)
	}
}

// TestManyEvents: beyond a bound, events of one alert are only named.
func TestManyEvents(t *testing.T) {
	t.Parallel()
	e := engine(t, parse(t, "process_creation", "Evil", "s: {CommandLine: evil}\ncondition: s"))
	var rows []event.Row
	for i := range 200 {
		rows = append(rows, started(int64(i+1), i+10, 1, "/bin/e", "evil"))
	}
	a := feed(t, e, envelope("d"), batch(rows...))
	if len(a) != 1 || a[0].Count != 200 {
		t.Fatalf("%d alerts", len(a))
	}
	named := map[int64]bool{}
	for _, x := range a[0].Evidence {
		named[x.ReportID] = true
	}
	if len(named) != 200 || len(a[0].Evidence) > maxEvents*5+200 {
		t.Errorf("%d events named in %d entries", len(named), len(a[0].Evidence))
	}
}

// reference answers a rule's questions about a row in the plainest way.
type reference struct {
	rt    *rule.Route
	block *event.Block
}

func (r reference) Value(field string) rule.Value {
	if v, ok := r.rt.Constant(field); ok {
		return rule.TextValue(v)
	}
	def := r.rt.Column(field)
	if def == nil {
		return rule.Value{}
	}
	v := rule.TextValue(r.block.Text(def.Name, 0))
	if def.Type == schema.Bool {
		return rule.TextValue(fmt.Sprint(r.block.Int(def.Name, 0) != 0))
	}
	return v
}

func (r reference) Values() (out []rule.Value) {
	for _, c := range r.rt.Searched() {
		out = append(out, r.Value(c.Name))
	}
	return out
}

var someFields = []string{"Image", "CommandLine", "ParentImage", "ProcessId", "IsFileless", "Nonsense", "CurrentDirectory"}

func randomLeaf(t *rapid.T) *rule.Leaf {
	word := rapid.StringOfN(rapid.RuneFrom([]rune("abAK17")), 0, 3, -1)
	l := &rule.Leaf{Field: rapid.SampledFrom(someFields).Draw(t, "field"), Negate: rapid.IntRange(0, 5).Draw(t, "negate") == 0}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		l.Kind = rule.Null
	case 1:
		l.Kind, l.Want = rule.Exists, rapid.Bool().Draw(t, "want")
	case 2:
		l.Kind, l.Number, l.Compare = rule.Compare, 17, rule.Comparison(rapid.IntRange(0, 4).Draw(t, "op"))
	case 3:
		l.Kind, l.RefField, l.Relation = rule.Ref, rapid.SampledFrom(someFields).Draw(t, "other"), rule.Relation(rapid.IntRange(0, 3).Draw(t, "relation"))
	case 4:
		l.Kind = rule.Regexp
		expr := rapid.SampledFrom([]string{"ab", "(?i)a+b", "(a|17)$", "^b*", "k", "(?i)K"}).Draw(t, "expr")
		l.Regexps = []*regexp.Regexp{regexp.MustCompile(expr)}
	case 5:
		l.Kind, l.Prefixes = rule.CIDR, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	default:
		l.Cased = rapid.Bool().Draw(t, "cased")
		if rapid.IntRange(0, 4).Draw(t, "word") == 0 {
			l.Field, l.Negate = "", false
		}
		for range rapid.SampledFrom([]int{1, 2, 12}).Draw(t, "patterns") {
			var b rule.PatternBuilder
			shape := rapid.IntRange(0, 4).Draw(t, "shape")
			if shape == 1 || shape == 3 {
				b.Any()
			}
			b.Literal(word.Draw(t, "literal"))
			if shape == 4 {
				b.One()
				b.Literal(word.Draw(t, "more"))
			}
			if shape >= 2 {
				b.Any()
			}
			l.Patterns = append(l.Patterns, b.Pattern(l.Cased))
		}
	}
	l.Prepare()
	return l
}

func randomExpr(t *rapid.T, depth int) *rule.Expr {
	if depth == 0 || rapid.IntRange(0, 2).Draw(t, "leaf") == 0 {
		return rule.Single(randomLeaf(t))
	}
	var kids []*rule.Expr
	for range rapid.IntRange(1, 3).Draw(t, "kids") {
		kids = append(kids, randomExpr(t, depth-1))
	}
	switch rapid.IntRange(0, 4).Draw(t, "op") {
	case 0:
		return rule.Not(kids[0])
	case 1:
		return rule.Or(kids...)
	case 2:
		return rule.AtLeast(rapid.IntRange(1, len(kids)).Draw(t, "n"), kids...)
	}
	return rule.And(kids...)
}

func randomRow(t *rapid.T, report int64) *event.DeviceProcessEvents {
	word := rapid.StringOfN(rapid.RuneFrom([]rune("abABkK17\u212a")), 0, 6, -1)
	row := started(report, rapid.IntRange(1, 20).Draw(t, "pid"), rapid.IntRange(0, 5).Draw(t, "parent"), "/"+word.Draw(t, "image"), word.Draw(t, "command"))
	row.FolderPath = row.FolderPath[1:]
	row.InitiatingProcessFolderPath = word.Draw(t, "parent image")
	row.ProcessCurrentDirectory = rapid.SampledFrom([]string{"", "10.1.2.3", "17", "0x11"}).Draw(t, "cwd")
	row.IsFileless = rapid.Bool().Draw(t, "fileless")
	return row
}

// TestEngineAgainstReference: the engine fires exactly the rules that the plain
// evaluator fires, whatever the rules and the rows.
func TestEngineAgainstReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var rules []*rule.Rule
		for i := range rapid.IntRange(1, 8).Draw(t, "rules") {
			rules = append(rules, &rule.Rule{Title: fmt.Sprint("r", i), Severity: picket.Low, Condition: randomExpr(t, 3),
				Source: rule.LogSource{Category: "process_creation", Product: "linux"}})
		}
		e, err := New(rules, options())
		if err != nil {
			t.Fatal(err)
		}
		for k := range rapid.IntRange(1, 5).Draw(t, "rows") {
			b := batch(randomRow(t, int64(k+1)))
			var want, got []string
			for _, r := range rules {
				rt := r.Routes()[0]
				if !rt.Never && r.Eval(reference{&rt, b.Blocks[0]}) {
					want = append(want, r.Title)
				}
			}
			alerts, err := e.Feed(envelope("d"), b)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range alerts {
				got = append(got, a.RuleID)
			}
			sort.Strings(got)
			sort.Strings(want)
			if !slices.Equal(got, want) {
				t.Fatalf("row %+v: got %v, want %v", b.Blocks[0].Fields(0), got, want)
			}
		}
	})
}

// TestBatchingDoesNotMatter: the same rows in other batches, and devices that
// interleave in another way, give the same findings.
func TestBatchingDoesNotMatter(t *testing.T) {
	t.Parallel()
	rules := []*rule.Rule{
		parse(t, "process_creation", "Evil", "s:\n    CommandLine|contains: a\ncondition: s"),
		parse(t, "file_event", "Drop", "s:\n    TargetFilename|startswith: a\ncondition: s"),
	}
	rapid.Check(t, func(t *rapid.T) {
		devices := []string{"d1", "d2", "d3"}
		rows := map[string][]event.Row{}
		for _, d := range devices {
			for k := range rapid.IntRange(0, 25).Draw(t, "rows") {
				if rapid.IntRange(0, 3).Draw(t, "table") == 0 {
					rows[d] = append(rows[d], &event.DeviceFileEvents{Timestamp: event.TimeOf(epoch.Add(time.Duration(k) * time.Second)), ReportId: int64(k + 1), ActionType: "FileCreated",
						FolderPath: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "path"), EvidenceLoss: int64(rapid.IntRange(0, 2).Draw(t, "loss")),
						InitiatingProcessUniqueId: id(rapid.IntRange(1, 20).Draw(t, "actor")), InitiatingProcessParentUniqueId: id(rapid.IntRange(1, 20).Draw(t, "up"))})
					continue
				}
				row := randomRow(t, int64(k+1))
				row.InitiatingProcessParentUniqueId = id(rapid.IntRange(0, 20).Draw(t, "up"))
				rows[d] = append(rows[d], row)
			}
		}
		run := func(label string) map[string]string {
			e, err := New(rules, options())
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]string{}
			left := map[string][]event.Row{}
			for d, r := range rows {
				left[d] = r
			}
			for len(left[devices[0]])+len(left[devices[1]])+len(left[devices[2]]) > 0 {
				d := rapid.SampledFrom(devices).Draw(t, label+" device")
				n := rapid.IntRange(0, len(left[d])).Draw(t, label+" size")
				alerts, err := e.Feed(envelope(d), batch(left[d][:n]...))
				if err != nil {
					t.Fatal(err)
				}
				left[d] = left[d][n:]
				for _, a := range alerts {
					for _, x := range a.Evidence {
						key := fmt.Sprint(a.ID, a.Title, x.Table, x.ReportID, x.EntityType, x.ProcessGUID)
						found[key] = fmt.Sprint(x.Fields, x.Time)
					}
				}
			}
			return found
		}
		if d := cmp.Diff(run("first"), run("second")); d != "" {
			t.Fatal(d)
		}
	})
}
