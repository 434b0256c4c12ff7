// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Actions of facts: the values of ActionType that rows made of them carry.
const (
	Success = "LogonSuccess"
	Failed  = "LogonFailed"
	Logoff  = "Logoff"
	Found   = "LogonFound"

	AccountCreated  = "UserAccountCreated"
	AccountDeleted  = "UserAccountDeleted"
	AccountModified = "UserAccountModified"
	PasswordChange  = "PasswordChangeAttempt"
	GroupCreated    = "SecurityGroupCreated"
	GroupDeleted    = "SecurityGroupDeleted"
	MemberAdded     = "UserAccountAddedToLocalGroup"
	MemberRemoved   = "UserAccountRemovedFromLocalGroup"
	AuditChanged    = "AuditPolicyModification"
	Promiscuous     = "PromiscuousModeEntered"
	Crashed         = "ProcessCrashed"
)

// Values of FailureReason.
const (
	wrongPassword  = "InvalidCredentials"
	unknownUser    = "UnknownUser"
	noneAccepted   = "NoAcceptedCredentials"
	tooMany        = "TooManyAttempts"
	locked         = "AccountLocked"
	expired        = "AccountExpired"
	oldPassword    = "PasswordExpired"
	notAllowed     = "AccountNotAllowed"
	notInSudoers   = "NotInSudoers"
	commandRefused = "CommandNotAllowed"
)

// Fact is what the sources of a host say of one logon, logoff, failure or
// change of an account. Empty fields are not known.
type Fact struct {
	Action      string // ActionType
	Type        string // LogonType
	Program     string // service that decided: sshd, sudo, su, login, cron, ...
	PID         uint32 // process of the program, 0 when not told
	User        string // who logged on, or who asked
	UserID      string // its number, where a source told only that
	Target      string // whose rights were taken on, or the account that was changed
	TargetID    string
	Group       string
	Session     uint32 // audit session id, 0 when not known
	Remote      netip.Addr
	Port        uint16
	Host        string // name of the other end
	TTY         string
	Method      string // password, publickey, ...
	KeyType     string
	Fingerprint string // SHA256:...
	Certificate string // identity in a certificate that signed in
	Reason      string // of a failure
	Command     string
	Cwd         string
	Detail      string // what was changed
	Repeats     int    // further equal ones that a log folded into this
	Unverified  bool   // a line that any user could have written
	Account     bool   // about accounts or the audit system, not a logon
	At          time.Time
	Sources     []string // sorted
}

// note is what one source says. A fact is merged from notes.
type note struct {
	Fact
	origin string // source and kind of message; each tells of a logon once
	weak   bool   // tells less than another message that mostly goes with it
	loose  bool   // Program and Type are guesses
	apart  bool   // PID is of another process than the one other sources name
	cancel bool   // no fact: the failure that a weak note told of was none
	hold   time.Duration
}

// kinds are the programs that let people in, with the type of their logons.
var kinds = map[string]string{
	"sshd": "RemoteInteractive", "dropbear": "RemoteInteractive", "cockpit": "RemoteInteractive", "xrdp-sesman": "RemoteInteractive",
	"login": "Interactive", "gdm-password": "Interactive", "gdm-autologin": "Interactive", "gdm-fingerprint": "Interactive",
	"gdm-smartcard": "Interactive", "lightdm": "Interactive", "lightdm-autologin": "Interactive", "sddm": "Interactive",
	"sddm-autologin": "Interactive", "xdm": "Interactive", "lxdm": "Interactive", "greetd": "Interactive",
	"sudo": "NewCredentials", "su": "NewCredentials", "runuser": "NewCredentials", "doas": "NewCredentials",
	"polkit": "NewCredentials", "pkexec": "NewCredentials",
	"cron": "Batch", "crond": "Batch", "atd": "Batch", "systemd-user": "Service",
	"gnome-screensaver": "Unlock", "mate-screensaver": "Unlock", "cinnamon-screensaver": "Unlock", "xscreensaver": "Unlock",
	"kde": "Unlock", "kscreenlocker": "Unlock", "kcheckpass": "Unlock", "swaylock": "Unlock", "i3lock": "Unlock", "vlock": "Unlock",
	"vsftpd": "Network", "proftpd": "Network", "pure-ftpd": "Network", "dovecot": "Network", "samba": "Network", "smbd": "Network",
	"imap": "Network", "pop3": "Network", "smtp": "Network", "ppp": "Network",
}

