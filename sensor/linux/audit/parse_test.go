// SPDX-License-Identifier: Apache-2.0

//go:build linux

package audit

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseLines(t *testing.T) {
	t.Parallel()
	at := time.Unix(1481077043, 57e6)
	for line, want := range map[string]Record{
		`type=USER_LOGIN msg=audit(1481077043.057:42120): pid=18981 uid=0 auid=4294967295 ses=4294967295 msg='op=login acct=28696E76616C6964207573657229 exe="/usr/sbin/sshd" hostname=? addr=46.160.144.250 terminal=ssh res=failed'`: {
			Type: UserLogin, Time: at, Serial: 42120, Fields: []Field{{"pid", "18981"}, {"uid", "0"}, {"auid", "4294967295"}, {"ses", "4294967295"}, {"op", "login"},
				{"acct", "(invalid user)"}, {"exe", "/usr/sbin/sshd"}, {"hostname", "?"}, {"addr", "46.160.144.250"}, {"terminal", "ssh"}, {"res", "failed"}}},
		`node=h type=USER_CMD msg=audit(1481077043.057:1): user pid=3 uid=4 msg='cwd="/a b" cmd=6C73202D6C terminal=pts/0 res=success'` + "\x1d" + `UID="root"`: {
			Type: UserCmd, Time: at, Serial: 1, Fields: []Field{{"pid", "3"}, {"uid", "4"}, {"cwd", "/a b"}, {"cmd", "ls -l"}, {"terminal", "pts/0"}, {"res", "success"}}},
		`type=USER_START msg=audit(1481077043.057:1): user pid=3 msg='PAM: session open acct=root : exe="/usr/sbin/crond" (hostname=?, addr=?, terminal=cron res=success)'`: {
			Type: UserStart, Time: at, Serial: 1, Fields: []Field{{"pid", "3"}, {"op", "PAM: session open"}, {"acct", "root"}, {"exe", "/usr/sbin/crond"}, {"hostname", "?"},
				{"addr", "?"}, {"terminal", "cron"}, {"res", "success"}}},
		`type=ADD_USER msg=audit(1481077043.057:1): pid=3 msg='op=adding user id=1001 exe="/usr/sbin/useradd" res=success'`: {
			Type: AddUser, Time: at, Serial: 1, Fields: []Field{{"pid", "3"}, {"op", "adding user"}, {"id", "1001"}, {"exe", "/usr/sbin/useradd"}, {"res", "success"}}},
		`type=SYSCALL msg=audit(1481077043.057:1): arch=c000003e syscall=59 success=yes a0=4012 a1=40 tty=(none) comm="x" key=(null)`: {
			Type: Syscall, Time: at, Serial: 1, Fields: []Field{{"arch", "c000003e"}, {"syscall", "59"}, {"success", "yes"}, {"a0", "4012"}, {"a1", "40"}, {"tty", "(none)"},
				{"comm", "x"}, {"key", "(null)"}}},
		`type=DAEMON_START msg=audit(1481077043.057:7): auditd start, ver=2.4.1 format=raw res=success`: {
			Type: DaemonStart, Time: at, Serial: 7, Fields: []Field{{"ver", "2.4.1"}, {"format", "raw"}, {"res", "success"}}},
		`type=UNKNOWN[1334] msg=audit(1481077043.057:7): prog-id=4 op=LOAD`: {Type: 1334, Time: at, Serial: 7, Fields: []Field{{"prog-id", "4"}, {"op", "LOAD"}}},
		`type=EOE msg=audit(1481077043.057:7): `:                            {Type: EOE, Time: at, Serial: 7},
	} {
		got, err := ParseLine(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n%s", line, diff)
		}
	}
}

func TestLinesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "type=USER_CMD", "type=X msg=audit(", "type=X msg=audit(1:2): a=b", "type=X msg=audit(1.2:x): a=b", "type=X msg=audit(1.1000:1): a=b",
		"msg=audit(1.2:3): a=b", "type=X msg=" + strings.Repeat("x", maxText+1)} {
		if r, err := ParseLine(line); err == nil {
			t.Errorf("%.40q became %+v", line, r)
		}
	}
}

