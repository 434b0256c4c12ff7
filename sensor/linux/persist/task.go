// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxTasks = 16

// cronTask is one line of a crontab.
type cronTask struct {
	Schedule string `json:"Schedule"`
	User     string `json:"User,omitempty"`
	Command  string `json:"Command"`
}

// cronDetail tells the tasks among the lines that were added, or all of the
// ones there now when that is not known.
func cronDetail(f *finding) map[string]any {
	out := map[string]any{"TaskName": f.base}
	switch dir := path.Base(path.Dir(f.path)); dir {
	case "cron.hourly", "cron.daily", "cron.weekly", "cron.monthly", "cron.yearly":
		out["Tasks"] = []cronTask{{Schedule: "@" + strings.TrimPrefix(dir, "cron."), User: "root", Command: f.path}}
		return out
	}
	lines := f.added
	if !f.known {
		lines = textLines(f.path, f.data)
	}
	owner := ""
	if strings.HasPrefix(f.path, "/var/spool/cron/") || strings.HasPrefix(f.path, "/etc/crontabs/") {
		owner = f.base
	}
	var tasks []cronTask
	for _, line := range lines {
		if t, ok := parseCron(line, owner, f.base == "anacrontab"); ok && len(tasks) < maxTasks {
			t.Command = cut(f.t.redact(t.Command), tellBytes)
			tasks = append(tasks, t)
		}
	}
	if len(tasks) > 0 {
		out["Tasks"] = tasks
	}
	return out
}

// parseCron reads one line of a crontab: of a user's when owner is given, of
// the system's with a column for the user otherwise.
func parseCron(line, owner string, anacron bool) (cronTask, bool) {
	if line == "" || line[0] == '#' {
		return cronTask{}, false
	}
	n := 5
	switch {
	case line[0] == '@':
		n = 1
	case anacron:
		n = 3 // period, delay, name
		if owner == "" {
			owner = "root"
		}
	}
	fields, rest := splitFields(line, n)
	if len(fields) < n || rest == "" || n == 5 && strings.ContainsAny(fields[0], "=") {
		return cronTask{}, false
	}
	for _, f := range fields[:min(n, 2)] {
		if n > 1 && !strings.ContainsAny(f[:1], "0123456789*@~") {
			return cronTask{}, false // an assignment
		}
	}
	t := cronTask{Schedule: strings.Join(fields, " "), User: owner, Command: rest}
	if owner == "" {
		user, command := splitFields(rest, 1)
		if command == "" {
			return cronTask{}, false
		}
		t.User, t.Command = user[0], command
	}
	return t, true
}

// splitFields takes n words off a line.
func splitFields(line string, n int) (fields []string, rest string) {
	rest = strings.TrimSpace(line)
	for len(fields) < n && rest != "" {
		i := strings.IndexAny(rest, " \t")
		if i < 0 {
			return append(fields, rest), ""
		}
		fields = append(fields, rest[:i])
		rest = strings.TrimLeft(rest[i:], " \t")
	}
	return fields, rest
}

// atLines leaves the environment out of a job: it holds what the user's
// session held.
func atLines(_ string, b []byte) []string {
	var out []string
	head := true
	for _, line := range textLines("", b) {
		switch {
		case strings.HasPrefix(line, "#"), head && strings.HasPrefix(line, "cd "):
		case strings.HasPrefix(line, "${SHELL:-/bin/sh} <<"), strings.HasPrefix(line, "marcinDELIMITER"):
			continue
		case head && (strings.HasPrefix(line, "umask ") || strings.Contains(line, "; export ") || strings.HasPrefix(line, "export ") ||
			strings.HasPrefix(line, "echo 'Execution directory") || line == "exit 1" || line == "}"):
			continue
		default:
			head = false
		}
		out = append(out, line)
	}
	return out
}

