// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http/httpproxy"
)

// tcpServer serves each connection until the test ends.
func tcpServer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				serve(c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// httpProxy is an HTTP proxy that wants a user and a password unless they are empty.
func httpProxy(t *testing.T, user, password string) string {
	return tcpServer(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		want := ""
		if user != "" {
			want = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
		}
		if req.Header.Get("Proxy-Authorization") != want {
			fmt.Fprint(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			return
		}
		up, err := net.Dial("tcp", req.Host)
		if err != nil {
			fmt.Fprint(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		relay(c, in, up)
	})
}

func relay(c net.Conn, in io.Reader, up net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(up, in); up.Close() })
	wg.Go(func() { io.Copy(c, up); c.Close() })
	wg.Wait()
}

// socksProxy is a SOCKS 5 proxy without authentication, for IPv4 addresses.
func socksProxy(t *testing.T) string {
	return tcpServer(t, func(c net.Conn) {
		b := make([]byte, 10)
		if _, err := io.ReadFull(c, b[:2]); err != nil {
			return
		}
		if _, err := io.ReadFull(c, make([]byte, b[1])); err != nil {
			return
		}
		c.Write([]byte{5, 0})
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		up, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IP(b[4:8]), Port: int(b[8])<<8 | int(b[9])})
		if err != nil {
			c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		relay(c, c, up)
	})
}

// outcome makes a test's outcome short: steps that worked, then the one that failed.
func outcome(c Connectivity) string {
	var s []string
	for _, st := range c.Steps {
		if st.OK {
			s = append(s, st.Step)
		} else {
			s = append(s, "!"+st.Step)
		}
	}
	return strings.Join(s, " ")
}

