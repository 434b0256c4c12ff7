// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bufio"
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket/sensor/linux/record"
)

const maxAccountFile = 4 << 20

// users turns numeric ids into names by the account files of the host. Names
// from a directory service are not known: nothing here asks the network.
type users struct {
	passwd, group string // paths
	checked       time.Time
	stamp         [2]time.Time
	names         map[uint32]string
	ids           map[string]uint32
	admins        map[string]bool
}

func newUsers(passwd, group string) *users {
	u := &users{passwd: passwd, group: group}
	u.load()
	return u
}

// refresh reads the files again when they changed, at most once a second.
func (u *users) refresh() {
	now := time.Now()
	if now.Sub(u.checked) < time.Second {
		return
	}
	u.checked = now
	if u.stamps() != u.stamp {
		u.load()
	}
}

func (u *users) stamps() (s [2]time.Time) {
	for i, name := range []string{u.passwd, u.group} {
		if st, err := os.Stat(name); err == nil {
			s[i] = st.ModTime()
		}
	}
	return s
}

func (u *users) load() {
	u.stamp = u.stamps()
	u.names, u.ids = parsePasswd(readSome(u.passwd, maxAccountFile))
	u.admins = parseAdmins(readSome(u.group, maxAccountFile))
}

// name returns the account of a user id, or "" when the host does not know it.
func (u *users) name(uid uint32) string {
	if n, ok := u.names[uid]; ok {
		return n
	}
	return ""
}

// id returns the user id of an account.
func (u *users) id(name string) (uint32, bool) {
	id, ok := u.ids[name]
	return id, ok
}

// admin reports whether an account administers the host.
func (u *users) admin(name string) bool {
	if id, ok := u.ids[name]; ok && id == 0 {
		return true
	}
	return name == "root" || u.admins[name]
}

// parsePasswd reads lines name:password:uid:... The first entry of an id names
// it, as the system library does.
func parsePasswd(b []byte) (map[uint32]string, map[string]uint32) {
	names, ids := map[uint32]string{}, map[string]uint32{}
	for line := range lines(b) {
		f := strings.Split(line, ":")
		if len(f) < 4 || f[0] == "" || f[0][0] == '#' {
			continue
		}
		id, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			continue
		}
		name := record.Clean(f[0])
		if _, ok := names[uint32(id)]; !ok {
			names[uint32(id)] = strings.ToLower(name)
		}
		if _, ok := ids[name]; !ok {
			ids[name] = uint32(id)
		}
	}
	return names, ids
}

// parseAdmins reads lines group:password:gid:member,member.
func parseAdmins(b []byte) map[string]bool {
	admins := map[string]bool{}
	for line := range lines(b) {
		f := strings.Split(line, ":")
		if len(f) < 4 || !slices.Contains([]string{"sudo", "wheel", "admin"}, f[0]) {
			continue
		}
		for _, name := range strings.Split(f[3], ",") {
			if name != "" {
				admins[record.Clean(name)] = true
			}
		}
	}
	return admins
}

// lines yields the lines of a file; one longer than 64 KiB ends the reading.
func lines(b []byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		s := bufio.NewScanner(bytes.NewReader(b))
		for s.Scan() {
			if !yield(s.Text()) {
				return
			}
		}
	}
}