// takesOn reports whether a program gives one account the rights of another.
func takesOn(program string) bool { return kinds[program] == "NewCredentials" }

// service turns the name of a PAM service or of a program's file into the
// name of the program.
func service(s string) string {
	switch s = strings.TrimSuffix(s, "]"); s {
	case "sshd-session", "sshd-auth":
		return "sshd"
	case "su-l", "sudo-i", "runuser-l":
		return s[:strings.IndexByte(s, '-')]
	case "polkit-1", "polkitd", "polkit-agent-helper-1":
		return "polkit"
	case "remote":
		return "login"
	case "CRON":
		return "cron"
	case "kscreenlocker_greet":
		return "kscreenlocker"
	case "gdm-session-worker":
		return "gdm-password"
	}
	return s
}

// specific tells how much a reason says. Of two for one failure the one that
// says more is kept.
func specific(reason string) int {
	switch reason {
	case "":
		return 0
	case noneAccepted:
		return 1
	case wrongPassword:
		return 2
	case unknownUser:
		return 3
	}
	return 4
}

// absorb takes over what another note about the same knows and this does not.
func (n *note) absorb(m note) {
	if n.loose && !m.loose || n.Program == "" {
		n.Program, n.Type, n.loose = m.Program, m.Type, m.loose
	}
	if n.weak && !m.weak && m.Command != "" {
		n.Command = m.Command
	}
	if n.apart && !m.apart && m.PID != 0 || n.PID == 0 {
		n.PID, n.apart = m.PID, m.apart
	}
	for _, f := range []struct{ to, from *string }{
		{&n.Type, &m.Type}, {&n.User, &m.User}, {&n.UserID, &m.UserID}, {&n.Target, &m.Target}, {&n.TargetID, &m.TargetID},
		{&n.Group, &m.Group}, {&n.Host, &m.Host}, {&n.TTY, &m.TTY}, {&n.Method, &m.Method}, {&n.KeyType, &m.KeyType},
		{&n.Fingerprint, &m.Fingerprint}, {&n.Certificate, &m.Certificate}, {&n.Command, &m.Command}, {&n.Cwd, &m.Cwd},
		{&n.Detail, &m.Detail},
	} {
		if *f.to == "" {
			*f.to = *f.from
		}
	}
	if specific(m.Reason) > specific(n.Reason) {
		n.Reason = m.Reason
	}
	if n.Session == 0 {
		n.Session = m.Session
	}
	if !n.Remote.IsValid() {
		n.Remote = m.Remote
	}
	if n.Port == 0 {
		n.Port = m.Port
	}
	n.Repeats = max(n.Repeats, m.Repeats)
	n.Unverified = n.Unverified && m.Unverified
	n.weak = n.weak && m.weak
	if m.At.Before(n.At) {
		n.At = m.At
	}
	n.addSource(m.Sources...)
}

func (n *note) addSource(names ...string) {
	for _, s := range names {
		if i, ok := slices.BinarySearch(n.Sources, s); !ok {
			n.Sources = slices.Insert(n.Sources, i, s)
		}
	}
}

// agrees reports whether two notes may tell of the same.
func (n *note) agrees(m *note) bool {
	same := func(a, b string) bool { return a == "" || b == "" || strings.EqualFold(a, b) }
	switch {
	case !n.apart && !m.apart && n.PID != 0 && m.PID != 0 && n.PID != m.PID: // first: it parts most
	case n.Action != m.Action && !(n.Action == Found && m.Action == Success):
	case !same(n.User, m.User) || !same(n.UserID, m.UserID) || !same(n.Target, m.Target) || !same(n.Group, m.Group):
	case !n.loose && !m.loose && !same(n.Program, m.Program):
	case n.Session != 0 && m.Session != 0 && n.Session != m.Session && !takesOn(n.Program):
	case n.Remote.IsValid() && m.Remote.IsValid() && n.Remote != m.Remote:
	case !same(n.TTY, m.TTY):
	case n.Account && (n.Reason == "") != (m.Reason == ""): // done, and refused
	case !n.weak && !m.weak && (n.Reason == tooMany) != (m.Reason == tooMany):
	case !n.weak && !m.weak && !same(n.Command, m.Command):
	default:
		return true
	}
	return false
}
