// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAgentAccount(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]account{
		"":                                {defaultUser, defaultUser},
		"root:x:0:0:root:/root:/bin/sh\n": {defaultUser, defaultUser},
		"picket-sensor:x:998:997::/:/usr/sbin/nologin\n": {998, 997},
		"a:x:1:1::/:/x\npicket-sensor:x:998:997::/:/x":   {998, 997},
		"picket-sensor:x:0:0::/:/x\n":                    {defaultUser, defaultUser},
		"picket-sensor:x:-1:5::/:/x\n":                   {defaultUser, defaultUser},
		"picket-sensor:x\n":                              {defaultUser, defaultUser},
	} {
		if got := *agentAccount([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzAgentAccount(f *testing.F) {
	f.Add([]byte("picket-sensor:x:998:997::/:/x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a := agentAccount(b); a.uid == 0 || a.gid == 0 {
			t.Error("root")
		}
	})
}

// TestAdopt: what is the sensor's changes hands and is closed to others; links
// to what is not, and strangers' files, stay as they are.
func TestAdopt(t *testing.T) {
	t.Parallel()
	if err := Possible(); err != nil {
		t.Skip(err)
	}
	top := t.TempDir()
	dir, outside := filepath.Join(top, "data"), filepath.Join(top, "outside")
	write := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{outside, dir + "/identity", dir + "/spool/1.seg", dir + "/notes.txt"} {
		write(name)
	}
	for name, link := range map[string]func(string, string) error{"/policy.json": os.Symlink, "/lock": os.Link} {
		if err := link(outside, dir+name); err != nil {
			t.Fatal(err)
		}
	}
	to := account{defaultUser, defaultUser}
	f, err := adopt(dir, to)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	for name, uid := range map[string]uint32{dir: to.uid, dir + "/identity": to.uid, dir + "/spool": to.uid, dir + "/spool/1.seg": to.uid, dir + "/notes.txt": 0, outside: 0} {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil {
			t.Fatal(err)
		}
		if st.Uid != uid || uid != 0 && st.Mode&0o077 != 0 {
			t.Errorf("%s belongs to %d, mode %o", name, st.Uid, st.Mode)
		}
	}
	if err := os.Chown(dir+"/identity", 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := adopt(dir, to); err == nil {
		t.Error("a stranger's identity was taken")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := adopt(dir, to); err == nil {
		t.Error("a folder that all can write in was taken")
	}
}

// TestReclaim gives a folder back to root.
func TestReclaim(t *testing.T) {
	t.Parallel()
	if err := Possible(); err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	f, err := adopt(dir, account{defaultUser, defaultUser})
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := Reclaim(dir); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil || st.Uid != 0 {
		t.Errorf("belongs to %d: %v", st.Uid, err)
	}
}
