// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"errors"
	"io/fs"
)

// Kind is what a name stands for.
type Kind int

// Kinds of file.
const (
	Regular Kind = iota + 1
	Folder
	Link
	Other // a device, pipe or socket
)

// Info is what is known of a file without its content.
type Info struct {
	Kind      Kind
	Mode      uint32 // type and permission bits
	UID, GID  uint32
	Nlink     uint32
	Dev       uint64
	Ino       uint64
	Size      int64
	CtimeSec  int64
	CtimeNsec int64
	Target    string // of a link
}

// Tree is a tree of files that is read and never written.
type Tree interface {
	// Look tells what is at a path, without following a last link.
	Look(path string) (Info, error)
	// Read also returns up to limit bytes of a regular file, and nothing of
	// one that is larger.
	Read(path string, limit int64) (Info, []byte, error)
	// List returns up to limit names in a folder.
	List(path string, limit int) ([]string, error)
	// Real returns the path of a folder without links, "" when it has none.
	Real(path string) string
}

// ErrUnread is returned for a file that must not or cannot be read.
var ErrUnread = errors.New("cannot be read")

// gone reports whether an error says that there is no such file.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
