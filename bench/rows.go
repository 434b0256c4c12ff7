// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// Device invents the telemetry of one Linux host: processes that start, touch
// files, resolve names, connect and end, in the proportions of a busy server.
// The same seed gives the same rows.
type Device struct {
	ID   string
	Name string
	Boot string

	rng    *rand.Rand
	zipf   *rand.Zipf
	now    int64 // microseconds
	pid    uint32
	report int64
	seq    uint64
	prev   event.Hash
	procs  []proc // running
}

// proc is one running process.
type proc struct {
	guid, parent string
	image, cmd   string
	pid, ppid    int64
	start        int64
	user         string
	uid          int64
	cwd          string
	parentName   string
	parentGUID   string
}

// image is one program of the invented host with the shapes of its command lines.
type image struct {
	path string
	args []string
}

var images = []image{
	{"/usr/bin/bash", []string{"-c /usr/lib/update-notifier/apt-check", "/etc/cron.hourly/job-%d", "-lc 'make -j2 target-%d'", ""}},
	{"/usr/bin/python3.11", []string{"/opt/app/worker.py --queue jobs --shard %d", "-m http.server %d", "/usr/bin/unattended-upgrade"}},
	{"/usr/bin/grep", []string{"-r pattern-%d /srv/www", "-q ^processor /proc/cpuinfo"}},
	{"/usr/bin/sed", []string{"-e s/a%d/b/ /tmp/input", "-n 1p /etc/os-release"}},
	{"/usr/bin/curl", []string{"-fsS https://api-%d.example.internal/health", "--retry 3 -o /tmp/d-%d http://mirror.example.internal/f"}},
	{"/usr/sbin/sshd", []string{"-D -R"}},
	{"/usr/bin/git", []string{"fetch --quiet origin", "status --porcelain", "rev-parse HEAD~%d"}},
	{"/usr/lib/postgresql/15/bin/postgres", []string{"-D /var/lib/postgresql/15/main"}},
	{"/usr/bin/node", []string{"/srv/app/server.js --port %d"}},
	{"/usr/bin/ls", []string{"-la /var/log", "/proc/%d"}},
	{"/usr/bin/cat", []string{"/etc/hostname", "/sys/class/net/eth%d/address"}},
	{"/usr/bin/find", []string{"/var/cache -mtime +%d -delete"}},
	{"/usr/bin/tar", []string{"-czf /var/backups/b-%d.tgz /etc"}},
	{"/usr/bin/docker-runc", []string{"--root /run/runc state %d"}},
	{"/usr/bin/systemctl", []string{"is-active unit-%d.service"}},
	{"/usr/bin/awk", []string{"{print $%d}"}},
	{"/usr/bin/date", []string{"+%s"}},
	{"/usr/bin/sleep", []string{"%d"}},
}

var users = []struct {
	name string
	uid  int64
}{{"root", 0}, {"www-data", 33}, {"postgres", 105}, {"deploy", 1000}, {"alice", 1001}}

// NewDevice makes host number n of a fleet, whose first row is at start.
func NewDevice(n int, start event.Time) *Device {
	sum := sha256.Sum256(fmt.Appendf(nil, "bench device %d", n))
	rng := rand.New(rand.NewPCG(uint64(n), 0x9e3779b97f4a7c15))
	d := &Device{
		ID: hex.EncodeToString(sum[:20]), Name: fmt.Sprintf("host-%03d.example.internal", n),
		Boot: fmt.Sprintf("%x-%x-4%x-a%x-%x", sum[0:4], sum[4:6], sum[6:7], sum[8:9], sum[10:16]),
		rng:  rng, zipf: rand.NewZipf(rng, 1.2, 2, uint64(len(images)*40)), now: int64(start), pid: 300,
	}
	root := proc{guid: d.guid(1, 1), image: "/usr/lib/systemd/systemd", cmd: "/sbin/init", pid: 1, start: d.now - 3_600_000_000, user: "root", cwd: "/", parentName: "swapper"}
	d.procs = []proc{root}
	return d
}

func (d *Device) guid(pid uint32, start int64) string {
	return picket.ProcessGUID(d.ID, d.Boot, pid, uint64(start)*1000)
}

