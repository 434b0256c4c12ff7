// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
)

// about matches events of one path.
func about(action, path string) func(*event.DeviceEvents) bool {
	return func(r *event.DeviceEvents) bool { return r.ActionType == action && r.FolderPath == path }
}

func extras(t *testing.T, r *event.DeviceEvents) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(r.AdditionalFields), &m); err != nil {
		t.Fatalf("%s: %v", r.AdditionalFields, err)
	}
	return m
}

// A task and a profile on this very host, harmless and removed again.
func TestLivePersistence(t *testing.T) {
	l := startLive(t, nil)
	cron, profile := "/etc/cron.d/picket-test-task", "/etc/profile.d/picket-test-profile.sh"
	t.Cleanup(func() {
		os.Remove(cron)
		os.Remove(profile)
	})
	if err := os.MkdirAll("/etc/cron.d", 0o755); err != nil {
		t.Fatal(err)
	}
	script := "echo '# nothing runs' > " + cron + "; echo '# 1 2 3 4 5 root true' >> " + cron + "; echo ': # nothing' > /etc/picket-test-new; mv /etc/picket-test-new " + profile
	if out, err := exec.Command("/bin/sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	r := find(l, about("ScheduledTaskCreated", cron))
	if r.FileName != filepath.Base(cron) || r.InitiatingProcessFileName == "" || r.FileSize == 0 {
		t.Errorf("row %v", columns(r))
	}
	m := extras(t, r)
	if m["Category"] != "Cron" || m["AttackTechnique"] != "T1053.003" || m["PreviousKnown"] != nil {
		t.Errorf("fields %v", m)
	}
	if r := find(l, about("ShellProfileModified", profile)); extras(t, r)["Operation"] != "Created" || !strings.Contains(r.InitiatingProcessCommandLine, "mv ") {
		t.Errorf("row %v", columns(r))
	}
	if err := os.Remove(cron); err != nil {
		t.Fatal(err)
	}
	if r := find(l, about("ScheduledTaskDeleted", cron)); extras(t, r)["Removed"] == nil {
		t.Errorf("row %v", columns(r))
	}
	if n := len(all(l, about("ScheduledTaskCreated", cron))); n != 1 {
		t.Errorf("created %d times", n)
	}
}

// A host of its own below a folder: accounts as useradd and passwd change
// them, a unit, a key, a log.
func TestLiveIdentity(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const passwd, shadow = "root:x:0:0:root:/root:/bin/bash\n", "root:$y$j9T$old$hash:1:::::: \n"
	write("etc/passwd", passwd)
	write("etc/shadow", shadow)
	write("etc/group", "sudo:x:27:\n")
	write("var/log/auth.log", "line\nline\n")
	write("root/.ssh/known_hosts", "")
	// What changed in the second in which the hooks are attached is not part
	// of the baseline; these files are older.
	old := time.Now().Add(-time.Hour)
	l := startLive(t, func(o *Options) { o.root, o.watchSince = root, old.Unix()+7200 })
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2v5l6mXv0aXo1rUq3r6f8sV2Q0mE8iPz5tGm2j7n3k"
	steps := `cp etc/passwd etc/passwd+; echo 'mallory:x:1001:1001::/home/mallory:/bin/sh' >> etc/passwd+; mv etc/passwd+ etc/passwd
echo 'sudo:x:27:mallory' > etc/group.1; mv etc/group.1 etc/group
sed -i 's/hash/NEWHASH/' etc/shadow
mkdir -p etc/systemd/system; printf '[Service]\nExecStart=/tmp/x\n' > etc/systemd/system/evil.service
echo '` + key + ` me@x' > root/.ssh/authorized_keys
: > var/log/auth.log`
	c := exec.Command("/bin/sh", "-c", steps)
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	at := func(name string) string { return filepath.Join(root, name) }
	if r := find(l, about("UserAccountCreated", at("etc/passwd"))); r.AccountName != "mallory" || r.AccountSid != "1001" || !strings.Contains(r.InitiatingProcessCommandLine, "mv ") {
		t.Errorf("row %v", columns(r))
	}
	if r := find(l, about("UserAccountAddedToLocalGroup", at("etc/group"))); r.AccountName != "mallory" || extras(t, r)["GroupName"] != "sudo" {
		t.Errorf("row %v", columns(r))
	}
	if r := find(l, about("PasswordChanged", at("etc/shadow"))); r.AccountName != "root" || strings.Contains(r.AdditionalFields, "hash") || strings.Contains(r.AdditionalFields, "HASH") {
		t.Errorf("row %v", columns(r))
	}
	if r := find(l, about("ServiceInstalled", at("etc/systemd/system/evil.service"))); extras(t, r)["ExecStart"] != "/tmp/x" {
		t.Errorf("row %v", columns(r))
	}
	if r := find(l, about("SshAuthorizedKeysModified", at("root/.ssh/authorized_keys"))); r.AccountName != "root" || !strings.Contains(r.AdditionalFields, "SHA256:") || strings.Contains(r.AdditionalFields, "AAAAC3") {
		t.Errorf("row %v", columns(r))
	}
	if r := find(l, about("SecurityLogCleared", at("var/log/auth.log"))); extras(t, r)["Cleared"] != "Emptied" {
		t.Errorf("row %v", columns(r))
	}
}

// What a file is stands in its row, also when it is made executable a moment
// later. A busy host lets rows go without: some of several must have it.
func TestLiveFileType(t *testing.T) {
	l := startLive(t, nil)
	want := map[string]string{"prog": `"FileType":"ELF"`, "script": `"Interpreter":"/usr/bin/python3"`}
	for range 20 {
		dir := t.TempDir()
		c := exec.Command("/bin/sh", "-c", "cp /bin/true prog; printf '#!/usr/bin/python3\\n' > script; chmod +x script; echo text > text")
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		for name, text := range want {
			if r := find(l, onPath("FileCreated", filepath.Join(dir, name))); strings.Contains(r.AdditionalFields, text) && r.SHA256 != "" {
				delete(want, name)
			}
		}
		if r := find(l, onPath("FileCreated", filepath.Join(dir, "text"))); strings.Contains(r.AdditionalFields, "FileType") {
			t.Errorf("text: %v", columns(r))
		}
		if len(want) == 0 {
			return
		}
	}
	t.Errorf("never told: %v", want)
}

// rootedLive is a collector that watches a host below a folder.
func rootedLive(t *testing.T, files map[string]string) (l *live, root string) {
	t.Helper()
	root = t.TempDir()
	for name, content := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The files are as young as the collector and yet part of the baseline.
	l = startLive(t, func(o *Options) { o.root, o.watchSince = root, time.Now().Add(time.Hour).Unix() })
	return l, root
}

func run(t *testing.T, dir string, command ...string) {
	t.Helper()
	program, err := exec.LookPath(command[0])
	if err != nil {
		t.Skipf("%s is not on this host", command[0])
	}
	c := exec.Command(program, command[1:]...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v %s", command, err, out)
	}
}

// The tools that administrators use, on files that are not those of the host.
func TestLiveRealTools(t *testing.T) {
	l, root := rootedLive(t, map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", "etc/shadow": "root:*:1::::::\n", "etc/group": "root:x:0:\nsudo:x:27:\n", "etc/gshadow": "root:*::\nsudo:*::\n",
		"etc/login.defs": "UID_MIN 1000\n", "etc/systemd/system/a.service": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
		"deb/DEBIAN/control": "Package: picket-test\nVersion: 1.2\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n", "deb/etc/cron.d/picket-test": "# nothing\n",
		"var/lib/dpkg/status": "", "var/lib/dpkg/info/.keep": "", "var/lib/dpkg/updates/.keep": "", "var/lib/dpkg/triggers/.keep": "",
	})
	at := func(name string) string { return filepath.Join(root, name) }
	run(t, root, "useradd", "-P", root, "-p", "$6$salt$NEWHASH", "mallory")
	if r := find(l, about("UserAccountCreated", at("etc/passwd"))); r.AccountName != "mallory" || r.InitiatingProcessFileName != "useradd" {
		t.Errorf("row %v", columns(r))
	}
	if r := find(l, about("PasswordChanged", at("etc/shadow"))); r.AccountName != "mallory" || extras(t, r)["Change"] != "Set" || strings.Contains(r.AdditionalFields, "HASH") {
		t.Errorf("row %v", columns(r))
	}
	run(t, root, "usermod", "-P", root, "-a", "-G", "sudo", "mallory")
	if r := find(l, about("UserAccountAddedToLocalGroup", at("etc/group"))); r.AccountName != "mallory" || extras(t, r)["Privileged"] != true || r.InitiatingProcessFileName != "usermod" {
		t.Errorf("row %v", columns(r))
	}
	run(t, root, "userdel", "-P", root, "mallory")
	if r := find(l, about("UserAccountDeleted", at("etc/passwd"))); r.AccountName != "mallory" {
		t.Errorf("row %v", columns(r))
	}
	run(t, root, "systemctl", "--root="+root, "enable", "a.service")
	if r := find(l, about("ServiceEnabled", at("etc/systemd/system/multi-user.target.wants/a.service"))); extras(t, r)["Target"] != "multi-user.target" {
		t.Errorf("row %v", columns(r))
	}
	run(t, root, "dpkg-deb", "--build", "deb", "x.deb")
	run(t, root, "dpkg", "--root="+root, "--force-script-chrootless", "--install", "x.deb")
	if r := find(l, about("PackageInstalled", at("var/lib/dpkg/status"))); extras(t, r)["PackageName"] != "picket-test" || extras(t, r)["PackageVersion"] != "1.2" {
		t.Errorf("row %v", columns(r))
	}
	if r := find(l, about("ScheduledTaskCreated", at("etc/cron.d/picket-test"))); extras(t, r)["PackageManager"] != "dpkg" {
		t.Errorf("row %v", columns(r))
	}
	run(t, root, "sed", "-i", "s/nothing/something/", "etc/cron.d/picket-test")
	find(l, about("ScheduledTaskUpdated", at("etc/cron.d/picket-test")))
	run(t, root, "dpkg", "--root="+root, "--purge", "picket-test")
	find(l, about("PackageRemoved", at("var/lib/dpkg/status")))
	l.stop()
	for _, r := range all(l, func(r *event.DeviceEvents) bool { return strings.HasPrefix(r.FolderPath, root) }) {
		t.Logf("%s %s %s %s", r.ActionType, strings.TrimPrefix(r.FolderPath, root), r.AccountName, r.AdditionalFields)
	}
}

// What happens in a container has the same names and is told by itself: the
// file is read where the process that did it sees it.
func TestLiveOtherRoot(t *testing.T) {
	l := startLive(t, nil)
	dir := t.TempDir()
	script := `set -e
mount -t tmpfs none ` + dir + `
cd ` + dir + `
mkdir old etc etc/cron.d usr
mount --bind /usr usr
for d in bin lib lib64 sbin; do ln -s usr/$d $d; done
pivot_root . old
echo '9 9 9 9 9 root /tmp/other' > /etc/cron.d/picket-test-other
read _`
	c := exec.Command("unshare", "-m", "/bin/sh", "-c", script)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	c.Stderr = &out
	if err := c.Start(); err != nil {
		t.Skipf("no unshare here: %v", err)
	}
	r := find(l, about("ScheduledTaskCreated", "/etc/cron.d/picket-test-other"))
	if m := extras(t, r); !strings.Contains(r.AdditionalFields, "/tmp/other") || m["Category"] != "Cron" {
		t.Errorf("row %v", columns(r))
	}
	in.Close()
	_ = c.Wait() // read fails at the end of its input
	if t.Failed() {
		t.Log(out.String())
	}
}