// atDetail reads what the name and the first lines of a job say: queue, number
// and minutes since 1970 are in the name.
func atDetail(f *finding) map[string]any {
	out := map[string]any{"TaskName": f.base}
	if n := f.base; len(n) == 14 {
		if minutes, err := strconv.ParseInt(n[6:], 16, 64); err == nil {
			out["Schedule"] = time.Unix(minutes*60, 0).UTC().Format(time.RFC3339)
			out["Queue"] = n[:1]
		}
	}
	if uid := atUser(f); uid != "" {
		out["UserId"] = uid
	}
	var commands []string
	for _, line := range f.added {
		if line[0] != '#' && !strings.HasPrefix(line, "cd ") && len(commands) < maxTasks {
			commands = append(commands, cut(f.t.redact(line), tellBytes))
		}
	}
	if len(commands) > 0 {
		out["Commands"] = commands
	}
	return out
}

// unitKeys are the settings of units that say what runs, when and as whom.
var unitKeys = []string{"Description", "ExecStart", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecReload", "ExecCondition",
	"OnCalendar", "OnBootSec", "OnStartupSec", "OnActiveSec", "OnUnitActiveSec", "OnUnitInactiveSec", "Unit", "User", "Group",
	"WorkingDirectory", "Type", "Restart", "RootDirectory", "RootImage", "EnvironmentFile", "LD_PRELOAD",
	"ListenStream", "ListenDatagram", "PathExists", "PathChanged", "PathModified", "What", "Where", "BusName",
	"WantedBy", "RequiredBy", "Alias", "Image", "Exec"}

// settings reads Key=value lines and keeps the named keys.
func (f *finding) settings(keys []string) map[string]any {
	all := map[string][]string{}
	continued := ""
	for _, line := range words(f.data) {
		if rest, ok := strings.CutSuffix(line, `\`); ok {
			continued = cut(continued+strings.TrimSpace(rest)+" ", 4096)
			continue
		}
		line, continued = continued+line, ""
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !ok || !slices.Contains(keys, key) || len(all[key]) == maxTasks {
			continue
		}
		all[key] = append(all[key], cut(f.t.redact(strings.TrimSpace(value)), tellBytes))
	}
	out := map[string]any{}
	for k, v := range all {
		if out[k] = v; len(v) == 1 {
			out[k] = v[0]
		}
	}
	return out
}

// unitDetail tells what a unit does; of a link, where it leads.
func unitDetail(f *finding) map[string]any {
	out := map[string]any{"ServiceName": f.base}
	dir := path.Base(path.Dir(f.path))
	for _, suffix := range []string{".wants", ".requires", ".upholds"} {
		if target, ok := strings.CutSuffix(dir, suffix); ok {
			out["Target"] = target
		}
	}
	if unit, ok := strings.CutSuffix(dir, ".d"); ok {
		out["ServiceName"], out["DropIn"] = unit, f.base
	}
	if f.now == nil {
		return out
	}
	if f.now.Kind == Link {
		if f.now.Target == "/dev/null" {
			out["Masked"] = true
		}
		return out
	}
	maps.Copy(out, f.settings(unitKeys))
	if user, ok := out["User"]; ok {
		out["ServiceAccount"] = user
		delete(out, "User")
	}
	return out
}

func timerDetail(f *finding) map[string]any {
	out := unitDetail(f)
	out["TaskName"] = out["ServiceName"]
	delete(out, "ServiceName")
	return out
}

func desktopDetail(f *finding) map[string]any {
	return f.settings([]string{"Name", "Exec", "TryExec", "Hidden", "NoDisplay", "X-GNOME-Autostart-enabled", "OnlyShowIn", "Type", "User"})
}

func initDetail(f *finding) map[string]any {
	out := map[string]any{"ServiceName": f.base}
	for _, line := range textLines("", f.data) {
		for _, key := range []string{"Provides", "Default-Start", "Short-Description"} {
			if v, ok := strings.CutPrefix(line, "# "+key+":"); ok {
				out[key] = cut(strings.TrimSpace(v), tellBytes)
			}
		}
	}
	return out
}

// hookDetail picks the lines of a configuration that make something run.
func hookDetail(keys ...string) func(f *finding) map[string]any {
	return func(f *finding) map[string]any {
		var out []string
		for _, line := range words(f.data) {
			low := strings.ToLower(line)
			if slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(low, k) }) && len(out) < maxTasks {
				out = append(out, cut(f.t.redact(line), tellBytes))
			}
		}
		if out == nil {
			return nil
		}
		return map[string]any{"Commands": out}
	}
}
