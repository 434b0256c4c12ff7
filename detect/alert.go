// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strconv"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/rule"
)

// Bounds on one alert as it is raised.
const (
	maxChain  = 8  // processes above the one that acted
	maxEvents = 50 // events whose evidence one Feed returns in full
)

// alerts gathers what one batch raises.
type alerts struct {
	engine *Engine
	env    *event.Envelope
	batch  *event.Batch
	device *device
	list   []picket.Alert
}

// raise makes an alert of a rule that fired on a row, or extends the one that
// the same cause has raised in this batch already.
func (a *alerts) raise(r *rule.Rule, at *row) {
	when := at.when()
	id := a.id(r, at, when)
	lost := a.device.losses.around(when)
	k := slices.IndexFunc(a.list, func(x picket.Alert) bool { return x.ID == id })
	if k < 0 {
		k = len(a.list)
		a.list = append(a.list, a.blank(id, r, at, when))
	}
	x := &a.list[k]
	x.Count++
	if t := when.Time(); t.Before(x.FirstActivity) {
		x.FirstActivity = t
	} else if t.After(x.LastActivity) {
		x.LastActivity = t
	}
	x.EvidenceLost = max(x.EvidenceLost, lost)
	e := evidence{alerts: a, row: at, when: when}
	if x.Count <= maxEvents {
		x.Evidence = append(x.Evidence, e.full()...)
	} else {
		x.Evidence = append(x.Evidence, e.process()) // every event is named, so that it is counted
	}
}

func (a *alerts) blank(id string, r *rule.Rule, at *row, when event.Time) picket.Alert {
	now := a.engine.opts.Clock().UTC()
	return picket.Alert{
		ID: id, Tenant: a.env.Tenant, DeviceID: a.env.DeviceID, DeviceName: a.env.DeviceName,
		Title: r.Title, Description: r.Description, Recommended: r.Recommended,
		Severity: r.Severity, Category: r.Category, Techniques: slices.Clone(r.Techniques),
		RuleID: r.Key(), RuleAuthor: r.Author, DetectionSource: "EDR", Status: picket.StatusNew,
		User: at.account(), FirstActivity: when.Time(), LastActivity: when.Time(), Created: now, Updated: now,
		ProcessGUID: at.actor(),
	}
}

// hourMicros is how long repeats of one cause stay one alert.
const hourMicros = 3600 * 1_000_000

