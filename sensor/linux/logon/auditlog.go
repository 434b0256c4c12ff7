// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"path"
	"strconv"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/audit"
)

// auditTypes are the messages of the kernel that are read.
var auditTypes = []audit.Range{{First: audit.UserAuth, Last: audit.DaemonConfig}, {First: audit.ConfigChange, Last: audit.ConfigChange},
	{First: audit.AnomPromiscuous, Last: audit.AnomAbend}, {First: audit.AnomLoginFailures, Last: audit.AnomLoginLocation}}

// fromAudit reads a message of the kernel's audit system. What programs say in
// one comes from processes with the right to, which are root's.
func fromAudit(r *audit.Record) (note, bool) {
	n := note{origin: "audit " + audit.Name(r.Type), Fact: Fact{Program: service(path.Base(r.Get("exe"))), User: r.Get("acct"),
		TTY: r.Get("terminal"), At: r.Time}}
	if n.Program == "." {
		n.Program = ""
	}
	n.PID, _ = r.ID("pid")
	n.Session, _ = r.ID("ses")
	if host := r.Get("addr"); host == "" || !n.from(host) {
		if host = r.Get("hostname"); host != "" && !n.from(host) {
			n.Host = host
		}
	}
	if strings.HasPrefix(n.User, "(") || n.User == "UNKNOWN" { // (invalid user), (unknown)
		n.User, n.Reason = "", unknownUser
	}
	if !n.audited(r) {
		return note{}, false
	}
	n.complete()
	return n, true
}

func (n *note) audited(r *audit.Record) bool {
	ok, known := r.Succeeded()
	switch r.Type {
	case audit.UserLogin, audit.UserAuth, audit.UserAcct, audit.UserStart:
		return known && n.auditLogon(r, ok)
	case audit.UserEnd, audit.UserLogout:
		n.Action = Logoff
		n.becomeTarget()
		return n.User != "" || n.Target != ""
	case audit.UserCmd:
		n.Action, n.weak, n.Program = Success, true, "sudo"
		n.User, n.UserID, n.Command, n.Cwd = "", r.Get("uid"), r.Get("cmd"), r.Get("cwd")
		if !ok {
			n.Action, n.Reason, n.hold = Failed, commandRefused, sudoAsks
		}
		return known
	case audit.AnomLoginFailures, audit.AnomLoginTime, audit.AnomLoginSessions, audit.AnomLoginAcct, audit.AnomLoginLocation:
		n.Action = Failed
		n.Reason = map[uint16]string{audit.AnomLoginFailures: tooMany, audit.AnomLoginTime: "LogonTimeNotAllowed",
			audit.AnomLoginSessions: "TooManySessions", audit.AnomLoginAcct: notAllowed, audit.AnomLoginLocation: "LocationNotAllowed"}[r.Type]
		n.becomeTarget()
		return n.User != "" || n.Target != ""
	}
	return n.auditChange(r, ok)
}

// auditLogon reads the steps of a logon: who one is, whether one may, and that
// a session begins.
func (n *note) auditLogon(r *audit.Record, ok bool) bool {
	if id := r.Get("id"); n.User == "" && number(id) {
		n.UserID = id
	}
	if n.becomeTarget() {
		switch {
		case n.Program != "sudo":
			n.UserID = r.Get("uid")
		case r.Type != audit.UserStart: // it asks who the caller is, and then is root
			n.User, n.Target = n.Target, ""
		}
	}
	n.Action = Failed
	if ok {
		n.Action, n.Reason = Success, ""
	} else if n.Reason == "" {
		n.Reason = wrongPassword
	}
	switch {
	case r.Type == audit.UserStart:
		n.weak = !ok || n.Program == "sshd" || n.Program == "sudo" || n.Program == "polkit" || n.Program == "pkexec"
	case r.Type == audit.UserLogin:
		n.weak = !ok
	case r.Type == audit.UserAcct:
		if n.weak = true; n.Reason == wrongPassword {
			n.Reason = notAllowed
		}
		return !ok
	case ok: // a screen that is unlocked begins no session
		if kinds[n.Program] != "Unlock" && n.Program != "gdm-password" && n.Program != "lightdm" {
			return false
		}
		n.Type, n.weak, n.loose = "Unlock", true, kinds[n.Program] != "Unlock"
	default:
		n.weak = !strings.HasPrefix(r.Get("op"), "PAM:") // such as a key that is not on the list
		if n.Program == "sudo" {
			n.weak, n.hold = true, sudoAsks
		}
	}
	return n.User != "" || n.UserID != "" || n.Target != "" || n.PID != 0
}

