// SPDX-License-Identifier: Apache-2.0

//go:build linux

package command

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

// What is told of scripts. Each level has all of those before it.
const (
	ScriptOff     = "off"     // nothing
	ScriptHashes  = "hashes"  // path and hash of the script that an interpreter runs
	ScriptLines   = "lines"   // what is typed into shells; the default
	ScriptContent = "content" // the beginning of script files, once for each content
)

// ScriptLevels lists them, least first.
var ScriptLevels = []string{ScriptOff, ScriptHashes, ScriptLines, ScriptContent}

// Wants reports whether a level, or the default for none, has another.
func Wants(want, level string) bool {
	return slices.Index(ScriptLevels, cmp.Or(want, ScriptLines)) >= slices.Index(ScriptLevels, level)
}

const maxHead = 16 << 10

// Script is the file of a script.
type Script struct {
	Path string // without links
	Part record.ImagePart
	Head []byte // what it begins with, where asked for
}

// OpenScript looks at a script as the process that runs it sees it: no link
// leads out of its root. It may take as long as the disk does.
func OpenScript(root, path string, wantsHead bool) *Script {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, strings.TrimPrefix(path, "/"), &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Fstat(fd, &st) != nil || unix.Fstatfs(fd, &fs) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	own := fmt.Sprintf("/proc/self/fd/%d", fd)
	s := &Script{Part: record.ImagePart{Ino: st.Ino, Size: uint64(st.Size), CtimeSec: st.Ctim.Sec, CtimeNsec: uint32(st.Ctim.Nsec),
		Dev: unix.Major(st.Dev)<<20 | unix.Minor(st.Dev), Mode: st.Mode, Nlink: uint32(st.Nlink), Sup: uint32(fs.Type), UID: st.Uid}}
	if s.Path, err = os.Readlink(own); err != nil {
		return nil
	}
	if wantsHead {
		if f, err := os.Open(own); err == nil {
			s.Head, _ = io.ReadAll(io.LimitReader(f, maxHead)) // what could be read counts
			f.Close()
		}
	}
	return s
}
