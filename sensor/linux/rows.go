// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"path"
	"reflect"
	"strconv"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/container"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// initiating holds the columns that describe the acting process, with the
// names that they have in every table of events.
type initiating struct {
	InitiatingProcessAccountDomain      string
	InitiatingProcessAccountName        string
	InitiatingProcessAccountSid         string
	InitiatingProcessFileName           string
	InitiatingProcessFileSize           int64
	InitiatingProcessId                 int64
	InitiatingProcessCommandLine        string
	InitiatingProcessCreationTime       event.Time
	InitiatingProcessFolderPath         string
	InitiatingProcessParentId           int64
	InitiatingProcessParentFileName     string
	InitiatingProcessParentCreationTime event.Time
	InitiatingProcessSessionId          int64
	IsInitiatingProcessRemoteSession    bool
	InitiatingProcessRemoteSessionIP    string
	InitiatingProcessUniqueId           string
	InitiatingProcessParentUniqueId     string
	InitiatingProcessCurrentDirectory   string
	InitiatingProcessTty                string
	InitiatingProcessUserId             event.Long
	InitiatingProcessEffectiveUserId    event.Long
	InitiatingProcessGroupId            event.Long
	InitiatingProcessEffectiveGroupId   event.Long
	InitiatingProcessCapabilities       string
	ContainerId                         string
	ContainerImage                      string
	ContainerImageDigest                string
	ContainerName                       string
	ContainerRuntime                    string
	PodName                             string
	PodNamespace                        string
	PodUid                              string
	PodLabels                           string
	CgroupPath                          string
	MountNamespaceId                    int64
	PidNamespaceId                      int64
	NetworkNamespaceId                  int64
	UserNamespaceId                     int64
}

// plan copies the fields of initiating to a row type by name, worked out once:
// the tables are generated apart and share no Go type.
type plan []struct{ from, to int }

// plans holds one plan for each table with an acting process.
type plans map[reflect.Type]plan

func newPlans() plans {
	all := plans{}
	for _, row := range []any{
		event.DeviceProcessEvents{}, event.DeviceFileEvents{}, event.DeviceNetworkEvents{},
		event.DeviceLogonEvents{}, event.DeviceEvents{}, event.DeviceImageLoadEvents{},
	} {
		t, src := reflect.TypeOf(row), reflect.TypeOf(initiating{})
		var p plan
		for i := range src.NumField() {
			if f, ok := t.FieldByName(src.Field(i).Name); ok && f.Type == src.Field(i).Type {
				p = append(p, struct{ from, to int }{i, f.Index[0]})
			}
		}
		all[t] = p
	}
	return all
}

// fill writes the acting process into a row, which must be a pointer.
func (p plans) fill(row event.Row, a *initiating) {
	dst, src := reflect.ValueOf(row).Elem(), reflect.ValueOf(a).Elem()
	for _, f := range p[dst.Type()] {
		dst.Field(f.to).Set(src.Field(f.from))
	}
}

// describe returns the columns of an acting process; all null when it is not
// known.
func (c *Collector) describe(p *process) *initiating {
	a := &initiating{}
	if p == nil {
		return a
	}
	a.InitiatingProcessAccountName, a.InitiatingProcessAccountDomain = c.account(p.uid, p)
	a.InitiatingProcessAccountSid = strconv.FormatUint(uint64(p.uid), 10)
	a.InitiatingProcessFileName = p.name
	a.InitiatingProcessFileSize = int64(p.size)
	a.InitiatingProcessId = int64(p.key.pid)
	a.InitiatingProcessCommandLine = p.cmdline
	a.InitiatingProcessCreationTime = p.created
	a.InitiatingProcessFolderPath = p.path
	a.InitiatingProcessParentId = int64(p.parentPID)
	a.InitiatingProcessParentFileName = p.parentName
	a.InitiatingProcessParentCreationTime = p.parentCreated
	a.InitiatingProcessSessionId = int64(p.sid)
	a.IsInitiatingProcessRemoteSession = p.remoteIP != ""
	a.InitiatingProcessRemoteSessionIP = p.remoteIP
	a.InitiatingProcessUniqueId = p.guid
	a.InitiatingProcessParentUniqueId = p.parentGUID
	a.InitiatingProcessCurrentDirectory = p.cwd
	a.InitiatingProcessTty = p.tty
	a.InitiatingProcessUserId = event.LongOf(int64(p.uid))
	a.InitiatingProcessEffectiveUserId = event.LongOf(int64(p.euid))
	a.InitiatingProcessGroupId = event.LongOf(int64(p.gid))
	a.InitiatingProcessEffectiveGroupId = event.LongOf(int64(p.egid))
	a.InitiatingProcessCapabilities = hexCaps(p.caps)
	c.describeHome(a, p)
	return a
}

