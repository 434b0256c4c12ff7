// SPDX-License-Identifier: Apache-2.0

//go:build linux

package audit

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	maxText   = 64 << 10
	maxFields = 1024
	maxArgs   = 4096
)

// Types of message, as the kernel and libaudit number them.
const (
	Login             = 1006
	UserAuth          = 1100
	UserAcct          = 1101
	UserMgmt          = 1102
	CredAcq           = 1103
	CredDisp          = 1104
	UserStart         = 1105
	UserEnd           = 1106
	UserAvc           = 1107
	UserChauthtok     = 1108
	UserErr           = 1109
	CredRefr          = 1110
	UserLogin         = 1112
	UserLogout        = 1113
	AddUser           = 1114
	DelUser           = 1115
	AddGroup          = 1116
	DelGroup          = 1117
	UserCmd           = 1123
	GrpMgmt           = 1132
	AcctLock          = 1135
	AcctUnlock        = 1136
	DaemonStart       = 1200
	DaemonEnd         = 1201
	DaemonAbort       = 1202
	DaemonConfig      = 1203
	Syscall           = 1300
	Path              = 1302
	ConfigChange      = 1305
	Sockaddr          = 1306
	Cwd               = 1307
	Execve            = 1309
	EOE               = 1320
	Proctitle         = 1327
	AnomPromiscuous   = 1700
	AnomAbend         = 1701
	AnomLoginFailures = 2100
	AnomLoginTime     = 2101
	AnomLoginSessions = 2102
	AnomLoginAcct     = 2103
	AnomLoginLocation = 2104
)

// names of the types, as logs write them.
var names = map[string]uint16{
	"LOGIN": Login, "USER_AUTH": UserAuth, "USER_ACCT": UserAcct, "USER_MGMT": UserMgmt, "CRED_ACQ": CredAcq, "CRED_DISP": CredDisp,
	"USER_START": UserStart, "USER_END": UserEnd, "USER_AVC": UserAvc, "USER_CHAUTHTOK": UserChauthtok, "USER_ERR": UserErr, "CRED_REFR": CredRefr,
	"USER_LOGIN": UserLogin, "USER_LOGOUT": UserLogout, "ADD_USER": AddUser, "DEL_USER": DelUser, "ADD_GROUP": AddGroup, "DEL_GROUP": DelGroup,
	"USER_CMD": UserCmd, "GRP_MGMT": GrpMgmt, "ACCT_LOCK": AcctLock, "ACCT_UNLOCK": AcctUnlock, "DAEMON_START": DaemonStart, "DAEMON_END": DaemonEnd,
	"DAEMON_ABORT": DaemonAbort, "DAEMON_CONFIG": DaemonConfig, "SYSCALL": Syscall, "PATH": Path, "CONFIG_CHANGE": ConfigChange,
	"SOCKADDR": Sockaddr, "CWD": Cwd, "EXECVE": Execve, "EOE": EOE, "PROCTITLE": Proctitle, "ANOM_PROMISCUOUS": AnomPromiscuous,
	"ANOM_ABEND": AnomAbend, "ANOM_LOGIN_FAILURES": AnomLoginFailures, "ANOM_LOGIN_TIME": AnomLoginTime,
	"ANOM_LOGIN_SESSIONS": AnomLoginSessions, "ANOM_LOGIN_ACCT": AnomLoginAcct, "ANOM_LOGIN_LOCATION": AnomLoginLocation,
}

// Name is what logs call a type; a number in brackets for one that has no name
// here.
func Name(typ uint16) string {
	for name, t := range names {
		if t == typ {
			return name
		}
	}
	return "UNKNOWN[" + strconv.Itoa(int(typ)) + "]"
}

// coded are the fields whose values a program or a user chose. The kernel
// writes them in quotes, or in hexadecimal digits where quotes would not hold.
var coded = map[string]bool{
	"acct": true, "cmd": true, "comm": true, "cwd": true, "data": true, "dir": true, "exe": true, "file": true, "grp": true, "key": true,
	"name": true, "new-name": true, "ocomm": true, "path": true, "proctitle": true, "saddr": true, "sw": true, "vm": true, "watch": true,
}

