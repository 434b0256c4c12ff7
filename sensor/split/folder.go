// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket"
)

// UserName is the user that the agent runs as, when the host has one of this
// name. Otherwise it is a number that no distribution gives out: systemd keeps
// the range from 60578 to 61183 unused.
const (
	UserName    = "picket-sensor"
	defaultUser = 60900
)

// account is a user and its group.
type account struct{ uid, gid uint32 }

// agentAccount finds the user in the text of a passwd file.
func agentAccount(passwd []byte) *account {
	s := bufio.NewScanner(bytes.NewReader(passwd))
	for s.Scan() {
		f := strings.Split(s.Text(), ":")
		if len(f) < 4 || f[0] != UserName {
			continue
		}
		uid, uerr := strconv.ParseUint(f[2], 10, 32)
		gid, gerr := strconv.ParseUint(f[3], 10, 32)
		if uerr == nil && gerr == nil && uid != 0 && gid != 0 {
			return &account{uint32(uid), uint32(gid)}
		}
	}
	return &account{defaultUser, defaultUser}
}

// readPasswd reads at most a part of the file that no host exceeds.
func readPasswd() []byte {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 16<<20))
	if err != nil {
		return nil
	}
	return b
}

// ours are the entries of a data folder that change hands: nothing else that
// may lie there is touched.
func ours(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case ".", "farewell", "identity", "lock", "policy.json", "spool":
		return true
	}
	return strings.HasPrefix(first, ".identity-") || strings.HasPrefix(first, ".policy.json-")
}

// adopt gives a data folder to a user, closes it to all others, and returns it
// open. Only files of root and of that user's that have one name are taken, by
// their descriptors: who can write in the folder cannot have a file given to
// them that is not theirs.
func adopt(dir string, to account) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if info.Mode()&os.ModeSticky != 0 || info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("data folder %s: others can write in it; give the sensor a folder of its own: %w", dir, picket.Invalid)
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !ours(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.IsDir() && !d.Type().IsRegular() {
			return nil
		}
		return give(root, name, to)
	})
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", path.Clean(dir), err)
	}
	f, err := root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	return f, nil
}

// give changes the owner of one file or folder.
func give(root *os.Root, name string, to account) error {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	folder := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !folder && (st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1) {
		return nil
	}
	if !slices.Contains([]uint32{0, to.uid, defaultUser, agentAccount(readPasswd()).uid}, st.Uid) {
		return fmt.Errorf("%s belongs to user %d: %w", name, st.Uid, picket.Denied)
	}
	if st.Mode&0o077 != 0 { // by its owner: the capability to do it for others is not needed
		if err := f.Chown(0, 0); err != nil {
			return fmt.Errorf("close %s to others: %w", name, err)
		}
		st.Uid, st.Gid = 0, 0
		if err := f.Chmod(os.FileMode(st.Mode & 0o700)); err != nil {
			return fmt.Errorf("close %s to others: %w", name, err)
		}
	}
	if st.Uid == to.uid && st.Gid == to.gid {
		return nil
	}
	return f.Chown(int(to.uid), int(to.gid))
}

// Reclaim gives a data folder back to root, for a sensor that runs as one
// process after it has run as three.
func Reclaim(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return nil // there is nothing to give back
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid == 0 {
		return nil
	}
	f, err := adopt(dir, account{})
	if err != nil {
		return err
	}
	return f.Close()
}