// hashes of a program: hosts share their programs, so hashes are few.
func hashes(path string) (sha1, sha256hex, md5 string) {
	h := sha256.Sum256([]byte(path))
	g := sha256.Sum256(h[:])
	return hex.EncodeToString(g[:20]), hex.EncodeToString(h[:]), hex.EncodeToString(g[12:28])
}

// Batch returns the next batch of n rows, encoded, with what it decodes to.
func (d *Device) Batch(n int) (*event.Batch, []byte, error) {
	var b event.Builder
	for b.Len() < n {
		d.step(&b)
	}
	d.seq++
	batch := &event.Batch{BootID: d.Boot, Seq: d.seq, Prev: d.prev, Created: event.Time(d.now), Blocks: b.Take()}
	payload, err := batch.Encode()
	d.prev = event.HashOf(payload)
	return batch, payload, err
}

// step adds what one process of the host does.
func (d *Device) step(b *event.Builder) {
	d.now += int64(d.rng.ExpFloat64() * 20_000)
	switch x := d.rng.Float64(); {
	case x < 0.25 || len(d.procs) < 8:
		d.start(b)
	case x < 0.48 && len(d.procs) > 8:
		d.exit(b)
	case x < 0.72:
		d.file(b)
	case x < 0.88:
		d.connect(b)
	default:
		d.resolve(b)
	}
}

func (d *Device) next() (int64, event.Time) {
	d.report++
	return d.report, event.Time(d.now)
}

func (d *Device) some() *proc { return &d.procs[d.rng.IntN(len(d.procs))] }

func (d *Device) start(b *event.Builder) {
	parent := *d.some()
	k := int(d.zipf.Uint64())
	img := images[k%len(images)]
	args := img.args[d.rng.IntN(len(img.args))]
	args = strings.ReplaceAll(args, "%d", strconv.Itoa(k))
	u := users[d.rng.IntN(len(users))]
	d.pid += uint32(1 + d.rng.IntN(3))
	p := proc{
		guid: d.guid(d.pid, d.now), parent: parent.guid, image: img.path, cmd: base(img.path) + " " + args, pid: int64(d.pid), ppid: parent.pid,
		start: d.now, user: u.name, uid: u.uid, cwd: "/srv/" + u.name, parentName: base(parent.image), parentGUID: parent.guid,
	}
	d.procs = append(d.procs, p)
	id, at := d.next()
	r := &event.DeviceProcessEvents{Timestamp: at, ReportId: id, ActionType: "ProcessCreated"}
	d.subject(r, &p)
	b.Add(r)
}

// subject fills what a row of DeviceProcessEvents says about its process.
func (d *Device) subject(r *event.DeviceProcessEvents, p *proc) {
	r.FileName, r.FolderPath, r.ProcessCommandLine = base(p.image), p.image, p.cmd
	r.SHA1, r.SHA256, r.MD5 = hashes(p.image)
	r.FileSize = int64(len(p.image)) * 7919
	r.ProcessId, r.ProcessCreationTime, r.ProcessUniqueId = p.pid, event.Time(p.start), p.guid
	r.AccountName, r.AccountDomain, r.AccountSid = p.user, d.Name, fmt.Sprint(p.uid)
	r.ProcessUserId, r.ProcessEffectiveUserId = event.LongOf(p.uid), event.LongOf(p.uid)
	r.ProcessCurrentDirectory = p.cwd
	r.InitiatingProcessId, r.InitiatingProcessFileName, r.InitiatingProcessUniqueId = p.ppid, p.parentName, p.parent
	r.MountNamespaceId, r.PidNamespaceId, r.NetworkNamespaceId, r.UserNamespaceId = 4026531841, 4026531836, 4026531840, 4026531837
}

func (d *Device) exit(b *event.Builder) {
	i := 1 + d.rng.IntN(len(d.procs)-1)
	p := d.procs[i]
	d.procs = append(d.procs[:i], d.procs[i+1:]...)
	id, at := d.next()
	r := &event.DeviceProcessEvents{Timestamp: at, ReportId: id, ActionType: "ProcessExited"}
	d.subject(r, &p)
	r.ProcessExitCode = event.LongOf(int64(d.rng.IntN(50) / 48))
	r.ProcessLifetimeMs = event.LongOf((d.now - p.start) / 1000)
	r.ProcessCpuTimeMs = event.LongOf(int64(d.rng.IntN(40)))
	b.Add(r)
}

