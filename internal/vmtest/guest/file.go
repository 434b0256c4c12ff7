// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

// fileRungs are all rungs by programs in the kernel.
var fileRungs = []string{"lsm", "fentry", "kprobe", "kprobe-old", "tracepoint", "tracepoint-old"}

var fileKinds = []Kind{
	{
		Name: "file created", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does: "makes a file and writes five bytes to it",
		Do:   func(a *Act) error { return os.WriteFile(a.Path("new"), []byte("12345"), 0o640) },
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool {
			return r.FolderPath == a.Path("new") && r.FileName == "new" && r.FileSize == 5 && r.FileMode&0o777 == 0o640 && r.FileInode != 0
		}),
		Rungs: fileRungs,
	},
	{
		Name: "file modified", Hook: "file", Table: "DeviceFileEvents", Action: "FileModified",
		Does:  "appends to a file that was there",
		Do:    appends,
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("old") && r.FileSize == 10 }),
		Rungs: fileRungs,
	},
	{
		Name: "file renamed", Hook: "file", Table: "DeviceFileEvents", Action: "FileRenamed",
		Does: "renames a file",
		Do: func(a *Act) error {
			return errors.Join(os.WriteFile(a.Path("from"), nil, 0o600), os.Rename(a.Path("from"), a.Path("to")))
		},
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool {
			return r.FolderPath == a.Path("to") && r.PreviousFolderPath == a.Path("from")
		}),
		Rungs: fileRungs,
	},
	{
		Name: "file deleted", Hook: "file", Table: "DeviceFileEvents", Action: "FileDeleted",
		Does:  "removes a file by a name that is relative to the working folder",
		Do:    func(a *Act) error { return errors.Join(os.WriteFile(a.Path("gone"), nil, 0o600), os.Remove("gone")) },
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("gone") }),
		Rungs: fileRungs,
	},
	{
		Name: "file linked", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does: "gives a file a second name",
		Do: func(a *Act) error {
			return errors.Join(os.WriteFile(a.Path("first"), nil, 0o600), os.Link(a.Path("first"), a.Path("second")))
		},
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool {
			return r.FolderPath == a.Path("second") && strings.Contains(r.AdditionalFields, "HardLink")
		}),
		Rungs: fileRungs,
	},
	{
		Name: "symbolic link made", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does: "makes a symbolic link",
		Do:   func(a *Act) error { return os.Symlink("/etc/shadow", a.Path("link")) },
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool {
			return r.FolderPath == a.Path("link") && strings.Contains(r.AdditionalFields, "/etc/shadow")
		}),
		Rungs: fileRungs,
	},
	{
		Name: "file truncated", Hook: "file", Table: "DeviceFileEvents", Action: "FileModified",
		Does: "cuts a file by its name",
		Do: func(a *Act) error {
			return errors.Join(os.WriteFile(a.Path("cut"), []byte("12345"), 0o600), os.Truncate(a.Path("cut"), 2))
		},
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool {
			return r.FolderPath == a.Path("cut") && strings.Contains(r.AdditionalFields, "Truncated")
		}),
		Rungs: fileRungs,
	},
	{
		Name: "file forty folders down", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does:  "makes a file below forty folders",
		Do:    deep(40),
		Match: where(isDeep(40)),
		Rungs: fileRungs,
	},
	{
		Name: "file a hundred folders down", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does:  "makes a file below a hundred folders",
		Do:    deep(100),
		Match: where(isDeep(100)),
		Rungs: fileRungs,
		Gaps:  []Gap{{Rung: "tracepoint-old", Why: "the row has the lowest 48 parts of the path"}, {Rung: "kprobe-old", Why: "the row has the lowest 48 parts of the path"}},
	},
	{
		Name: "file left open at the end", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does:  "writes a file and ends without closing it",
		Do:    func(a *Act) error { return leaves(a, "left", 0) },
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("left") && r.FileSize == 5 }),
		Rungs: fileRungs,
	},
	{
		Name: "file left open at a start", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does: "writes a file and starts another image, which closes it",
		Do: func(a *Act) error {
			return errors.Join(leaves(a, "left", unix.O_CLOEXEC), unix.Exec("/proc/self/exe", []string{"x", marker, "exit", "0"}, nil))
		},
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("left") && r.FileSize == 5 }),
		Rungs: fileRungs,
	},
	{
		Name: "files closed together", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does: "writes a file, closes a range of descriptors with it and renames it",
		Do: func(a *Act) error {
			return errors.Join(leaves(a, "ranged", unix.O_CLOEXEC), unix.CloseRange(100, 5000, 0),
				os.Rename(a.Path("ranged"), a.Path("moved"))) // what ends later has the other name
		},
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool {
			return r.FolderPath == a.Path("ranged") && r.FileSize == 5 && r.AdditionalFields == ""
		}),
		Rungs: fileRungs,
	},
}

func appends(a *Act) error {
	if err := os.WriteFile(a.Path("old"), []byte("12345"), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(a.Path("old"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("67890")
	return errors.Join(err, f.Close())
}

// deep makes a file below n folders.
func deep(n int) func(*Act) error {
	return func(a *Act) error {
		dir := a.Path(strings.Repeat("d/", n))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "bottom"), []byte("x"), 0o600)
	}
}

func isDeep(n int) func(*Act, *event.DeviceFileEvents) bool {
	return func(a *Act, r *event.DeviceFileEvents) bool {
		return r.FolderPath == a.Path(strings.Repeat("d/", n)+"bottom")
	}
}

// leaves writes a file by a high descriptor, which it does not close.
func leaves(a *Act, name string, flags int) error {
	fd, err := unix.Open(a.Path(name), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	const high = 200
	if err := errors.Join(unix.Dup3(fd, high, flags), unix.Close(fd)); err != nil {
		return err
	}
	_, err = unix.Write(high, []byte("12345"))
	return err
}