func TestConnectivityNamesTheStep(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	other := newGateway(t)
	id, err := Enrol(t.Context(), enrolOptions(t, g))
	must(t, err)
	silent := tcpServer(t, func(c net.Conn) { fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2\r\n") })
	plain := httpProxy(t, "", "")
	locked := httpProxy(t, "sensor", "secret")
	for name, c := range map[string]struct {
		o    ConnectivityOptions
		want string
		says string
	}{
		"direct":          {ConnectivityOptions{Server: g.addr, Identity: id, Proxy: ProxyDirect}, "dns tcp tls certificate server", "knows this device"},
		"not enrolled":    {ConnectivityOptions{Server: g.addr}, "dns tcp tls certificate server", "a Picket gateway"},
		"with a token":    {ConnectivityOptions{Server: g.addr, Token: g.token()}, "dns tcp tls certificate server", "a Picket gateway"},
		"unknown name":    {ConnectivityOptions{Server: "no-such-host.invalid", Identity: id}, "!dns", ""},
		"nobody listens":  {ConnectivityOptions{Server: "127.0.0.1:1", Identity: id}, "dns !tcp", "refused"},
		"not TLS":         {ConnectivityOptions{Server: silent, Identity: id}, "dns tcp !tls", ""},
		"another server":  {ConnectivityOptions{Server: other.addr, Identity: id}, "dns tcp tls !certificate", "not our server"},
		"another pin":     {ConnectivityOptions{Server: g.addr, Token: other.token()}, "dns tcp tls !certificate", errNotPinned.Error()},
		"HTTP proxy":      {ConnectivityOptions{Server: g.addr, Identity: id, Proxy: "http://" + plain}, "dns tcp proxy tls certificate server", ""},
		"proxy, password": {ConnectivityOptions{Server: g.addr, Identity: id, Proxy: "http://sensor:secret@" + locked}, "dns tcp proxy tls certificate server", ""},
		"no password":     {ConnectivityOptions{Server: g.addr, Identity: id, Proxy: locked}, "dns tcp !proxy", "wants a user and a password"},
		"proxy, no way":   {ConnectivityOptions{Server: "127.0.0.1:1", Identity: id, Proxy: plain}, "dns tcp !proxy", "502"},
		"not a proxy":     {ConnectivityOptions{Server: g.addr, Identity: id, Proxy: silent}, "dns tcp !proxy", "not an HTTP proxy"},
		"SOCKS proxy":     {ConnectivityOptions{Server: g.addr, Identity: id, Proxy: "socks5://" + socksProxy(t)}, "dns tcp proxy tls certificate server", ""},
	} {
		all, err := TestConnectivity(t.Context(), c.o)
		must(t, err)
		last := all[len(all)-1] // direct, or the explicit proxy
		if got := outcome(last); got != c.want {
			t.Errorf("%s: %s\n%+v", name, got, last)
		}
		end := last.Steps[len(last.Steps)-1]
		if !strings.Contains(end.Detail+end.Error, c.says) {
			t.Errorf("%s: says %q and %q", name, end.Detail, end.Error)
		}
		if strings.Contains(fmt.Sprintf("%+v", last), "secret") {
			t.Errorf("%s: shows the password", name)
		}
		if last.OK != (last.Failed == "") || last.OK == strings.Contains(c.want, "!") {
			t.Errorf("%s: ok %v, failed %q", name, last.OK, last.Failed)
		}
	}
}

func TestConnectivityRefuses(t *testing.T) {
	t.Parallel()
	for _, o := range []ConnectivityOptions{{Server: ""}, {Server: "x", Proxy: "ftp://y"}, {Server: "x", Token: "nonsense"}, {Server: "x", Identity: &Identity{}}} {
		if _, err := TestConnectivity(t.Context(), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestAgentThroughProxy(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	h.o.Proxy = "http://sensor:secret@" + httpProxy(t, "sensor", "secret")
	h.start()
	h.c.emit(10)
	h.rowsAtServer(31)
	s := h.status()
	if !strings.HasPrefix(s.Way, "explicit proxy http://sensor:xxxxx@") {
		t.Errorf("way %q", s.Way)
	}
	h.stop()
}

func TestParseProxy(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "auto": "", "direct": "", "proxy:3128": "http://proxy:3128", "http://u:p@proxy:3128": "http://u:p@proxy:3128",
		"socks5://proxy:1080": "socks5://proxy:1080", "http://proxy/": "http://proxy/",
		"https://proxy:443": "!", "ftp://proxy": "!", "http://": "!", "http://proxy/path": "!", "http://a b": "!",
	} {
		u, err := ParseProxy(in)
		got := "!"
		if err == nil {
			got = ""
			if u != nil {
				got = u.String()
			}
		}
		if got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := ParseProxy("ftp://u:hunter2@proxy"); strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func names(ways []Way) []string {
	var n []string
	for _, w := range ways {
		n = append(n, w.String())
	}
	return n
}

func TestWays(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://env:1")
	t.Setenv("NO_PROXY", ".inside.example")
	for _, c := range []struct {
		setting, server string
		want            []string
	}{
		{"auto", "gw.example:8444", []string{"environment proxy http://env:1", "direct"}},
		{"", "gw.inside.example:8444", []string{"direct"}},
		{"direct", "gw.example:8444", []string{"direct"}},
		{"http://mine:2", "gw.inside.example:8444", []string{"explicit proxy http://mine:2"}},
	} {
		ways, err := Ways(c.setting, c.server)
		must(t, err)
		if d := cmp.Diff(c.want, names(ways)); d != "" {
			t.Errorf("%s to %s: %s", c.setting, c.server, d)
		}
	}
	all, err := AllWays("http://mine:2", "gw.example:8444")
	must(t, err)
	equal(t, []string{"direct", "explicit proxy http://mine:2", "environment proxy http://env:1"}, names(all))
}

func TestSystemProxy(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"":                                       "",
		"https_proxy=http://sys:3\n":             "http://sys:3",
		"HTTPS_PROXY=\"http://sys:3\"\n":         "http://sys:3",
		"export https_proxy='http://sys:3'":      "http://sys:3",
		"#https_proxy=http://sys:3":              "",
		"http_proxy=http://sys:3":                "", // for plain HTTP only
		"https_proxy=sys:3\nno_proxy=gw.example": "",
		"https_proxy=gopher://sys":               "",
	} {
		file := filepath.Join(t.TempDir(), "environment")
		must(t, os.WriteFile(file, []byte(content), 0o600))
		got := ""
		if w := systemWay("gw.example:8444", file); w.Proxy != nil {
			got = w.Proxy.String()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", content, got, want)
		}
	}
	if w := systemWay("gw.example:8444", "/no/such/file"); w.Proxy != nil {
		t.Error("a proxy from nowhere")
	}
}

func TestLoopbackIsNeverProxied(t *testing.T) {
	t.Parallel()
	if u := proxyFor("127.0.0.1:8444", &httpproxy.Config{HTTPSProxy: "http://p:1"}); u != nil {
		t.Errorf("proxy %v", u)
	}
	equal(t, "1080", proxyPort(&url.URL{Scheme: "socks5", Host: "p"}))
	equal(t, "80", proxyPort(&url.URL{Scheme: "http", Host: "p"}))
}
