// SPDX-License-Identifier: Apache-2.0

//go:build linux

package atomics

import "github.com/picket-edr/picket/internal/vmtest"

// Userland has the programs that the tests name, as far as they are small: a
// small compiler stands in for the large one, and there are no servers.
var Userland = vmtest.Userland{
	Suite: "bookworm",
	Packages: []string{"base-files", "base-passwd", "bash", "dash", "coreutils", "util-linux", "mount", "bsdutils", "login", "passwd", "procps",
		"grep", "sed", "mawk", "findutils", "tar", "gzip", "hostname", "libc-bin", "debianutils", "cron", "at", "sudo", "kmod", "busybox", "xxd",
		"binutils", "tcc", "libc6-dev", "systemd", "rsyslog", "e2fsprogs", "dpkg", "pciutils", "dmidecode", "libpam-modules", "libpam-runtime"},
	Leave: []string{"perl", "perl-*", "libperl*", "lib*-perl", "usrmerge", "debconf", "adduser"},
	Without: []string{"./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/i18n", "./usr/share/info", "./usr/share/lintian",
		"./usr/lib/x86_64-linux-gnu/gconv", "./usr/lib/x86_64-linux-gnu/perl*", "./var/lib/dpkg"},
}

// folder is where the tests find the files of their project.
const folder = "/tmp/AtomicRedTeam/atomics"

// Files of the project that tests use. They are not part of the copy that the
// tests are read from: these are ours and do what the tests expect of them.
var standIns = map[string]string{
	"T1036.004/src/prctl_rename.c": `#include <sys/prctl.h>
#include <unistd.h>
int main(void) { prctl(PR_SET_NAME, "totally_legit", 0, 0, 0); sleep(3); return 0; }
`,
	"T1222.002/src/T1222.002.c": `#include <stdio.h>
#include <sys/stat.h>
int main(int argc, char **argv) { char p[300]; snprintf(p, sizeof p, "%s%s", argv[1], argc > 2 ? argv[2] : ""); return chmod(p, 0755); }
`,
	"T1222.002/src/chown.c": `#include <unistd.h>
int main(int argc, char **argv) { return argc > 1 ? chown(argv[1], 0, 0) : 1; }
`,
	"T1546.005/src/echo-art-fish.sh": "echo fish > /tmp/art-fish.txt\n",
	"script.sh":                      "echo script\n",
	"image.jpg":                      "image\n",
	"T1222.002/T1222.002.yaml":       "{}\n",
}

// links are the alternatives that scripts of packages choose.
var links = map[string]string{"awk": "mawk", "which": "which.debianutils", "cc": "tcc", "gcc": "tcc"}

// special are the programs that run as another user or group, as scripts of
// packages set them.
var special = []struct {
	name     string
	uid, gid int
	mode     uint32
}{
	{"sudo", 0, 0, 0o4755}, {"su", 0, 0, 0o4755}, {"passwd", 0, 0, 0o4755}, {"chsh", 0, 0, 0o4755}, {"mount", 0, 0, 0o4755}, {"umount", 0, 0, 0o4755},
	{"crontab", 0, cronGroup, 0o2755}, {"at", daemon, daemon, 0o6755},
}

// Ids of accounts: daemon is Debian's, the other is our choice.
const (
	daemon    = 1
	cronGroup = 101
)

// pam is what scripts of packages make of PAM's common files.
var pam = map[string]string{
	"common-auth":                   "auth sufficient pam_rootok.so\nauth required pam_unix.so\n",
	"common-account":                "account required pam_unix.so\n",
	"common-password":               "password required pam_unix.so\n",
	"common-session":                "session optional pam_permit.so\n",
	"common-session-noninteractive": "session optional pam_permit.so\n",
}