func (d *Device) file(b *event.Builder) {
	p := d.some()
	id, at := d.next()
	dir := []string{"/tmp", "/var/log/app", "/srv/www/cache", "/var/lib/dpkg/info", "/home/" + p.user + "/.cache"}[d.rng.IntN(5)]
	name := fmt.Sprintf("f-%d.%s", d.rng.IntN(4000), []string{"log", "tmp", "json", "so", "py"}[d.rng.IntN(5)])
	b.Add(&event.DeviceFileEvents{
		Timestamp: at, ReportId: id, ActionType: []string{"FileCreated", "FileModified", "FileModified", "FileDeleted"}[d.rng.IntN(4)],
		FileName: name, FolderPath: dir + "/" + name, FileSize: int64(d.rng.IntN(1 << 16)), BytesWritten: int64(d.rng.IntN(1 << 14)),
		FileInode: int64(d.rng.IntN(1 << 20)), FileDevice: 65024, FileMode: 33188, FileOwnerUserId: event.LongOf(p.uid),
		InitiatingProcessId: p.pid, InitiatingProcessFileName: base(p.image), InitiatingProcessFolderPath: p.image, InitiatingProcessCommandLine: p.cmd,
		InitiatingProcessCreationTime: event.Time(p.start), InitiatingProcessUniqueId: p.guid, InitiatingProcessAccountName: p.user,
		InitiatingProcessParentFileName: p.parentName, InitiatingProcessParentId: p.ppid, InitiatingProcessParentUniqueId: p.parentGUID,
		InitiatingProcessUserId: event.LongOf(p.uid), InitiatingProcessEffectiveUserId: event.LongOf(p.uid),
	})
}

func (d *Device) connect(b *event.Builder) {
	p := d.some()
	id, at := d.next()
	r := &event.DeviceNetworkEvents{
		Timestamp: at, ReportId: id, ActionType: "ConnectionSuccess", Protocol: "Tcp",
		RemoteIP: fmt.Sprintf("10.%d.%d.%d", d.rng.IntN(4), d.rng.IntN(16), d.rng.IntN(256)), RemotePort: []int64{443, 5432, 80, 53, 6379}[d.rng.IntN(5)],
		LocalIP: "10.0.0.7", LocalPort: int64(32768 + d.rng.IntN(28000)), LocalIPType: "Private", RemoteIPType: "Private",
		InitiatingProcessId: p.pid, InitiatingProcessFileName: base(p.image), InitiatingProcessFolderPath: p.image, InitiatingProcessCommandLine: p.cmd,
		InitiatingProcessCreationTime: event.Time(p.start), InitiatingProcessUniqueId: p.guid, InitiatingProcessAccountName: p.user,
		InitiatingProcessParentFileName: p.parentName, InitiatingProcessParentId: p.ppid, InitiatingProcessParentUniqueId: p.parentGUID,
	}
	r.InitiatingProcessSHA1, r.InitiatingProcessSHA256, r.InitiatingProcessMD5 = hashes(p.image)
	if d.rng.IntN(10) == 0 {
		r.ActionType, r.ErrorCode = "ConnectionFailed", 111
	}
	b.Add(r)
}

func (d *Device) resolve(b *event.Builder) {
	p := d.some()
	id, at := d.next()
	b.Add(&event.DeviceEvents{
		Timestamp: at, ReportId: id, ActionType: "DnsQueryResponse", Protocol: "Udp", RemoteIP: "10.0.0.2", RemotePort: 53,
		DnsQueryName: fmt.Sprintf("api-%d.example.internal", d.zipf.Uint64()), DnsQueryType: "A", DnsResponseCode: "NOERROR", DnsAnswers: `["10.1.2.3"]`,
		InitiatingProcessId: p.pid, InitiatingProcessFileName: base(p.image), InitiatingProcessFolderPath: p.image,
		InitiatingProcessCreationTime: event.Time(p.start), InitiatingProcessUniqueId: p.guid, InitiatingProcessAccountName: p.user,
	})
}

// base returns the part of a path after the last slash.
func base(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[i+1:]
		}
	}
	return path
}
