// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// file explains what was done to a file or to the tree of files.
func (t *Told) file(r *Action) bool {
	t.Table, t.Path = InFiles, Place(r.Base, r.Name)
	switch r.Kind {
	case Chmod:
		t.mode(r)
	case Chown:
		t.owner(r)
	case SetXattr, RemoveXattr:
		t.attribute(r)
	case Utimes:
		t.Table, t.Action = InEvents, "FileTimestampModificationEvent"
		t.Extra["AccessTime"], t.Extra["ModificationTime"] = moment(r.Args[0], r.Args[1]), moment(r.Args[2], r.Args[3])
	case Attributes:
		t.flags(r)
	case Mknod:
		t.Action = "DeviceNodeCreated"
		t.Extra["FileType"], t.Extra["Mode"] = nodeType(r.Args[0]), octal(r.Args[0]&0o7777)
		t.Extra["Device"] = device(r.Args[1])
	case Mount, Unmount:
		t.mount(r)
	case MapImage:
		t.Table, t.Action = InImages, "ImageLoaded"
	default:
		t.Table, t.Path = InEvents, ""
		return false
	}
	return true
}

func (t *Told) mode(r *Action) {
	mode := r.Args[0] & 0o7777
	t.Action = "FilePermissionsModified"
	t.Extra["Mode"] = octal(mode)
	added := mode
	if r.Args[2] != 0 {
		t.Extra["PreviousMode"] = octal(r.Args[1] & 0o7777)
		added = mode &^ r.Args[1]
	}
	for _, b := range []flag{{unix.S_ISUID, "SetUid"}, {unix.S_ISGID, "SetGid"}, {0o111, "Executable"}, {0o002, "WorldWritable"}} {
		if added&b.bit != 0 {
			t.Extra[b.name] = true
		}
	}
}

func (t *Told) owner(r *Action) {
	t.Action = "FileOwnerModified"
	for i, name := range []string{"UserId", "GroupId"} {
		if id := uint32(r.Args[i]); id != Unset {
			t.Extra[name] = id
		}
		if r.Args[4] != 0 {
			t.Extra["Previous"+name] = uint32(r.Args[2+i])
		}
	}
}

func (t *Told) attribute(r *Action) {
	t.Action = "FileExtendedAttributeModified"
	t.Extra["AttributeName"] = r.NameNew
	if r.Kind == RemoveXattr {
		t.Action = "FileExtendedAttributeRemoved"
		return
	}
	b := bytesOf(r, 2, 4)
	b = b[:min(r.Args[0], uint64(len(b)))]
	t.Extra["AttributeBytes"] = r.Args[0]
	if caps := FileCapabilities(b); r.NameNew == "security.capability" && caps != nil {
		t.Extra["FileCapabilities"] = caps
		return
	}
	t.Extra["AttributeValue"] = value(b)
}

var inodeFlags = []flag{
	{0x10, "Immutable"}, {0x20, "AppendOnly"}, {0x40, "NoDump"}, {0x80, "NoAccessTime"}, {0x1, "SecureDeletion"}, {0x2, "Undeletable"},
	{0x4, "Compressed"}, {0x8, "Synchronous"}, {0x4000, "JournalData"}, {0x80000, "Extents"}, {0x800000, "NoCopyOnWrite"},
}

var extendedFlags = []flag{
	{0x8, "Immutable"}, {0x10, "AppendOnly"}, {0x20, "Synchronous"}, {0x40, "NoAccessTime"}, {0x80, "NoDump"},
}

func (t *Told) flags(r *Action) {
	t.Action = "FileAttributesModified"
	names := inodeFlags
	if r.Args[0]>>32 != 0 {
		names = extendedFlags
	}
	t.Extra["Attributes"] = flagged(names, r.Args[0]&0xffffffff)
}

var mountFlags = []flag{
	{unix.MS_RDONLY, "ReadOnly"}, {unix.MS_NOSUID, "NoSetUid"}, {unix.MS_NODEV, "NoDevices"}, {unix.MS_NOEXEC, "NoExecution"},
	{unix.MS_REMOUNT, "Remount"}, {unix.MS_BIND, "Bind"}, {unix.MS_MOVE, "Move"}, {unix.MS_REC, "Recursive"}, {unix.MS_PRIVATE, "Private"},
	{unix.MS_SLAVE, "Slave"}, {unix.MS_SHARED, "Shared"}, {unix.MS_UNBINDABLE, "Unbindable"},
}

var unmountFlags = []flag{{unix.MNT_FORCE, "Force"}, {unix.MNT_DETACH, "Detach"}, {unix.MNT_EXPIRE, "Expire"}, {unix.UMOUNT_NOFOLLOW, "NoFollow"}}

func (t *Told) mount(r *Action) {
	t.Table = InEvents
	if r.Kind == Unmount {
		t.Action = "VolumeUnmounted"
		t.Extra["Flags"] = flagged(unmountFlags, r.Args[0])
		return
	}
	t.Action = "VolumeMounted"
	t.Extra["FileSystem"] = inline(r, 1, 4)
	const magic = 0xc0ed0000 // old programs set it
	flags := r.Args[0]
	if flags&0xffff0000 == magic {
		flags &= 0xffff
	}
	if r.Args[5] != 0 {
		t.Extra["Source"] = Place(r.BaseNew, r.NameNew)
		t.Extra["Method"] = "move_mount"
		return
	}
	t.Extra["Source"], t.Extra["Flags"] = r.NameNew, flagged(mountFlags, flags&^(unix.MS_RELATIME|unix.MS_SILENT))
}

func nodeType(mode uint64) string {
	if mode&unix.S_IFMT == unix.S_IFBLK {
		return "BlockDevice"
	}
	return "CharacterDevice"
}

func device(dev uint64) string {
	return decimal(int64(unix.Major(dev))) + ":" + decimal(int64(unix.Minor(dev)))
}

// moment writes a time that a program asked for; it may be any number.
func moment(sec, nsec uint64) string {
	const now, omit, year10000 = 0x3fffffff, 0x3ffffffe, 253402300800
	switch s := int64(sec); {
	case nsec == now:
		return "now"
	case nsec == omit:
		return "unchanged"
	case s <= -62135596800 || s >= year10000 || nsec > 999999999:
		return strings.TrimSpace(decimal(s) + " s")
	default:
		return time.Unix(s, int64(nsec)).UTC().Format(time.RFC3339Nano)
	}
}