func TestRecordValues(t *testing.T) {
	t.Parallel()
	r, err := Parse(UserAuth, "audit(1.000:1): pid=7 auid=4294967295 ses=x acct=FF41 addr=? res=failed")
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := r.ID("pid"); !ok || id != 7 {
		t.Errorf("pid %d, %v", id, ok)
	}
	for _, key := range []string{"auid", "ses", "none"} {
		if id, ok := r.ID(key); ok {
			t.Errorf("%s is %d", key, id)
		}
	}
	if r.Get("acct") != "\uFFFDA" || r.Get("addr") != "" {
		t.Errorf("acct %q, addr %q", r.Get("acct"), r.Get("addr"))
	}
	if ok, known := r.Succeeded(); ok || !known {
		t.Error("it failed")
	}
	r.Fields = []Field{{"res", "1"}}
	if ok, known := r.Succeeded(); !ok || !known {
		t.Error("it succeeded")
	}
	r.Fields = nil
	if _, known := r.Succeeded(); known {
		t.Error("nothing is known")
	}
	if Name(UserLogin) != "USER_LOGIN" || Name(9) != "UNKNOWN[9]" {
		t.Errorf("%s, %s", Name(UserLogin), Name(9))
	}
}

// Arguments come one by one, and long ones in pieces over several messages.
func TestArgs(t *testing.T) {
	t.Parallel()
	var records []Record
	for _, line := range []string{
		`type=SYSCALL msg=audit(1.000:1): a0=41424344`,
		`type=EXECVE msg=audit(1.000:1): argc=4 a0="sh" a1="-c" a2_len=12 a2[0]="echo "`,
		`type=EXECVE msg=audit(1.000:1): a2[1]=C3`,
		`type=EXECVE msg=audit(1.000:1): a2[2]=A420 a3=20`,
		`type=EXECVE msg=audit(1.000:1): a9999=41`,
		`type=PROCTITLE msg=audit(1.000:1): proctitle=7368002D6300`,
	} {
		r, err := ParseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	if diff := cmp.Diff([]string{"sh", "-c", "echo ä ", " "}, Args(records)); diff != "" {
		t.Error(diff)
	}
	if title := records[5].Title(); title != "sh -c" {
		t.Errorf("title %q", title)
	}
	if title := records[0].Title(); title != "" || len(Args(nil)) != 0 {
		t.Errorf("title %q without one", title)
	}
}

// logs of real hosts lie outside of the repository.
const logs = "../../../../shared/data/auditd"

func TestRealLogs(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(logs); err != nil {
		t.Skip("no logs of real hosts here")
	}
	lines, args := 0, 0
	err := filepath.WalkDir(logs, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".log" && filepath.Ext(path) != ".yaml" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		s := bufio.NewScanner(f)
		for s.Scan() {
			line := strings.TrimSpace(s.Text())
			if !strings.HasPrefix(line, "type=") || !strings.Contains(line, "msg=audit(") {
				continue
			}
			lines++
			r, err := ParseLine(line)
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			if n := strings.Count(line, "="); len(r.Fields) < n/3 {
				t.Errorf("%d fields of %s", len(r.Fields), line)
			}
			if r.Type == Execve {
				args += len(Args([]Record{r}))
			}
		}
		return s.Err()
	})
	if err != nil || lines < 100 || args == 0 {
		t.Errorf("%d lines, %d arguments: %v", lines, args, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(uint16(UserLogin), `audit(1492896301.818:19955): pid=12635 uid=0 msg='op=login acct=28696E76616C6964207573657229 exe="/usr/sbin/sshd" res=failed'`)
	f.Add(uint16(Execve), `audit(1.000:1): argc=2 a0="uname" a1[0]=2D61 a65535=41`)
	f.Add(uint16(Proctitle), `audit(1.000:1): proctitle=2F00`)
	f.Add(uint16(UserStart), "audit(1.000:1): msg='PAM: session open acct=root : (hostname=?, res=success)'\x1dA=b")
	f.Fuzz(func(t *testing.T, typ uint16, text string) {
		r, err := Parse(typ, text)
		if err != nil {
			return
		}
		if len(r.Fields) > maxFields {
			t.Fatalf("%d fields", len(r.Fields))
		}
		if n := len(Args([]Record{r})); n > maxArgs {
			t.Fatalf("%d arguments", n)
		}
		r.Title()
		for _, field := range r.Fields {
			r.Get(field.Key)
		}
	})
}
