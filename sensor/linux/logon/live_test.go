// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket/sensor/linux/audit"
	"golang.org/x/sys/unix"
)

// liveScript runs a journald of its own, which nothing else of the host writes
// to and which leaves the kernel's auditing alone, has programs write to it,
// and stops it when its input ends.
const liveScript = `set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/systemd/journald.conf.d /run/systemd/journal /run/log/journal /run/lock /run/dev/pts
printf '[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\n' > /run/systemd/journald.conf.d/test.conf
mount --bind "$1" /run/log/journal
for n in null zero full random urandom tty; do touch /run/dev/$n; mount --bind /dev/$n /run/dev/$n; done
mount --bind /dev/pts /run/dev/pts
ln -s /run/systemd/journal/dev-log /run/dev/log
mount --rbind /run/dev /dev
"$2" & daemon=$!
trap 'kill $daemon' EXIT
while ! [ -S /run/systemd/journal/dev-log ]; do kill -0 $daemon; sleep 0.05; done
su daemon -s /bin/sh -c true
setpriv --reuid=65534 --clear-groups su daemon -s /bin/sh -c true < /dev/null || true
echo done
read line || true
`

// Real programs write to a real journald, and the watcher follows its files.
func TestLiveJournald(t *testing.T) {
	const daemon = "/lib/systemd/systemd-journald"
	for _, need := range []string{daemon, "/usr/bin/unshare", "/usr/bin/setpriv", "/usr/bin/su"} {
		if _, err := os.Stat(need); err != nil {
			t.Skipf("%s is not installed", need)
		}
	}
	if os.Geteuid() != 0 || testing.Short() {
		t.Skip("needs root and some seconds")
	}
	t.Parallel()
	s := newSources(t)
	s.mkdir("journal")
	s.o.Paths.Machine = ""
	c := exec.Command("unshare", "-m", "sh", "-c", liveScript, "sh", filepath.Join(s.dir, "journal"), daemon)
	var out, failed bytes.Buffer
	c.Stderr = &failed
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Skipf("no namespace of mounts: %v", err)
	}
	for b := make([]byte, 64); !strings.Contains(out.String(), "done\n"); {
		n, err := stdout.Read(b)
		out.Write(b[:n])
		if err != nil {
			t.Skipf("journald cannot be run here: %v %s", c.Wait(), failed.String())
		}
	}
	var got []string
	for deadline := time.Now().Add(20 * time.Second); len(got) < 3 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		s.look() // journald has no way to say that it wrote
		got = append(got, short(s.merger.flush(time.Now(), true))...)
	}
	for _, want := range []string{"LogonSuccess root>daemon NewCredentials journal", "Logoff root>daemon NewCredentials journal",
		"LogonFailed nobody>daemon NewCredentials InvalidCredentials journal"} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err != nil {
		t.Logf("%v %s", err, failed.String())
	}
}

// A logon that a program tells the kernel of reaches the watcher, where the
// host audits. Tests do not switch that on.
func TestLiveAudit(t *testing.T) {
	if on, err := audit.Enabled(); !on {
		t.Skipf("auditing is off here: %v", err)
	}
	var facts []Fact
	w := New(Options{Paths: Paths{Audit: true}, Lost: noLoss, Emit: func(f Fact) { facts = append(facts, f) }})
	defer w.Close()
	if w.audit == nil {
		t.Skipf("no audit messages here: %v", *w.refused.Load())
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	user := fmt.Sprintf("picket%d", os.Getpid())
	text := fmt.Sprintf("op=login acct=\"%s\" exe=\"/usr/sbin/sshd\" hostname=? addr=192.0.2.7 terminal=ssh res=failed\x00", user)
	b := append([]byte{byte(16 + len(text)), 0, 0, 0, audit.UserLogin & 0xff, audit.UserLogin >> 8, unix.NLM_F_REQUEST, 0, 0, 0, 0, 0, 0, 0, 0, 0}, text...)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Skipf("the kernel takes no audit message: %v", err)
	}
	go w.listen(t.Context())
	for deadline := time.Now().Add(20 * time.Second); len(facts) == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		w.pass(true)
	}
	if len(facts) != 1 || facts[0].User != user || facts[0].Remote != ip {
		t.Errorf("facts %+v", facts)
	}
}