// id returns the identity of the cause: rule, device, what the event springs
// from, and the hour (UTC) in which it happened. It depends on nothing that a
// replay changes.
func (a *alerts) id(r *rule.Rule, at *row, when event.Time) string {
	h := sha256.New()
	for _, s := range []string{"picket alert", a.env.Tenant, r.Key(), a.env.DeviceID, at.cause(), strconv.FormatInt(int64(when)/hourMicros, 10)} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// cause returns what repeats of an event have in common: the parent of a
// process that started, account and address of a logon, and the acting process
// of everything else.
func (r *row) cause() string {
	v, i := r.view, r.index
	text := func(name string) string { return v.block.Text(name, i) }
	switch v.table.Name {
	case processTable:
		return first(v.initiator.text(i), v.process.text(i), text("FolderPath"))
	case logonTable:
		return text("AccountName") + "\x01" + text("TargetAccountName") + "\x01" + text("RemoteIP")
	}
	return first(v.initiator.text(i), text("InitiatingProcessFolderPath"), text("FolderPath"), text("RemoteIP"))
}

// actor returns the GUID of the process to show: the new one, or the one that acted.
func (r *row) actor() string {
	if r.view.table.Name == processTable {
		return r.view.process.text(r.index)
	}
	return r.view.initiator.text(r.index)
}

// account returns the account of the actor.
func (r *row) account() string {
	v, i := r.view, r.index
	if v.table.Name == processTable || v.table.Name == logonTable {
		return first(v.user.text(i), v.initUser.text(i))
	}
	return first(v.initUser.text(i), v.user.text(i))
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// evidence makes the evidence rows of one event. All of them name the event,
// also those about processes above it.
type evidence struct {
	*alerts
	row  *row
	when event.Time
}

func (e *evidence) entity(kind, role, process string, fields map[string]string) picket.Evidence {
	return picket.Evidence{
		EntityType: kind, Role: role, Time: e.when.Time(), Table: e.row.view.table.Name,
		ReportID: e.row.view.report.int(e.row.index), BootID: first(e.batch.BootID, e.env.BootID),
		ProcessGUID: process, Fields: fields,
	}
}

// pick returns the values of columns that have one, renamed from column to field.
func (e *evidence) pick(pairs ...string) map[string]string {
	fields := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := e.text(pairs[i]); v != "" {
			fields[pairs[i+1]] = v
		}
	}
	return fields
}

// text returns a value of the row; times are corrected as the store does.
func (e *evidence) text(column string) string {
	c := e.row.view.table.Column(column)
	b := e.row.view.block.Column(column)
	if c == nil || b == nil || b.Type != c.Type {
		return ""
	}
	if c.Unit == "utc" {
		return e.env.Correct(event.Time(b.Ints[e.row.index])).String()
	}
	return b.Text(e.row.index)
}

// full returns the entities of an event: the process that acted first, the
// processes above it, then what it touched. Only the process that acted and
// the account are Impacted.
func (e *evidence) full() []picket.Evidence {
	var out []picket.Evidence
	if p := e.process(); len(p.Fields) > 0 {
		out = append(out, p)
	}
	out = append(out, e.chain()...)
	for _, x := range []picket.Evidence{e.file(), e.address(), e.name(), e.user()} {
		if len(x.Fields) > 0 {
			out = append(out, x)
		}
	}
	if len(out) == 0 {
		out = append(out, e.process())
	}
	if out[0].Fields == nil {
		out[0].Fields = map[string]string{}
	}
	if e.row.action != "" {
		out[0].Fields["ActionType"] = e.row.action
	}
	return out
}

var ownColumns = []string{
	"FileName", "FileName", "FolderPath", "FolderPath", "ProcessCommandLine", "ProcessCommandLine",
	"ProcessId", "ProcessId", "ProcessUniqueId", "ProcessUniqueId", "ProcessCreationTime", "ProcessCreationTime",
	"ProcessCurrentDirectory", "ProcessCurrentDirectory", "ProcessTty", "ProcessTty",
	"AccountName", "AccountName", "AccountDomain", "AccountDomain", "SHA1", "SHA1", "SHA256", "SHA256", "MD5", "MD5",
	"InitiatingProcessUniqueId", "InitiatingProcessUniqueId", "ContainerId", "ContainerId",
}

var actingColumns = []string{
	"InitiatingProcessFileName", "FileName", "InitiatingProcessFolderPath", "FolderPath", "InitiatingProcessCommandLine", "ProcessCommandLine",
	"InitiatingProcessId", "ProcessId", "InitiatingProcessUniqueId", "ProcessUniqueId", "InitiatingProcessCreationTime", "ProcessCreationTime",
	"InitiatingProcessCurrentDirectory", "ProcessCurrentDirectory", "InitiatingProcessTty", "ProcessTty",
	"InitiatingProcessAccountName", "AccountName", "InitiatingProcessAccountDomain", "AccountDomain",
	"InitiatingProcessSHA1", "SHA1", "InitiatingProcessSHA256", "SHA256", "InitiatingProcessMD5", "MD5",
	"InitiatingProcessParentUniqueId", "InitiatingProcessUniqueId",
}

// process is the entity that the alert is about: the new process, or the one
// that acted.
func (e *evidence) process() picket.Evidence {
	if e.row.view.table.Name == processTable {
		return e.entity("Process", "Impacted", e.row.actor(), e.pick(ownColumns...))
	}
	fields := e.pick(actingColumns...)
	if id := e.text("ContainerId"); id != "" && len(fields) > 0 {
		fields["ContainerId"] = id
	}
	return e.entity("Process", "Impacted", e.row.actor(), fields)
}

// chain is the processes above, nearest first, as far as the row and the
// memory of the device tell.
func (e *evidence) chain() []picket.Evidence {
	v, i := e.row.view, e.row.index
	var out []picket.Evidence
	if v.table.Name == processTable {
		if f := e.pick(actingColumns...); len(f) > 0 {
			out = append(out, e.entity("Process", "Related", v.initiator.text(i), f))
		}
	}
	id, _ := parseGUID(v.grandparent.text(i))
	if p := e.device.lookup(id); p == nil {
		fields := e.pick("InitiatingProcessParentFileName", "FileName", "InitiatingProcessParentId", "ProcessId", "InitiatingProcessParentCreationTime", "ProcessCreationTime", "InitiatingProcessParentUniqueId", "ProcessUniqueId")
		if fields["FileName"] != "" {
			out = append(out, e.entity("Process", "Related", id.String(), fields))
		}
		return out
	}
	for p := e.device.lookup(id); p != nil && len(out) < maxChain; p = e.device.lookup(p.parent) {
		out = append(out, e.entity("Process", "Related", p.id.String(), p.fields()))
	}
	return out
}

func (p *process) fields() map[string]string {
	fields := map[string]string{"ProcessUniqueId": p.id.String()}
	for name, v := range map[string]string{
		"FolderPath": string(p.path), "ProcessCommandLine": string(p.command), "AccountName": string(p.user),
		"ProcessCreationTime": p.started.String(), "InitiatingProcessUniqueId": p.parent.String(),
	} {
		if v != "" {
			fields[name] = v
		}
	}
	if len(p.path) > 0 {
		fields["FileName"] = path.Base(string(p.path))
	}
	if p.pid != 0 {
		fields["ProcessId"] = strconv.FormatInt(p.pid, 10)
	}
	return fields
}

func (e *evidence) file() picket.Evidence {
	return e.entity("File", "Related", e.row.actor(), e.pick("FileName", "FileName", "FolderPath", "FolderPath", "PreviousFolderPath", "PreviousFolderPath",
		"SHA1", "SHA1", "SHA256", "SHA256", "MD5", "MD5", "FileSize", "FileSize"))
}

func (e *evidence) address() picket.Evidence {
	f := e.pick("RemoteIP", "RemoteIP", "RemotePort", "RemotePort", "RemoteUrl", "RemoteUrl", "LocalIP", "LocalIP", "LocalPort", "LocalPort", "Protocol", "Protocol")
	if f["RemoteIP"] == "" {
		f = nil
	}
	return e.entity("Ip", "Related", e.row.actor(), f)
}

func (e *evidence) name() picket.Evidence {
	return e.entity("Url", "Related", e.row.actor(), e.pick("DnsQueryName", "RemoteUrl", "DnsQueryType", "DnsQueryType", "DnsAnswers", "DnsAnswers", "RemoteUrl", "RemoteUrl"))
}

func (e *evidence) user() picket.Evidence {
	f := e.pick("AccountName", "AccountName", "AccountDomain", "AccountDomain", "AccountSid", "AccountSid", "TargetAccountName", "TargetAccountName", "LogonType", "LogonType")
	if f["AccountName"] == "" {
		f = e.pick("InitiatingProcessAccountName", "AccountName", "InitiatingProcessAccountDomain", "AccountDomain", "InitiatingProcessAccountSid", "AccountSid")
	}
	return e.entity("User", "Impacted", e.row.actor(), f)
}
