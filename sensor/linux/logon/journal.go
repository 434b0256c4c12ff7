// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/journal"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// journalFields are what is taken of an entry. Those that begin with an
// underscore journald itself vouches for.
var journalFields = []string{"MESSAGE", "SYSLOG_IDENTIFIER", "_PID", "_UID", "_EXE", "_AUDIT_SESSION", "_TRANSPORT",
	"MESSAGE_ID", "SESSION_ID", "USER_ID", "LEADER"}

// speakers are the programs whose words, other than those of PAM, tell of
// logons or accounts.
var speakers = []string{"sshd", "dropbear", "sudo", "su", "login", "pkexec", "polkit", "systemd-logind", "gdm-password", "lightdm", "xscreensaver"}

// wantEntry picks the entries that may tell of a logon: a host writes many
// others.
func wantEntry(f map[string]string) bool {
	if f["_TRANSPORT"] == "audit" {
		return false // the kernel's messages are read from the kernel
	}
	program := service(f["SYSLOG_IDENTIFIER"])
	return strings.HasPrefix(f["MESSAGE"], "pam_") || slices.Contains(speakers, program) || accountTools[program]
}

// fromEntry reads an entry of the journal.
func fromEntry(e journal.Entry) (note, bool) {
	m := message{program: record.Clean(e.Fields["SYSLOG_IDENTIFIER"]), text: record.Clean(e.Fields["MESSAGE"]), at: e.Time, fields: e.Fields}
	accepted, verified := judge(service(m.program), e.Fields)
	if !accepted {
		return note{}, false
	}
	m.unverified = !verified
	if pid, err := strconv.ParseUint(e.Fields["_PID"], 10, 32); err == nil {
		m.pid = uint32(pid)
	}
	if id, err := strconv.ParseUint(e.Fields["_AUDIT_SESSION"], 10, 32); err == nil && id != noSession {
		m.session = uint32(id)
	}
	n, ok := m.parse()
	n.origin = "journal " + m.program
	return n, ok
}

// judge tells whether an entry is by the program that it names. Any user can
// write to the journal under any name; what journald saw of the writer cannot
// be chosen. A program that ended before journald looked is not known.
func judge(program string, f map[string]string) (accepted, verified bool) {
	if f["_UID"] == "0" {
		return true, true
	}
	exe := strings.TrimSuffix(f["_EXE"], " (deleted)")
	if exe == "" || f["_UID"] == "" {
		return true, false
	}
	name := service(path.Base(exe))
	ours := name == program || name == "unix_chkpwd" || strings.HasPrefix(name, program+"-")
	return ours && fromSystem(exe), true
}

// fromSystem reports whether a program lies where only root puts programs.
func fromSystem(exe string) bool {
	for _, dir := range []string{"/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/nix/store/", "/run/wrappers/", "/opt/"} {
		if strings.HasPrefix(exe, dir) {
			return true
		}
	}
	return false
}
