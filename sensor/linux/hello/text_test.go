// SPDX-License-Identifier: Apache-2.0

package hello

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRequest(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Request{
		"GET /a/b?token=secret HTTP/1.1\r\nHost: Example.TEST:8080\r\nUser-Agent:  curl/8.1 \r\n\r\nUser-Agent: body": {
			Method: "GET", Path: "/a/b", Version: "1.1", Host: "example.test:8080", UserAgent: "curl/8.1", Query: true},
		"POST / HTTP/1.0\nuser-agent: x\n": {Method: "POST", Path: "/", Version: "1.0", UserAgent: "x"},
		"GET http://u:p@Proxied.test/x HTTP/1.1\r\nHost: other\r\n\r\n": {
			Method: "GET", Path: "/x", Version: "1.1", Host: "proxied.test"},
		"CONNECT example.test:443 HTTP/1.1\r\n\r\n": {Method: "CONNECT", Path: "example.test:443", Version: "1.1", Host: "example.test:443"},
		"PUT /cut": {Method: "PUT", Path: "/cut"},
	} {
		got, err := ParseRequest([]byte(in))
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
	for _, in := range []string{"", "GET", "get / HTTP/1.1\r\n", "GET /x\n", "GET / FTP/1\n", "GET  \n", "GET a b HTTP/1.1\n"} {
		if got, err := ParseRequest([]byte(in)); !errors.Is(err, ErrOther) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func TestParseBanners(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"SSH-2.0-OpenSSH_9.6 Debian-3\r\nrest": {"2.0", "OpenSSH_9.6 Debian-3"},
		"SSH-1.99-x\x00\x1by":                  {"1.99", "xy"},
	} {
		if v, s, err := ParseSSH([]byte(in)); err != nil || v != want[0] || s != want[1] {
			t.Errorf("%q: %q %q %v", in, v, s, err)
		}
	}
	for _, in := range []string{"", "SSH-2.0", "SSH-muchtoolong-x", "XSH-2.0-x"} {
		if _, _, err := ParseSSH([]byte(in)); !errors.Is(err, ErrOther) {
			t.Errorf("%q: %v", in, err)
		}
	}
	for in, want := range map[string][2]string{
		"220 mx.test ESMTP Postfix\r\n": {"Smtp", "mx.test ESMTP Postfix"},
		"220-Welcome to vsFTPd\r\n":     {"Ftp", "Welcome to vsFTPd"},
		"220 ready":                     {"", "ready"},
	} {
		if p, s, err := ParseGreeting([]byte(in)); err != nil || p != want[0] || s != want[1] {
			t.Errorf("%q: %q %q %v", in, p, s, err)
		}
	}
	for _, in := range []string{"", "220", "2200 x", "500 no"} {
		if _, _, err := ParseGreeting([]byte(in)); !errors.Is(err, ErrOther) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("GET http://a@b/c?d HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\n\r\n"))
	f.Add([]byte("SSH-2.0-x\r\n"))
	f.Add([]byte("220 smtp"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			r = &Request{}
		}
		_, software, _ := ParseSSH(b)
		_, greeting, _ := ParseGreeting(b)
		for _, s := range []string{r.Method, r.Path, r.Host, r.UserAgent, r.Version, software, greeting} {
			if len(s) > 3*maxText+1 || strings.ContainsAny(s, "\x00\r\n") {
				t.Fatalf("%q", s)
			}
		}
	})
}
