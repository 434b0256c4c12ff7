// SPDX-License-Identifier: Apache-2.0

//go:build unix

package detect

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/picket-edr/picket/content"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/rule/sigma"
)

// ordinary makes a batch of what a busy server does: none of it is a finding.
func ordinary(rows int) *event.Batch {
	programs := []struct{ path, args string }{
		{"/usr/bin/bash", `-c "/usr/lib/update-notifier/apt-check --human-readable"`}, {"/usr/bin/python3.11", "/opt/app/worker.py --queue jobs --shard 17"},
		{"/usr/bin/grep", "-q ^processor /proc/cpuinfo"}, {"/usr/bin/sed", "-n 1p /etc/os-release"}, {"/usr/bin/git", "fetch --quiet origin main"},
		{"/usr/bin/curl", "-fsS https://api.example.internal/health"}, {"/usr/bin/find", "/var/cache -mtime +7 -delete"}, {"/usr/bin/tar", "-czf /var/backups/b-7.tgz /srv/www"},
		{"/usr/bin/systemctl", "is-active unit-7.service"}, {"/usr/sbin/runc", "--root /run/runc state 4f5e6d7c8b9a"}, {"/usr/bin/node", "/srv/app/server.js --port 8080"},
		{"/usr/bin/sleep", "30"}, {"/usr/bin/ps", "-eo pid,comm,args --sort=-rss"}, {"/usr/lib/postgresql/15/bin/postgres", "-D /var/lib/postgresql/15/main"},
	}
	var b event.Builder
	for i := range rows {
		p, up := programs[i%len(programs)], programs[(i*7+3)%len(programs)]
		at := event.TimeOf(epoch.Add(time.Duration(i) * time.Millisecond))
		id := func(n int) string { return fmt.Sprintf("%032x", n+1) }
		switch i % 10 {
		case 0, 1, 2, 3:
			b.Add(&event.DeviceProcessEvents{Timestamp: at, ReportId: int64(i + 1), ActionType: "ProcessCreated", FileName: filepath.Base(p.path), FolderPath: p.path,
				ProcessCommandLine: filepath.Base(p.path) + " " + p.args, ProcessId: int64(1000 + i), ProcessUniqueId: id(i), AccountName: "www-data", ProcessCurrentDirectory: "/srv/app",
				ProcessEnvironment:        `{"PATH":"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}`,
				InitiatingProcessUniqueId: id(i / 3), InitiatingProcessFileName: filepath.Base(up.path), InitiatingProcessFolderPath: up.path, InitiatingProcessCommandLine: filepath.Base(up.path) + " " + up.args,
				InitiatingProcessId: int64(900 + i/3), InitiatingProcessParentUniqueId: id(i / 9), InitiatingProcessAccountName: "www-data"})
		case 4, 5, 6:
			b.Add(&event.DeviceFileEvents{Timestamp: at, ReportId: int64(i + 1), ActionType: "FileModified", FileName: fmt.Sprintf("entry-%d.tmp", i), FolderPath: fmt.Sprintf("/var/cache/app/%02x/entry-%d.tmp", i%256, i),
				BytesWritten: 4096, InitiatingProcessUniqueId: id(i / 3), InitiatingProcessFolderPath: p.path, InitiatingProcessCommandLine: filepath.Base(p.path) + " " + p.args, InitiatingProcessAccountName: "www-data"})
		case 7, 8:
			p = programs[1+i%(len(programs)-1)] // a shell does not connect
			b.Add(&event.DeviceNetworkEvents{Timestamp: at, ReportId: int64(i + 1), ActionType: "ConnectionSuccess", RemoteIP: fmt.Sprintf("10.0.%d.%d", i%200, i%250), RemotePort: 5432, LocalIP: "10.0.0.5", LocalPort: int64(30000 + i%30000),
				Protocol: "Tcp", InitiatingProcessUniqueId: id(i / 3), InitiatingProcessFolderPath: p.path, InitiatingProcessCommandLine: filepath.Base(p.path) + " " + p.args})
		default:
			b.Add(&event.DeviceEvents{Timestamp: at, ReportId: int64(i + 1), ActionType: "DnsQueryRequest", DnsQueryName: fmt.Sprintf("service-%d.prod.svc.cluster.local", i%50), DnsQueryType: "A",
				InitiatingProcessUniqueId: id(i / 3), InitiatingProcessFolderPath: p.path})
		}
	}
	return &event.Batch{BootID: "boot", Seq: 1, Blocks: b.Take()}
}

// cpuTime is the processor time that this process has used; unlike the clock it
// does not count what other processes of the machine take.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func benchmarkFeed(b *testing.B, rules []*rule.Rule) {
	const rows = 2000
	batch := ordinary(rows)
	e := engine(b, rules...)
	env := envelope("d")
	env.Received = event.TimeOf(epoch.Add(time.Minute))
	hits := 0
	cpu := cpuTime(b)
	b.ReportAllocs()
	for b.Loop() {
		alerts, err := e.Feed(env, batch)
		if err != nil {
			b.Fatal(err)
		}
		hits += len(alerts)
	}
	perRow := float64(b.Elapsed().Nanoseconds()) / float64(b.N*rows)
	b.ReportMetric(perRow, "ns/event")
	perRow = float64(cpuTime(b)-cpu) / float64(b.N*rows)
	b.ReportMetric(perRow, "cpu-ns/event")
	b.ReportMetric(1e9/perRow, "events/cpu-s")
	b.ReportMetric(float64(hits)/float64(b.N), "alerts/op")
	b.ReportMetric(float64(len(rules)), "rules")
}

// BenchmarkFeed measures detection on one core with the built-in rules.
func BenchmarkFeed(b *testing.B) {
	rules, err := content.Rules()
	if err != nil {
		b.Fatal(err)
	}
	benchmarkFeed(b, rules)
}

// BenchmarkFeedPublicRules measures it with the public rules for Linux.
func BenchmarkFeedPublicRules(b *testing.B) {
	dir := filepath.Join("..", "..", "shared", "data", "sigma", "sigmahq")
	if _, err := os.Stat(dir); err != nil {
		b.Skipf("public test data is not here: %v", err)
	}
	rules, _, err := sigma.Load(os.DirFS(dir), sigma.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var runs []*rule.Rule
	for _, r := range rules {
		if len(r.Routes()) > 0 {
			runs = append(runs, r)
		}
	}
	benchmarkFeed(b, runs)
}