// Field is one of a message. The value is decoded and may hold any bytes.
type Field struct{ Key, Value string }

// Record is one message. Those of one event share time and serial number.
type Record struct {
	Type   uint16
	Time   time.Time
	Serial uint64
	Fields []Field
}

// Get returns the first value of a key as text fit for a row; "" when there is
// none, or the message says that it is not known.
func (r *Record) Get(key string) string {
	for _, f := range r.Fields {
		if f.Key == key {
			if f.Value == "?" || f.Value == "(null)" || f.Value == "(none)" {
				return ""
			}
			return record.Clean(f.Value)
		}
	}
	return ""
}

// ID returns a number such as a user, process or session, and whether there is
// one: the kernel writes the largest for none.
func (r *Record) ID(key string) (uint32, bool) {
	n, err := strconv.ParseUint(r.Get(key), 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, false
	}
	return uint32(n), true
}

// Succeeded reports whether what the message is about came about, and whether
// it says so.
func (r *Record) Succeeded() (ok, known bool) {
	for _, key := range []string{"res", "success", "result"} {
		switch r.Get(key) {
		case "success", "1", "yes":
			return true, true
		case "failed", "0", "no":
			return false, true
		}
	}
	return false, false
}

// ParseLine reads a line of a log of auditd: "type=NAME msg=audit(...): ...".
func ParseLine(line string) (Record, error) {
	line = strings.TrimSpace(line)
	if rest, ok := strings.CutPrefix(line, "node="); ok {
		_, line, _ = strings.Cut(rest, " ")
	}
	rest, ok := strings.CutPrefix(line, "type=")
	name, text, more := strings.Cut(rest, " msg=")
	if !ok || !more {
		return Record{}, fmt.Errorf("no line of an audit log: %w", picket.Invalid)
	}
	typ, known := names[name]
	if !known {
		number, isNumber := strings.CutPrefix(strings.TrimSuffix(name, "]"), "UNKNOWN[")
		if n, err := strconv.ParseUint(number, 10, 16); err == nil && isNumber {
			typ = uint16(n)
		}
	}
	return Parse(typ, text)
}

// Parse reads a message as the kernel sends it: "audit(TIME:SERIAL): ...".
func Parse(typ uint16, text string) (Record, error) {
	r := Record{Type: typ}
	if len(text) > maxText {
		return r, fmt.Errorf("audit message of %d bytes: %w", len(text), picket.TooLarge)
	}
	text = strings.TrimRight(text, "\x00\n ")
	head, body, _ := strings.Cut(text, ")")
	if stamp, ok := strings.CutPrefix(head, "audit("); !ok || !r.stamp(stamp) {
		return r, fmt.Errorf("audit message without time: %w", picket.Invalid)
	}
	body, _, _ = strings.Cut(strings.TrimPrefix(body, ":"), "\x1d") // behind it auditd repeats numbers as names
	r.fields(body, "")
	return r, nil
}

func (r *Record) stamp(s string) bool {
	at, serial, ok := strings.Cut(s, ":")
	seconds, millis, dot := strings.Cut(at, ".")
	sec, err1 := strconv.ParseUint(seconds, 10, 40)
	ms, err2 := strconv.ParseUint(millis, 10, 10)
	n, err3 := strconv.ParseUint(serial, 10, 64)
	if !ok || !dot || err1 != nil || err2 != nil || err3 != nil || ms > 999 {
		return false
	}
	r.Time, r.Serial = time.Unix(int64(sec), int64(ms)*int64(time.Millisecond)), n
	return true
}

