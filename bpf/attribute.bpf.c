// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// Permissions, owners, times, extended attributes and flags of files, device
// nodes and mounts, seen at the exit of system calls. What a process does to a
// file through the descriptor that created it belongs to the creation and is
// not told, unless it makes the file run with other rights.
#include "picket.h"
#include "action.h"

#define FS_IOC_SETFLAGS 0x40086602
#define FS_IOC32_SETFLAGS 0x40046602
#define FS_IOC_FSSETXATTR 0x401c5820
#define FS_XATTRS (1ULL << 32)
#define S_IFCHR 0020000
#define S_IFBLK 0060000
#define UTIME_NOW 0x3fffffff
#define UTIME_OMIT 0x3ffffffe

static __always_inline action_scratch *start(u32 action, s64 result)
{
	return begin(action, CLASS_ATTRIBUTE, result);
}

static __always_inline int end(action_scratch *s) { return finish(s, CLASS_ATTRIBUTE, false); }

// The file behind a descriptor, when what is done to it is worth telling.
static __noinline struct file *changed(s64 fd)
{
	struct file *f = file_of(current_task(), (s32)fd);
	if (f && BPF_CORE_READ(f, f_mode) & FMODE_CREATED) {
		count_filtered(CLASS_ATTRIBUTE);
		return NULL;
	}
	return f;
}

// ---- permissions and owners ---------------------------------------------
static __noinline int chmod_name(s32 dfd, u64 name, u32 mode)
{
	action_scratch *s = start(ACT_CHMOD, 0);
	if (!s)
		return 0;
	record(s)->args[0] = mode & 07777;
	put_name(s, dfd, name);
	return end(s);
}

EXIT(attribute, chmod) { return c->ret ? 0 : chmod_name(AT_FDCWD, argument(0), argument(1)); }
EXIT(attribute, fchmodat) { return c->ret ? 0 : chmod_name(argument(0), argument(1), argument(2)); }
EXIT(attribute, fchmodat2) { return c->ret ? 0 : chmod_name(argument(0), argument(1), argument(2)); }

EXIT(attribute, fchmod)
{
	if (c->ret)
		return 0;
	u32 mode = argument(1);
	struct file *f = mode & 07000 ? file_of(current_task(), (s32)argument(0)) : changed(argument(0));
	if (!f)
		return 0;
	action_scratch *s = start(ACT_CHMOD, 0);
	if (!s)
		return 0;
	record(s)->args[0] = mode & 07777;
	put_file(s, f);
	return end(s);
}

static __noinline int chown_name(s32 dfd, u64 name, u32 uid, u32 gid)
{
	action_scratch *s = start(ACT_CHOWN, 0);
	if (!s)
		return 0;
	record(s)->args[0] = uid;
	record(s)->args[1] = gid;
	put_name(s, dfd, name);
	return end(s);
}

EXIT(attribute, chown) { return c->ret ? 0 : chown_name(AT_FDCWD, argument(0), argument(1), argument(2)); }
EXIT(attribute, lchown) { return c->ret ? 0 : chown_name(AT_FDCWD, argument(0), argument(1), argument(2)); }
EXIT(attribute, fchownat) { return c->ret ? 0 : chown_name(argument(0), argument(1), argument(2), argument(3)); }

EXIT(attribute, fchown)
{
	struct file *f = c->ret ? NULL : changed(argument(0));
	if (!f)
		return 0;
	action_scratch *s = start(ACT_CHOWN, 0);
	if (!s)
		return 0;
	record(s)->args[0] = (u32)argument(1);
	record(s)->args[1] = (u32)argument(2);
	put_file(s, f);
	return end(s);
}