// describeHome fills where a process lives: container, cgroup, namespaces.
func (c *Collector) describeHome(a *initiating, p *process) {
	a.ContainerId, a.CgroupPath = p.container, p.cgroup
	box := &container.Info{}
	if p.box != nil {
		if !p.box.Told {
			p.box = c.containers.Get(p.place) // its runtime may have written it down meanwhile
		}
		box = p.box
	}
	a.ContainerName, a.ContainerRuntime, a.ContainerImage, a.ContainerImageDigest = box.Name, box.Runtime, box.Image, box.ImageDigest
	a.PodName, a.PodNamespace, a.PodUid, a.PodLabels = box.PodName, box.PodNamespace, box.PodUID, box.Labels
	a.MountNamespaceId, a.PidNamespaceId = int64(p.mntNS), int64(p.pidNS)
	a.NetworkNamespaceId, a.UserNamespaceId = int64(p.netNS), int64(p.usrNS)
}

// processRow begins a row about a process with all that is known of it.
func (c *Collector) processRow(action string, at event.Time, p *process) *event.DeviceProcessEvents {
	parent := c.describe(p.parent)
	if p.parent == nil {
		parent.InitiatingProcessId = int64(p.parentPID)
		parent.InitiatingProcessFileName = p.parentName
		parent.InitiatingProcessUniqueId = p.parentGUID
		parent.InitiatingProcessCreationTime = p.parentCreated
	}
	c.describeHome(parent, p) // of the process that the row is about
	r := &event.DeviceProcessEvents{Timestamp: at, ActionType: action}
	c.plans.fill(r, parent)
	if p.parent != nil && p.parent.audit != record.Unset {
		r.InitiatingProcessLogonId = int64(p.parent.audit)
	}
	r.FileName, r.FolderPath, r.FileSize, r.IsFileless = p.name, p.path, int64(p.size), p.fileless
	r.ProcessId, r.ProcessUniqueId, r.ProcessCommandLine, r.ProcessCreationTime = int64(p.key.pid), p.guid, p.cmdline, p.created
	r.AccountName, r.AccountDomain = c.account(p.uid, p)
	r.AccountSid = strconv.FormatUint(uint64(p.uid), 10)
	if p.audit != record.Unset {
		r.LogonId = int64(p.audit)
	}
	r.CreatedProcessSessionId = int64(p.sid)
	r.IsProcessRemoteSession, r.ProcessRemoteSessionIP = p.remoteIP != "", p.remoteIP
	r.ProcessCurrentDirectory, r.ProcessTty, r.ProcessEnvironment = p.cwd, p.tty, p.env
	r.ProcessUserId, r.ProcessEffectiveUserId = event.LongOf(int64(p.uid)), event.LongOf(int64(p.euid))
	r.ProcessGroupId, r.ProcessEffectiveGroupId = event.LongOf(int64(p.gid)), event.LongOf(int64(p.egid))
	r.ProcessCapabilities = hexCaps(p.caps)
	return r
}

// account returns name and domain of a user id as seen by a process: inside a
// container only root is the same as on the host.
func (c *Collector) account(uid uint32, p *process) (name, domain string) {
	if p.container != "" && uid != 0 {
		return "", ""
	}
	if name = c.users.name(uid); name == "" {
		return "", ""
	}
	return name, c.host
}

func hexCaps(caps uint64) string {
	if caps == 0 {
		return ""
	}
	s := strconv.FormatUint(caps, 16)
	return "0000000000000000"[len(s):] + s
}

// baseName is path.Base, but empty stays empty.
func baseName(p string) string {
	if p == "" || p == "/" {
		return ""
	}
	return path.Base(p)
}
