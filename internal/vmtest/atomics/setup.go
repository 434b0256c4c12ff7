// SPDX-License-Identifier: Apache-2.0

//go:build linux

package atomics

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// user is who runs the tests that need no root.
var user = account{name: "tester", id: 1000, home: "/home/tester"}

const host = "guest"

var root = account{name: "root", home: "/root"}

type account struct {
	name string
	id   int
	home string
}

// setUp does what the installation of the packages would have done, and makes
// the things that tests are about.
func setUp() error {
	steps := []func() error{accounts, programs, spools, standInFiles}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("set the guest up: %w", err)
		}
	}
	// The sensor leaves out of its baseline what changed just before its start.
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, later(time.Minute)); err != nil {
		return err
	}
	// Tests start more processes than the ids of a small machine are good for.
	return os.WriteFile("/proc/sys/kernel/pid_max", []byte("4000000"), 0)
}

// later is the time a while from now.
func later(d time.Duration) *unix.Timespec {
	ts := unix.NsecToTimespec(time.Now().Add(d).UnixNano())
	return &ts
}

// write writes a file and makes its folder.
func write(name, content string, perm fs.FileMode) error {
	return errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), perm))
}

// accounts makes the files of users and groups from the masters that Debian
// has for them.
func accounts() error {
	users, err := os.ReadFile("/usr/share/base-passwd/passwd.master")
	if err != nil {
		return err
	}
	groups, err := os.ReadFile("/usr/share/base-passwd/group.master")
	if err != nil {
		return err
	}
	passwd := strings.ReplaceAll(string(users), ":*:", ":x:") + fmt.Sprintf("%s:x:%d:%[2]d::%s:/bin/bash\n", user.name, user.id, user.home)
	group := strings.ReplaceAll(string(groups), ":*:", ":x:") + fmt.Sprintf("%s:x:%d:\ncrontab:x:%d:\n", user.name, user.id, cronGroup)
	shadow := shadowed(passwd, ":19000:0:99999:7:::")
	err = errors.Join(write("/etc/passwd", passwd, 0o644), write("/etc/group", group, 0o644), write("/etc/shadow", shadow, 0o640),
		write("/etc/gshadow", shadowed(group, "::"), 0o640), write("/etc/shells", "/bin/sh\n/bin/bash\n/bin/dash\n", 0o644),
		write("/etc/default/locale", "LANG=C.UTF-8\n", 0o644), write("/etc/hosts", "127.0.0.1 localhost "+host+"\n", 0o644), write("/etc/hostname", host+"\n", 0o644), syscall.Sethostname([]byte(host)), write("/etc/fstab", "", 0o644))
	for name, content := range pam {
		err = errors.Join(err, write("/etc/pam.d/"+name, content, 0o644))
	}
	for _, a := range []account{root, user} {
		err = errors.Join(err, os.MkdirAll(a.home, 0o755), write(a.home+"/.bashrc", "", 0o644), own(a.home, a.id, a.id))
	}
	return err
}

// shadowed makes a shadow file with locked passwords.
func shadowed(accounts, rest string) string {
	var b strings.Builder
	for line := range strings.Lines(accounts) {
		name, _, _ := strings.Cut(line, ":")
		b.WriteString(name + ":*" + rest + "\n")
	}
	return b.String()
}

func programs() error {
	var err error
	for name, target := range links {
		err = errors.Join(err, os.Symlink(target, "/usr/bin/"+name))
	}
	for _, p := range special {
		file := "/usr/bin/" + p.name
		err = errors.Join(err, os.Chown(file, p.uid, p.gid), syscall.Chmod(file, p.mode))
	}
	return err
}

// spools makes the folders that cron, at and the logs use.
func spools() error {
	err := errors.Join(os.MkdirAll("/var/spool/cron/crontabs", 0o755), os.Chown("/var/spool/cron/crontabs", 0, cronGroup),
		syscall.Chmod("/var/spool/cron/crontabs", 0o1730), syscall.Chmod("/tmp", 0o1777), syscall.Chmod("/dev/shm", 0o1777),
		os.MkdirAll("/var/log", 0o755), write("/var/log/messages", "", 0o644))
	for _, dir := range []string{"/var/spool/cron/atjobs", "/var/spool/cron/atspool"} {
		err = errors.Join(err, os.MkdirAll(dir, 0o755), os.Chown(dir, daemon, daemon), syscall.Chmod(dir, 0o1770))
	}
	return errors.Join(err, write("/var/spool/cron/atjobs/.SEQ", "0\n", 0o600), os.Chown("/var/spool/cron/atjobs/.SEQ", daemon, daemon),
		os.Chown("/etc/at.deny", 0, daemon))
}

func standInFiles() error {
	var err error
	for name, content := range standIns {
		err = errors.Join(err, write(filepath.Join(folder, name), content, 0o644))
	}
	return err
}

// own gives a folder and all below it to a user.
func own(dir string, uid, gid int) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}
