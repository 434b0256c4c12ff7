// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

// Rights is what a process might do, as the records before told it.
type Rights struct {
	Known                      bool
	UID, EUID, GID, EGID       uint32
	Caps                       uint64 // all that it had since its image started
	Root                       bool   // it was root since then
	MntNS, PidNS, NetNS, UsrNS uint32
}

// Complete fills in a record of a hook that sees only what came out.
func (b Rights) Complete(r *Action) {
	var was [2]uint32
	switch r.Kind {
	case SetUID:
		was = [2]uint32{b.UID, b.EUID}
	case SetGID:
		was = [2]uint32{b.GID, b.EGID}
	default:
		return
	}
	for i, id := range was {
		if r.Args[1+i] == ^uint64(0) {
			r.Args[1+i] = uint64(id)
		}
	}
}

// Entered names the namespaces in which a process is now and was not before.
func (b Rights) Entered(r *Action) []string {
	out := []string{}
	for _, n := range []struct {
		name        string
		before, now uint32
	}{{"Mount", b.MntNS, r.MntNS}, {"Pid", b.PidNS, r.PidNS}, {"Network", b.NetNS, r.NetNS}, {"User", b.UsrNS, r.UsrNS}} {
		if n.before != n.now {
			out = append(out, n.name)
		}
	}
	return out
}

// Explains reports whether a call is one that changes rights.
func Explains(k ActionKind) bool {
	switch k {
	case SetUID, SetGID, CapSet, Unshare, SetNS:
		return true
	}
	return false
}