// auditChange reads changes of accounts and of what is audited.
func (n *note) auditChange(r *audit.Record, ok bool) bool {
	op := r.Get("op")
	n.Account, n.Target, n.User, n.Detail = true, n.User, "", op
	n.Group = r.Get("grp")
	if id := r.Get("id"); n.Target == "" && number(id) {
		n.TargetID = id
	}
	switch r.Type {
	case audit.UserChauthtok:
		n.Action, n.weak = PasswordChange, op != "PAM:chauthtok"
		if !ok {
			n.Reason = wrongPassword
		}
		return !strings.Contains(op, "display")
	case audit.AddUser, audit.DelUser, audit.UserMgmt, audit.GrpMgmt:
		return ok && n.auditAccount(r.Type, op)
	case audit.AddGroup, audit.DelGroup:
		n.Action, n.weak = GroupCreated, true
		if r.Type == audit.DelGroup {
			n.Action = GroupDeleted
		}
		if n.Group == "" {
			n.Group = n.Target
		}
		if n.TargetID != "" {
			n.Detail += " gid=" + n.TargetID
		}
		n.Target, n.TargetID = "", ""
		return ok && (n.Group != "" || n.PID != 0)
	case audit.AcctLock, audit.AcctUnlock:
		n.Action = AccountModified
		return ok
	}
	return n.auditHost(r)
}

// auditAccount tells accounts from members of groups by what is said to be done.
func (n *note) auditAccount(typ uint16, op string) bool {
	for _, part := range []string{"home", "mail", "shadow"} { // steps of something that is told too
		if strings.Contains(op, part) {
			return false
		}
	}
	n.weak = true
	takes := strings.Contains(op, "delet") || strings.Contains(op, "remov")
	switch {
	case n.Group != "" && n.Target+n.TargetID != "" && takes:
		n.Action = MemberRemoved
	case n.Group != "" && n.Target+n.TargetID != "":
		n.Action = MemberAdded
	case typ == audit.AddUser:
		n.Action = AccountCreated
	case typ == audit.DelUser:
		n.Action = AccountDeleted
	case typ == audit.UserMgmt:
		n.Action = AccountModified
	default:
		return false
	}
	return n.Target+n.TargetID != ""
}

// auditHost reads what is about the host rather than an account.
func (n *note) auditHost(r *audit.Record) bool {
	n.Target, n.TargetID, n.TTY = "", "", ""
	switch r.Type {
	case audit.ConfigChange, audit.DaemonStart, audit.DaemonEnd, audit.DaemonAbort, audit.DaemonConfig:
		n.Action, n.Detail = AuditChanged, audit.Name(r.Type)
		n.detail(r, "op", "path", "dir", "key", "list", "audit_enabled", "audit_pid", "audit_failure", "audit_backlog_limit", "old", "res")
	case audit.AnomPromiscuous:
		n.Action, n.Detail = Promiscuous, "device"
		n.detail(r, "dev", "prom", "old_prom")
		return r.Get("prom") != "0"
	case audit.AnomAbend:
		n.Action, n.Detail = Crashed, "signal"
		n.detail(r, "sig", "reason", "comm", "exe")
	default:
		return false
	}
	if id, ok := r.ID("auid"); ok {
		n.UserID = strconv.FormatUint(uint64(id), 10)
	}
	return true
}

// detail adds fields of a message as they are.
func (n *note) detail(r *audit.Record, keys ...string) {
	for _, k := range keys {
		if v := r.Get(k); v != "" {
			n.Detail += " " + k + "=" + v
		}
	}
}
