// SPDX-License-Identifier: Apache-2.0

//go:build linux

package command

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/picket-edr/picket/sensor/linux/record"
)

func TestEnvironmentKeepsOnlyWhatTells(t *testing.T) {
	t.Parallel()
	if !slices.IsSorted(keptVariables) {
		t.Fatal("keptVariables is not sorted: the search in it fails")
	}
	env := strings.Join([]string{
		"SECRET=hunter2", "AWS_SECRET_ACCESS_KEY=x", "LD_PRELOAD=/tmp/x.so", "PATH=/usr/bin:/bin",
		"https_proxy=http://user:pass@proxy.test:3128/", "SSH_CONNECTION=192.0.2.5%eth0 50000 192.0.2.1 22",
		"HISTFILE=", "novalue", "=odd", "LD_PRELOADX=no", "PYTHONPATH=" + strings.Repeat("p", 5000),
	}, "\x00")
	object, remote := environment([]byte(env), func(v string) string { return v })
	var got map[string]string
	if err := json.Unmarshal([]byte(object), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"LD_PRELOAD": "/tmp/x.so", "https_proxy": "http://user:xxxxx@proxy.test:3128/",
		"SSH_CONNECTION": "192.0.2.5%eth0 50000 192.0.2.1 22", "HISTFILE": "", "PYTHONPATH": strings.Repeat("p", maxVariable)}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %q, want %q", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("kept %v", got)
	}
	if remote != "192.0.2.5" {
		t.Errorf("remote address %q", remote)
	}
}

func TestOddPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"/usr/bin:/bin":        false,
		"/usr/bin::/bin":       true, // empty is the working directory
		".:/bin":               true,
		"/tmp/x:/bin":          true,
		"/tmpfiles/bin":        false,
		"/usr/bin:/dev/shm":    true,
		"/opt/x/bin:/root/bin": false,
	} {
		if got := oddPath(in); got != want {
			t.Errorf("oddPath(%q) = %v", in, got)
		}
	}
}

func FuzzArguments(f *testing.F) {
	f.Add([]byte("sh\x00-c\x00echo \"x\"\x00"))
	f.Add([]byte("LD_PRELOAD=\xff\x00https_proxy=http://[::1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		line := record.CommandLine(b)
		object, _ := environment(b, strings.ToUpper)
		if !utf8.ValidString(line) || !utf8.ValidString(object) {
			t.Fatalf("not text: %q %q", line, object)
		}
		if object != "" && !json.Valid([]byte(object)) {
			t.Fatalf("not JSON: %q", object)
		}
	})
}
