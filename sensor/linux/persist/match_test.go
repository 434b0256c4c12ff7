// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"path"
	"strings"
	"testing"
)

func TestMatcher(t *testing.T) {
	t.Parallel()
	m := newMatcher(table, []string{"/var/lib/postgresql", "/srv/deep/er/home"})
	for name, want := range map[string]string{
		"/etc/crontab":                                                    "Cron",
		"/etc/crontabs":                                                   "",
		"/etc/cron.d/x":                                                   "Cron",
		"/etc/cron.d/x/y":                                                 "",
		"/etc/cron.d":                                                     "",
		"/var/spool/cron/crontabs/root":                                   "Cron",
		"/var/spool/cron/atjobs/a0000101b3c2d4":                           "AtJob",
		"/etc/systemd/system/a.timer":                                     "SystemdTimer",
		"/etc/systemd/system/x.target.wants/a":                            "SystemdUnitLink",
		"/etc/systemd/system/ssh.service.d/a.conf":                        "SystemdUnit",
		"/run/systemd/transient/session-1.scope":                          "",
		"/run/systemd/transient/run-r1.service":                           "SystemdUnit",
		"/usr/lib/systemd/system-generators/g":                            "SystemdGenerator",
		"/root/.bashrc":                                                   "ShellProfile",
		"/home/alice/.bashrc":                                             "ShellProfile",
		"/home/alice/x/.bashrc":                                           "",
		"/var/lib/postgresql/.ssh/authorized_keys":                        "SshAuthorizedKeys",
		"/srv/deep/er/home/.ssh/authorized_keys":                          "SshAuthorizedKeys",
		"/srv/deep/er/.ssh/authorized_keys":                               "",
		"/usr/lib/modules/6.1.0/kernel/a/b/c.ko.xz":                       "KernelModule",
		"/usr/lib/modules/6.1.0/modules.dep":                              "",
		"/lib/x86_64-linux-gnu/security/pam_x.so":                         "PamModule",
		"/srv/repo/.git/hooks/pre-commit":                                 "GitHook",
		"/srv/repo/git/hooks/pre-commit":                                  "",
		"/.git/hooks/pre-commit":                                          "GitHook",
		"/opt/v/lib/python3/site-packages/a.pth":                          "PythonStartup",
		"/opt/v/lib/python3/site-packages/a.py":                           "",
		"/var/log/journal/0123/system.journal":                            "Log",
		"/etc/initramfs-tools/hooks/h":                                    "Initramfs",
		"/etc/initramfs-tools/a/b/c/d":                                    "Initramfs",
		"/home/a/.config/chromium/Default/Extensions/abc/1/manifest.json": "BrowserExtension",
		"/home/a/.config/BraveSoftware/Brave-Browser/P 1/Extensions/b/1/manifest.json": "BrowserExtension",
		"/home/a/.mozilla/firefox/x.default/extensions/u@x.xpi":                        "BrowserExtension",
		"":             "",
		"/":            "",
		"//":           "",
		"relative":     "",
		"/etc":         "",
		"/tmp/x/y/z/w": "",
	} {
		got := ""
		if i := m.find(name); i >= 0 {
			got = table[i].Category
		}
		if got != want {
			t.Errorf("%s belongs to %q, want %q", name, got, want)
		}
	}
}

func TestLeads(t *testing.T) {
	t.Parallel()
	m := newMatcher(table, []string{"/var/lib/postgresql"})
	for name, want := range map[string]bool{
		"/etc": true, "/etc/cron.d": true, "/etc/cron.d/x": false, "/home/alice": true, "/home/alice/.ssh": true, "/home/alice/.ssh/x": false,
		"/etc/systemd/system/x.service.d": true, "/var/lib/postgresql": true, "/etc/apparmor.d/a/b": true, "/tmp": false, "/": false, "": false,
	} {
		if got := m.leads(name); got != want {
			t.Errorf("%s leads: %v", name, got)
		}
	}
}

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"*", "x", true}, {"a*", "b", false}, {"a*b*c", "aXbYc", true}, {"a*b*c", "abc", true}, {"a*b*c", "acb", false},
		{"*.conf", ".conf", true}, {"x", "x", true}, {"x", "y", false}, {"ab*ba", "aba", false}, {"*-a*", "x-a", true},
	} {
		if glob(c.pattern, c.name) != c.want {
			t.Errorf("%s and %s: %v", c.pattern, c.name, !c.want)
		}
	}
}

// Every entry of the table is whole and can be reached by each of its patterns.
func TestTable(t *testing.T) {
	t.Parallel()
	m := newMatcher(table, nil)
	for i, w := range table {
		if w.Category == "" || w.About == "" || w.Technique == "" || w.Actions == (Actions{}) || len(w.Paths) == 0 {
			t.Errorf("entry %d (%s) is not whole", i, w.Category)
		}
		for _, p := range w.Paths {
			for _, name := range expand(p) {
				if strings.ContainsAny(name, "{}") {
					t.Errorf("%s: braces within braces", p)
				}
				name = strings.NewReplacer("/**/", "/q/r/", "~/", "/home/u/", ".../", "/srv/").Replace(name)
				name = strings.ReplaceAll(name, "*", "q")
				if got := m.find(name); got < 0 || got > i {
					t.Errorf("%s of %s is found as %d, want %d", name, w.Category, got, i)
				}
				if !m.leads(path.Dir(name)) && !strings.HasPrefix(p, "...") && !strings.Contains(p, "**") {
					t.Errorf("%s does not lead to %s", path.Dir(name), name)
				}
			}
		}
	}
}

func TestPassingNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"a~": true, ".a.swp": true, "a.dpkg-new": true, "a;5f3a0b1c": true, ".#a": true, "4913": true, "a": false, "a.conf": false, ".a": false} {
		if passing(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func FuzzMatcher(f *testing.F) {
	m := newMatcher(table, []string{"/var/lib/x"})
	f.Add("/etc/cron.d/x")
	f.Add("/home/a/.config/chromium/Default/Extensions/abc/1/manifest.json")
	f.Fuzz(func(t *testing.T, name string) {
		if i := m.find(name); i >= 0 && name[0] != '/' {
			t.Errorf("%q is found as %d", name, i)
		}
		m.leads(name)
		passing(name)
	})
}

func BenchmarkFind(b *testing.B) {
	m := newMatcher(table, []string{"/var/lib/postgresql"})
	for name, p := range map[string]string{"nothing": "/var/cache/apt/archives/partial/x.deb", "home": "/home/alice/projects/a/b/c.go", "unit": "/etc/systemd/system/a.service"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				m.find(p)
			}
		})
	}
}