// ---- times --------------------------------------------------------------
// Times of the caller's choosing; "now" is what every write does.
static __noinline int times(s32 dfd, u64 name, u64 user, u32 scale)
{
	s64 t[4] = {};
	if (!user)
		return 0;
	if (scale) {
		if (bpf_probe_read_user(t, sizeof(t), (void *)user))
			return 0;
		t[1] *= scale;
		t[3] *= scale;
	} else {
		s64 old[2] = {};
		if (bpf_probe_read_user(old, sizeof(old), (void *)user))
			return 0;
		t[0] = old[0];
		t[2] = old[1];
	}
	if (scale == 1 && (t[1] == UTIME_NOW || t[1] == UTIME_OMIT) && (t[3] == UTIME_NOW || t[3] == UTIME_OMIT))
		return 0;
	struct file *f = NULL;
	if (!name) {
		f = changed(dfd);
		if (!f)
			return 0;
	}
	action_scratch *s = start(ACT_UTIMES, 0);
	if (!s)
		return 0;
	__builtin_memcpy(record(s)->args, t, sizeof(t));
	if (name)
		put_name(s, dfd, name);
	else
		put_file(s, f);
	return end(s);
}

EXIT(attribute, utimensat) { return c->ret ? 0 : times(argument(0), argument(1), argument(2), 1); }
EXIT(attribute, futimesat) { return c->ret ? 0 : times(argument(0), argument(1), argument(2), 1000); }
EXIT(attribute, utimes) { return c->ret ? 0 : times(AT_FDCWD, argument(0), argument(1), 1000); }
EXIT(attribute, utime) { return c->ret ? 0 : times(AT_FDCWD, argument(0), argument(1), 0); }

// ---- extended attributes ------------------------------------------------
struct xattr_call { u64 name, value, size, flags; };

static __always_inline int put_xattr(action_scratch *s, struct xattr_call *x)
{
	struct action_record *r = record(s);
	u32 size = x->size > 32 ? 32 : x->size;
	r->args[0] = x->size;
	r->args[1] = x->flags;
	asm volatile("" : "+r"(size));
	if (size <= 32 && x->value)
		bpf_probe_read_user(&r->args[2], size, (void *)x->value);
	put_other_word(s, x->name);
	return end(s);
}

static __noinline int xattr_name(u32 action, s32 dfd, u64 path, struct xattr_call *x)
{
	action_scratch *s = start(action, 0);
	if (!s)
		return 0;
	put_name(s, dfd, path);
	return put_xattr(s, x);
}

static __noinline int xattr_file(u32 action, s64 fd, struct xattr_call *x)
{
	char name[20] = {};
	struct file *f = file_of(current_task(), (s32)fd);
	if (!f)
		return 0;
	bpf_probe_read_user_str(name, sizeof(name), (void *)x->name);
	if (__builtin_memcmp(name, "security.capability", sizeof(name)) && !changed(fd))
		return 0;
	action_scratch *s = start(action, 0);
	if (!s)
		return 0;
	put_file(s, f);
	return put_xattr(s, x);
}

#define XATTR { argument(1), argument(2), argument(3), argument(4) }
EXIT(attribute, setxattr)
{
	struct xattr_call x = XATTR;
	return c->ret ? 0 : xattr_name(ACT_SETXATTR, AT_FDCWD, argument(0), &x);
}

EXIT(attribute, lsetxattr)
{
	struct xattr_call x = XATTR;
	return c->ret ? 0 : xattr_name(ACT_SETXATTR, AT_FDCWD, argument(0), &x);
}

EXIT(attribute, fsetxattr)
{
	struct xattr_call x = XATTR;
	return c->ret ? 0 : xattr_file(ACT_SETXATTR, argument(0), &x);
}

EXIT(attribute, setxattrat)
{
	struct { u64 value; u32 size, flags; } how = {};
	if (c->ret || bpf_probe_read_user(&how, sizeof(how), (void *)argument(4)))
		return 0;
	struct xattr_call x = { argument(3), how.value, how.size, how.flags };
	return xattr_name(ACT_SETXATTR, argument(0), argument(1), &x);
}

