// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                   "",
		"ls\x00-l\x00":                       "ls -l",
		"ls\x00-l":                           "ls -l", // cut before its end
		"sh\x00-c\x00echo a b\x00":           `sh -c "echo a b"`,
		"a\x00\x00b\x00":                     `a "" b`,
		"grep\x00\\d\x00":                    `grep \d`,
		"x\x00say \"hi\\\"\x00":              `x "say \"hi\\\""`,
		"it's\x00":                           `"it's"`,
		"bad\xff\x00":                        "bad\uFFFD",
		"\x00":                               `""`,
		"tab\there\x00":                      "\"tab\there\"",
		"one\x00two three\x00four\nfive\x00": "one \"two three\" \"four\nfive\"",
	} {
		if got := commandLine([]byte(in)); got != want {
			t.Errorf("commandLine(%q) = %q, want %q", in, got, want)
		}
	}
}

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

func TestResolve(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"/home/a", "x", "/home/a/x"},
		{"/home/a", "../b/./x", "/home/b/x"},
		{"/home/a", "/etc//passwd", "/etc/passwd"},
		{"/home/a", "", ""},
		{"/", "x", "/x"},
	} {
		if got := resolve(c[0], c[1]); got != c[2] {
			t.Errorf("resolve(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestAddressKind(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"127.0.0.1": "Loopback", "::1": "Loopback", "10.1.2.3": "Private", "100.64.0.1": "Private", "fd00::1": "Private",
		"8.8.8.8": "Public", "2606:4700::1": "Public", "169.254.1.1": "LinkLocal", "fe80::1": "LinkLocal", "224.0.0.251": "Multicast",
		"ff02::fb": "Multicast", "255.255.255.255": "Broadcast", "0.0.0.0": "Reserved", "::": "Reserved", "192.0.2.1": "Reserved",
		"2001:0:1::1": "Teredo", "::ffff:8.8.8.8": "FourToSixMapping", "240.0.0.1": "Reserved",
	} {
		if got := addressKind(netip.MustParseAddr(in)); got != want {
			t.Errorf("addressKind(%s) = %s, want %s", in, got, want)
		}
	}
	if got := addressKind(netip.Addr{}); got != "" {
		t.Errorf("no address: %q", got)
	}
}

func TestTTYName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"pts3": "pts/3", "tty1": "tty1", "": "", "ptsx": "ptsx", "ttyS0": "ttyS0"} {
		if got := ttyName(in); got != want {
			t.Errorf("ttyName(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzArguments(f *testing.F) {
	f.Add([]byte("sh\x00-c\x00echo \"x\"\x00"))
	f.Add([]byte("LD_PRELOAD=\xff\x00https_proxy=http://[::1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		line := commandLine(b)
		object, _ := environment(b, strings.ToUpper)
		if !utf8.ValidString(line) || !utf8.ValidString(object) {
			t.Fatalf("not text: %q %q", line, object)
		}
		if object != "" && !json.Valid([]byte(object)) {
			t.Fatalf("not JSON: %q", object)
		}
	})
}
