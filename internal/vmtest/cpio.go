// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vmtest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File is one file of a guest.
type File struct {
	Mode fs.FileMode // permissions; 0: 0644, or 0755 for Host
	Data []byte      // its content, or
	Host string      // the file of this host that holds it
}

// Types of a file in an archive, as in the mode of an inode.
const (
	typeDir     = 0o040000
	typeRegular = 0o100000
	typeLink    = 0o120000
	typeChar    = 0o020000
)

// cpio writes an archive in the "newc" form, the one that the kernel unpacks
// into its first file system.
type cpio struct {
	w    io.Writer
	ino  int
	dirs map[string]bool
}

func newCpio(w io.Writer) *cpio { return &cpio{w: w, dirs: map[string]bool{"": true}} }

// put writes one entry; name is relative to the root. Size bytes of content
// are taken from r.
func (c *cpio) put(name string, mode uint32, device [2]int, size int64, r io.Reader) error {
	c.ino++
	if size > 0xffffffff {
		return fmt.Errorf("%s is too large for the archive", name)
	}
	_, err := fmt.Fprintf(c.w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00%s",
		c.ino, mode, 0, 0, 1, 0, size, 0, 0, device[0], device[1], len(name)+1, 0, name, padding(110+len(name)+1))
	if err != nil || size == 0 {
		return err
	}
	n, err := io.Copy(c.w, io.LimitReader(r, size))
	if err == nil && n != size {
		err = fmt.Errorf("%s: %d bytes instead of %d", name, n, size)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.w, padding(int(size&3)))
	return err
}

// padding fills up to four bytes.
func padding(n int) string { return "\x00\x00\x00"[:(4-n&3)&3] }

// parents writes the folders above a name that are not there yet.
func (c *cpio) parents(name string) error {
	dir := strings.TrimSuffix(filepath.Dir("/" + name)[1:], "/")
	if c.dirs[dir] {
		return nil
	}
	if err := c.parents(dir); err != nil {
		return err
	}
	return c.dir(dir, 0o755)
}

func (c *cpio) dir(name string, perm fs.FileMode) error {
	if c.dirs[name] {
		return nil
	}
	c.dirs[name] = true
	return c.put(name, typeDir|uint32(perm.Perm()), [2]int{}, 0, nil)
}

// file writes one file and the folders above it.
func (c *cpio) file(name string, f File) error {
	name = strings.TrimPrefix(filepath.Clean("/"+name), "/")
	if err := c.parents(name); err != nil {
		return err
	}
	if f.Host != "" {
		return c.hostFile(name, f)
	}
	perm := f.Mode.Perm()
	if perm == 0 {
		perm = 0o644
	}
	return c.put(name, typeRegular|uint32(perm), [2]int{}, int64(len(f.Data)), bytes.NewReader(f.Data))
}

func (c *cpio) hostFile(name string, f File) error {
	h, err := os.Open(f.Host)
	if err != nil {
		return err
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return err
	}
	perm := f.Mode.Perm()
	if perm == 0 {
		perm = 0o755
	}
	return c.put(name, typeRegular|uint32(perm), [2]int{}, st.Size(), h)
}

// tree writes everything below a folder of this host. Devices and sockets are
// left out: the guest's kernel makes its own.
func (c *cpio) tree(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || name == "." {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return c.dir(name, st.Mode())
		case st.Mode().IsRegular():
			return c.hostFile(name, File{Mode: st.Mode(), Host: path})
		case st.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return c.put(name, typeLink|0o777, [2]int{}, int64(len(target)), strings.NewReader(target))
		}
		return nil
	})
}

// end closes the archive.
func (c *cpio) end() error { return c.put("TRAILER!!!", 0, [2]int{}, 0, nil) }

// initramfs writes the first file system of a guest.
func (g Guest) initramfs(w io.Writer) error {
	c := newCpio(w)
	if g.Root != "" {
		if err := c.tree(g.Root); err != nil {
			return fmt.Errorf("pack %s: %w", g.Root, err)
		}
	}
	// The kernel opens it for the first process before anything is mounted.
	if err := c.parents("dev/console"); err != nil {
		return err
	}
	if err := c.put("dev/console", typeChar|0o600, [2]int{5, 1}, 0, nil); err != nil {
		return err
	}
	names := make([]string, 0, len(g.Files))
	for name := range g.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := c.file(name, g.Files[name]); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := c.file("init", File{Host: g.Init, Mode: 0o755}); err != nil {
		return fmt.Errorf("pack the first program: %w", err)
	}
	return c.end()
}