EXIT(attribute, removexattr)
{
	struct xattr_call x = { argument(1) };
	return c->ret ? 0 : xattr_name(ACT_REMOVEXATTR, AT_FDCWD, argument(0), &x);
}

EXIT(attribute, lremovexattr)
{
	struct xattr_call x = { argument(1) };
	return c->ret ? 0 : xattr_name(ACT_REMOVEXATTR, AT_FDCWD, argument(0), &x);
}

EXIT(attribute, fremovexattr)
{
	struct xattr_call x = { argument(1) };
	return c->ret ? 0 : xattr_file(ACT_REMOVEXATTR, argument(0), &x);
}

EXIT(attribute, removexattrat)
{
	struct xattr_call x = { argument(3) };
	return c->ret ? 0 : xattr_name(ACT_REMOVEXATTR, argument(0), argument(1), &x);
}

// ---- flags and nodes ----------------------------------------------------
EXIT(attribute, ioctl)
{
	u32 flags = 0;
	u64 request = (u32)argument(1), kind = 0;
	if (request == FS_IOC_FSSETXATTR)
		kind = FS_XATTRS;
	else if (request != FS_IOC_SETFLAGS && request != FS_IOC32_SETFLAGS)
		return 0;
	if (c->ret || bpf_probe_read_user(&flags, sizeof(flags), (void *)argument(2)))
		return 0;
	struct file *f = file_of(current_task(), (s32)argument(0));
	if (!f)
		return 0;
	action_scratch *s = start(ACT_ATTRIBUTES, 0);
	if (!s)
		return 0;
	record(s)->args[0] = kind | flags;
	put_file(s, f);
	return end(s);
}

static __noinline int node(s32 dfd, u64 name, u32 mode, u32 dev)
{
	if ((mode & S_IFMT) != S_IFCHR && (mode & S_IFMT) != S_IFBLK)
		return 0;
	action_scratch *s = start(ACT_MKNOD, 0);
	if (!s)
		return 0;
	record(s)->args[0] = mode;
	record(s)->args[1] = dev;
	put_name(s, dfd, name);
	return end(s);
}

EXIT(attribute, mknod) { return c->ret ? 0 : node(AT_FDCWD, argument(0), argument(1), argument(2)); }
EXIT(attribute, mknodat) { return c->ret ? 0 : node(argument(0), argument(1), argument(2), argument(3)); }

// ---- mounts -------------------------------------------------------------
#define TOLD(ret) (!(ret) || REFUSED(ret))

EXIT(attribute, mount)
{
	if (!TOLD(c->ret))
		return 0;
	action_scratch *s = start(ACT_MOUNT, c->ret);
	if (!s)
		return 0;
	record(s)->args[0] = argument(3);
	bpf_probe_read_user_str(&record(s)->args[1], 32, (void *)argument(2));
	put_name(s, AT_FDCWD, argument(1));
	put_other_word(s, argument(0));
	s->flags &= ~FLAG_UNREADABLE; // many mounts have no source
	return end(s);
}

EXIT(attribute, move_mount)
{
	if (!TOLD(c->ret))
		return 0;
	struct file *from = file_of(current_task(), (s32)argument(0));
	action_scratch *s = start(ACT_MOUNT, c->ret);
	if (!s)
		return 0;
	record(s)->args[5] = 1;
	if (from)
		put_type(record(s), 1, BPF_CORE_READ(from, f_path.mnt, mnt_sb, s_type, name));
	put_name(s, argument(2), argument(3));
	put_other(s, argument(0), argument(1));
	return end(s);
}

EXIT(attribute, umount)
{
	if (!TOLD(c->ret))
		return 0;
	action_scratch *s = start(ACT_UNMOUNT, c->ret);
	if (!s)
		return 0;
	record(s)->args[0] = argument(1);
	put_name(s, AT_FDCWD, argument(0));
	return end(s);
}