// fields reads KEY=VALUE parts. What a program said stands in quotes under the
// key msg and holds fields itself; the words before the first are its op.
func (r *Record) fields(s, op string) {
	var words []string
	for s = strings.TrimLeft(s, " ,("); s != "" && len(r.Fields) < maxFields; s = strings.TrimLeft(s, " ,(") {
		i := strings.IndexAny(s, "= ")
		if i < 0 || s[i] == ' ' {
			word, rest, _ := strings.Cut(s, " ")
			words, s = r.word(words, word), rest
			continue
		}
		key := s[:i]
		if inner, ok := strings.CutPrefix(s[i+1:], "'"); ok && key == "msg" {
			end := strings.LastIndexByte(inner, '\'')
			if end < 0 {
				end = len(inner)
			}
			r.fields(inner[:end], "op")
			s = inner[min(end+1, len(inner)):]
			continue
		}
		value, rest := cutValue(s[i+1:])
		if op != "" && key != op && len(words) > 0 && len(r.Fields) < maxFields {
			r.Fields = append(r.Fields, Field{op, strings.Join(words, " ")})
		}
		words = nil
		r.Fields = append(r.Fields, Field{key, r.decode(key, value)})
		s = rest
	}
	if op != "" && len(words) > 0 {
		r.Fields = append(r.Fields, Field{op, strings.Join(words, " ")})
	}
}

// word takes one that belongs to no field: older programs wrote "op=adding user".
func (r *Record) word(words []string, word string) []string {
	if n := len(r.Fields); n > 0 && r.Fields[n-1].Key == "op" && word != ":" {
		r.Fields[n-1].Value += " " + word
		return words
	}
	if word == ":" || len(words) > 16 {
		return words
	}
	return append(words, word)
}

// cutValue cuts a value from what follows it.
func cutValue(s string) (value, rest string) {
	if strings.HasPrefix(s, `"`) {
		if end := strings.IndexByte(s[1:], '"'); end >= 0 {
			return s[:end+2], s[end+2:]
		}
	}
	value = s
	if i := strings.IndexAny(s, " ,"); i >= 0 {
		value, rest = s[:i], s[i:]
	}
	if !strings.HasPrefix(value, "(") {
		value = strings.TrimRight(value, ")'") // of the words around it
	}
	return value, rest
}

// decode takes quotes off, or turns digits back into what they stand for.
func (r *Record) decode(key, s string) string {
	if len(s) >= 2 && s[0] == '"' {
		return s[1 : len(s)-1]
	}
	if (coded[key] || r.Type == Execve && argument(key) >= 0) && len(s) >= 2 && len(s)%2 == 0 && strings.Trim(s, "0123456789ABCDEF") == "" {
		if b, err := hex.DecodeString(s); err == nil {
			return string(b)
		}
	}
	return s
}

// argument is N in aN or aN[M], the keys of arguments; -1 for others.
func argument(key string) int {
	rest, ok := strings.CutPrefix(key, "a")
	number, _, _ := strings.Cut(rest, "[")
	n, err := strconv.ParseUint(number, 10, 16)
	if !ok || err != nil {
		return -1
	}
	return int(n)
}

// Args joins the arguments of a started program from the messages of one
// event: long ones come in pieces, over several messages.
func Args(records []Record) []string {
	pieces := map[int]*strings.Builder{}
	top := -1
	for _, r := range records {
		if r.Type != Execve {
			continue
		}
		for _, f := range r.Fields {
			n := argument(f.Key)
			if n < 0 || n >= maxArgs {
				continue
			}
			if pieces[n] == nil {
				pieces[n] = &strings.Builder{}
			}
			pieces[n].WriteString(f.Value)
			top = max(top, n)
		}
	}
	out := make([]string, top+1)
	for n, b := range pieces {
		out[n] = record.Clean(b.String())
	}
	return out
}

// Title is the command line in a PROCTITLE message, arguments parted by blanks.
func (r *Record) Title() string {
	i := slices.IndexFunc(r.Fields, func(f Field) bool { return f.Key == "proctitle" })
	if i < 0 {
		return ""
	}
	return record.Clean(strings.ReplaceAll(strings.TrimRight(r.Fields[i].Value, "\x00"), "\x00", " "))
}
