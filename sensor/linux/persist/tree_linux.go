// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/procfs"
	"golang.org/x/sys/unix"
)

// HostTree is a tree of the running host. Links within it are followed as if
// its root were that of the host; none leads out of it.
type HostTree struct {
	root   *os.File
	how    uint64   // how names are resolved
	remote []string // mount points that another host or a program serves
}

var _ Tree = (*HostTree)(nil)

// OpenHost opens the tree at root. With stay set it ends where another file
// system is mounted, which for a tree of somebody else may be anything.
func OpenHost(root string, stay bool) (*HostTree, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open tree %s: %w", root, err)
	}
	t := &HostTree{root: os.NewFile(uintptr(fd), root), how: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if stay {
		t.how |= unix.RESOLVE_NO_XDEV
	} else if root == "/" {
		t.remote = remoteMounts(mountTable())
	}
	return t, nil
}

// Close lets go of the tree.
func (t *HostTree) Close() error { return t.root.Close() }

// mountTable reads what is mounted. A file that is gone or cut tells less.
func mountTable() []byte { return procfs.ReadSome("/proc/self/mounts", 4<<20) }

// remoteMounts lists the mount points, other than the root, that may not
// answer: those of other hosts, of programs, and those made on first use.
func remoteMounts(mounts []byte) []string {
	kinds := []string{"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "coda", "autofs", "glusterfs", "virtiofs"}
	var out []string
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[1] == "/" {
			continue
		}
		if slices.Contains(kinds, f[2]) || strings.HasPrefix(f[2], "fuse") {
			out = append(out, strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(f[1]))
		}
	}
	return out
}

func (t *HostTree) served(name string) bool {
	for _, m := range t.remote {
		if name == m || strings.HasPrefix(name, m+"/") {
			return true
		}
	}
	return false
}

// hold finds a file without opening it, as the name may be that of a device.
func (t *HostTree) hold(name string) (*os.File, Info, error) {
	if t.served(name) {
		return nil, Info{}, ErrUnread
	}
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	if rel == "" {
		rel = "."
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: t.how}
	fd, err := unix.Openat2(int(t.root.Fd()), rel, &how)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return nil, Info{}, fmt.Errorf("find %s: %w", name, os.ErrNotExist)
	case err != nil:
		return nil, Info{}, fmt.Errorf("find %s: %w: %w", name, ErrUnread, err)
	}
	f := os.NewFile(uintptr(fd), name)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		f.Close()
		return nil, Info{}, fmt.Errorf("look at %s: %w: %w", name, ErrUnread, err)
	}
	i := Info{Kind: Other, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Nlink: uint32(st.Nlink), Dev: st.Dev, Ino: st.Ino, Size: st.Size,
		CtimeSec: st.Ctim.Sec, CtimeNsec: st.Ctim.Nsec}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		i.Kind = Regular
	case unix.S_IFDIR:
		i.Kind = Folder
	case unix.S_IFLNK:
		i.Kind = Link
		buf := make([]byte, unix.PathMax)
		if n, err := unix.Readlinkat(fd, "", buf); err == nil {
			i.Target = string(buf[:n])
		}
	}
	return f, i, nil
}

// Look tells what is at a path.
func (t *HostTree) Look(name string) (Info, error) {
	f, i, err := t.hold(name)
	if err != nil {
		return Info{}, err
	}
	return i, f.Close()
}

// Read returns the content of a regular file, unless it is larger than limit.
func (t *HostTree) Read(name string, limit int64) (Info, []byte, error) {
	held, i, err := t.hold(name)
	if err != nil {
		return Info{}, nil, err
	}
	defer held.Close()
	if i.Kind != Regular || i.Size > limit {
		return i, nil, nil
	}
	f, err := reopen(held, unix.O_NONBLOCK|unix.O_NOATIME)
	if err != nil {
		return i, nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return i, nil, fmt.Errorf("read %s: %w: %w", name, ErrUnread, err)
	}
	if int64(len(b)) > limit {
		return i, nil, nil // grew meanwhile
	}
	return i, b, nil
}

// reopen opens a file that is held, by what it is and not by its name.
func reopen(held *os.File, flags int) (*os.File, error) {
	name := fmt.Sprintf("/proc/self/fd/%d", held.Fd())
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if errors.Is(err, unix.EPERM) { // not every file system lets its times be
		fd, err = unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|flags&^unix.O_NOATIME, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w: %w", held.Name(), ErrUnread, err)
	}
	return os.NewFile(uintptr(fd), held.Name()), nil
}

// List returns names in a folder.
func (t *HostTree) List(name string, limit int) ([]string, error) {
	held, i, err := t.hold(name)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	if i.Kind != Folder {
		return nil, nil // the target of a link is looked at by its own name
	}
	f, err := reopen(held, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(limit)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list %s: %w: %w", name, ErrUnread, err)
	}
	slices.Sort(names)
	return names, nil
}

// Real returns the path of a folder without links.
func (t *HostTree) Real(name string) string {
	if t.served(name) {
		return ""
	}
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	if rel == "" {
		return "/"
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: t.how}
	fd, err := unix.Openat2(int(t.root.Fd()), rel, &how)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return ""
	}
	if real, ok := strings.CutPrefix(real, strings.TrimSuffix(t.root.Name(), "/")); ok && strings.HasPrefix(real, "/") {
		return real
	}
	return ""
}
