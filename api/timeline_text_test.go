// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/store"
)

func TestSentences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want  string
		table string
		f     map[string]string
	}{
		{"bash started curl", "DeviceProcessEvents", map[string]string{"ActionType": "ProcessCreated", "InitiatingProcessFileName": "bash", "FileName": "curl"}},
		{"a process started curl", "DeviceProcessEvents", map[string]string{"ActionType": "ProcessCreated", "FileName": "curl"}},
		{"curl ended with code 7", "DeviceProcessEvents", map[string]string{"ActionType": "ProcessExited", "FileName": "curl", "ProcessExitCode": "7"}},
		{"curl ended", "DeviceProcessEvents", map[string]string{"ActionType": "ProcessExited", "FileName": "curl", "ProcessExitCode": "0"}},
		{"curl connected to 10.0.0.5:443", "DeviceNetworkEvents", map[string]string{"ActionType": "ConnectionSuccess", "InitiatingProcessFileName": "curl", "RemoteIP": "10.0.0.5", "RemotePort": "443"}},
		{"nc listens on [::1]:80", "DeviceNetworkEvents", map[string]string{"ActionType": "ListeningConnectionCreated", "InitiatingProcessFileName": "nc", "LocalIP": "::1", "LocalPort": "80"}},
		{"mv renamed /a to /b", "DeviceFileEvents", map[string]string{"ActionType": "FileRenamed", "InitiatingProcessFileName": "mv", "PreviousFolderPath": "/a", "FolderPath": "/b"}},
		{"bob failed to log on from 192.0.2.1 by ssh", "DeviceLogonEvents", map[string]string{"ActionType": "LogonFailed", "AccountName": "bob", "RemoteIP": "192.0.2.1", "Protocol": "ssh"}},
		{"useradd added mallory to the group sudo", "DeviceEvents", map[string]string{"ActionType": "UserAccountAddedToLocalGroup", "InitiatingProcessFileName": "useradd", "AccountName": "mallory", "AdditionalFields": `{"GroupName":"sudo"}`}},
		{"passwd changed the password of alice: locked", "DeviceEvents", map[string]string{"ActionType": "PasswordChanged", "InitiatingProcessFileName": "passwd", "AccountName": "alice", "AdditionalFields": `{"Change":"Locked"}`}},
		{"tee added the shell profile /root/.bashrc", "DeviceEvents", map[string]string{"ActionType": "ShellProfileModified", "InitiatingProcessFileName": "tee", "FolderPath": "/root/.bashrc", "AdditionalFields": `{"Operation":"Created"}`}},
		{"tee changed the shell profile /root/.bashrc", "DeviceEvents", map[string]string{"ActionType": "ShellProfileModified", "InitiatingProcessFileName": "tee", "FolderPath": "/root/.bashrc", "AdditionalFields": "{"}},
		{"a process installed the package something unknown something unknown", "DeviceEvents", map[string]string{"ActionType": "PackageInstalled", "AdditionalFields": `{"PackageName":7}`}},
		{"SomethingNew", "DeviceEvents", map[string]string{"ActionType": "SomethingNew"}},
		{"Network adapter eth0 is up", "DeviceNetworkInfo", map[string]string{"NetworkAdapterName": "eth0", "NetworkAdapterStatus": "Up"}},
	} {
		if got := sentence(store.Item{Table: c.table, Fields: c.f}); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// FuzzSentence feeds what a hostile sensor may write into the columns of an
// event: making its sentence must end, and no value may be put in twice.
func FuzzSentence(f *testing.F) {
	for a := range sentences {
		f.Add(a, "{FileName}", "{", "}")
	}
	for a := range changeSentences {
		f.Add(a, "{+GroupName}", "{", "}")
	}
	f.Fuzz(func(t *testing.T, action, name, path, remote string) {
		it := store.Item{Table: "DeviceEvents", Fields: map[string]string{
			"ActionType": action, "FileName": name, "InitiatingProcessFileName": name, "FolderPath": path, "PreviousFolderPath": path,
			"RemoteIP": remote, "RemotePort": remote, "AccountName": name, "DnsQueryName": remote,
			"AdditionalFields": toJSON(t, map[string]string{"GroupName": name, "PackageName": path, "PackageVersion": remote, "Operation": remote, "Change": remote}),
		}}
		got := describe(it).Title
		if longest := 200 + len(action) + 2*(len(name)+len(path)+2*len(remote)); len(got) > longest {
			t.Errorf("%s: %d bytes from %d at most", action, len(got), longest)
		}
	})
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A sentence without its event would never be read.
func TestChangeSentencesAreOfEvents(t *testing.T) {
	t.Parallel()
	for a := range changeSentences {
		if !slices.ContainsFunc(schema.Lookup("DeviceEvents").Actions, func(b schema.Action) bool { return b.Name == a && len(b.Fill) > 0 }) {
			t.Errorf("%s is not filled", a)
		}
		if _, twice := sentences[a]; twice {
			t.Errorf("%s has two sentences", a)
		}
	}
}

// TestHealthReasonsAreTrue checks that no explanation claims contact that did
// not take place.
func TestHealthReasonsAreTrue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ago := func(h int) time.Time { return now.Add(-time.Duration(h) * time.Hour) }
	off := []picket.Hook{{Kind: "file"}, {Kind: "network", Attached: true}}
	for _, c := range []struct {
		name      string
		d         picket.Device
		has, lack string
	}{
		{"active", picket.Device{LastHeartbeat: ago(0), LastTelemetry: ago(0)}, "arrive", "silent"},
		{"inactive", picket.Device{LastHeartbeat: ago(200), LastTelemetry: ago(220)}, "8 days", "reports"},
		{"never", picket.Device{}, "has not reported", "days"},
		{"impaired", picket.Device{LastHeartbeat: ago(30), LastTelemetry: ago(0)}, "command channel is silent", "no events"},
		{"no data", picket.Device{LastHeartbeat: ago(0), LastTelemetry: ago(30)}, "no events", "silent"},
		{"hook off", picket.Device{LastHeartbeat: ago(0), LastTelemetry: ago(0), Hooks: off}, "does not collect: file", "network"},
		{"both", picket.Device{LastHeartbeat: ago(30), LastTelemetry: ago(30)}, "neither heartbeats nor events", "sensor reports"},
		{"hook off and impaired", picket.Device{LastHeartbeat: ago(30), LastTelemetry: ago(0), Hooks: off}, "command channel is silent", "no events have arrived"},
	} {
		d := state.Device{Device: c.d, Health: c.d.Health(now, picket.DefaultHealthThresholds)}
		got := strings.ToLower(healthReason(d, now))
		if !strings.Contains(got, strings.ToLower(c.has)) || strings.Contains(got, c.lack) {
			t.Errorf("%s (%s): %q must say %q and not %q", c.name, d.Health, got, c.has, c.lack)
		}
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ host, port, want string }{
		{"192.0.2.1", "80", "192.0.2.1:80"}, {"2001:db8::1", "80", "[2001:db8::1]:80"}, {"example.com", "443", "example.com:443"},
		{"127.0.0.1:8443", "8443", "127.0.0.1:8443"}, {"example.com:8080/x", "8080", "example.com:8080/x"}, {"", "1", ""}, {"a", "", "a"},
	} {
		if got := endpoint(c.host, c.port); got != c.want {
			t.Errorf("endpoint(%q, %q) = %q, want %q", c.host, c.port, got, c.want)
		}
	}
}
