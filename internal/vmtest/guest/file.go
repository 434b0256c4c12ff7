// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"errors"
	"os"
	"strings"

	"github.com/picket-edr/picket/event"
)

var fileKinds = []Kind{
	{
		Name: "file created", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does: "makes a file and writes five bytes to it",
		Do:   func(a *Act) error { return os.WriteFile(a.Path("new"), []byte("12345"), 0o640) },
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool {
			return r.FolderPath == a.Path("new") && r.FileName == "new" && r.FileSize == 5 && r.FileMode&0o777 == 0o640 && r.FileInode != 0
		}),
		Rungs: []string{"tracepoint"},
	},
	{
		Name: "file modified", Hook: "file", Table: "DeviceFileEvents", Action: "FileModified",
		Does:  "appends to a file that was there",
		Do:    appends,
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("old") && r.FileSize == 10 }),
		Rungs: []string{"tracepoint"},
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
		Rungs: []string{"tracepoint"},
	},
	{
		Name: "file deleted", Hook: "file", Table: "DeviceFileEvents", Action: "FileDeleted",
		Does:  "removes a file by a name that is relative to the working folder",
		Do:    func(a *Act) error { return errors.Join(os.WriteFile(a.Path("gone"), nil, 0o600), os.Remove("gone")) },
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("gone") }),
		Rungs: []string{"tracepoint"},
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
		Rungs: []string{"tracepoint"},
	},
	{
		Name: "symbolic link made", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does: "makes a symbolic link",
		Do:   func(a *Act) error { return os.Symlink("/etc/shadow", a.Path("link")) },
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool {
			return r.FolderPath == a.Path("link") && strings.Contains(r.AdditionalFields, "/etc/shadow")
		}),
		Rungs: []string{"tracepoint"},
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
		Rungs: []string{"tracepoint"},
	},
	{
		Name: "file deep in folders", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does:  "makes a file forty folders down",
		Do:    deep,
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path(deepName+"bottom") }),
		Rungs: []string{"tracepoint"},
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

var deepName = strings.Repeat("d/", 40)

func deep(a *Act) error {
	if err := os.MkdirAll(a.Path(deepName), 0o755); err != nil {
		return err
	}
	return os.WriteFile(a.Path(deepName+"bottom"), []byte("x"), 0o600)
}
