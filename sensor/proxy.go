// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/picket-edr/picket"
)

// ProxyAuto and ProxyDirect are the settings of a proxy besides a URL.
const (
	ProxyAuto   = "auto"   // environment, then system, then no proxy
	ProxyDirect = "direct" // no proxy
)

// systemEnvironment is where Debian and its kin keep settings for all users.
const systemEnvironment = "/etc/environment"

// Way is one way to the server.
type Way struct {
	Name  string   // direct, explicit, environment, system
	Proxy *url.URL // nil: none
}

// String names the way without the password of its proxy.
func (w Way) String() string {
	if w.Proxy == nil {
		return w.Name
	}
	return w.Name + " proxy " + w.Proxy.Redacted()
}

// ParseProxy checks a proxy setting: auto, direct, or the URL of an HTTP or
// SOCKS 5 proxy with optional user and password.
func ParseProxy(setting string) (*url.URL, error) {
	if setting == "" || setting == ProxyAuto || setting == ProxyDirect {
		return nil, nil
	}
	if !strings.Contains(setting, "://") {
		setting = "http://" + setting
	}
	u, err := url.Parse(setting)
	if err != nil {
		return nil, fmt.Errorf("proxy: not a URL: %w", picket.Invalid) // the error would show a password
	}
	if (u.Scheme != "http" && u.Scheme != "socks5") || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("proxy %s: want http://HOST:PORT, socks5://HOST:PORT, auto or direct: %w", u.Redacted(), picket.Invalid)
	}
	return u, nil
}

// Ways returns the ways to a server that a setting allows, in the order in
// which they are tried.
func Ways(setting, server string) ([]Way, error) {
	explicit, err := ParseProxy(setting)
	if err != nil {
		return nil, err
	}
	switch {
	case explicit != nil:
		return []Way{{"explicit", explicit}}, nil
	case setting == ProxyDirect:
		return []Way{{Name: "direct"}}, nil
	}
	var ways []Way
	for _, w := range []Way{environmentWay(server), systemWay(server, systemEnvironment)} {
		if w.Proxy != nil && (len(ways) == 0 || ways[0].Proxy.String() != w.Proxy.String()) {
			ways = append(ways, w)
		}
	}
	return append(ways, Way{Name: "direct"}), nil
}

// AllWays returns every way for a connectivity test. Ways without a proxy
// that they could use are left out.
func AllWays(setting, server string) ([]Way, error) {
	ways := []Way{{Name: "direct"}}
	explicit, err := ParseProxy(setting)
	if err != nil {
		return nil, err
	}
	if explicit != nil {
		ways = append(ways, Way{"explicit", explicit})
	}
	for _, w := range []Way{environmentWay(server), systemWay(server, systemEnvironment)} {
		if w.Proxy != nil {
			ways = append(ways, w)
		}
	}
	return ways, nil
}

func environmentWay(server string) Way {
	return Way{"environment", proxyFor(server, httpproxy.FromEnvironment())}
}

// systemWay reads the proxy that a file sets for all users of the host.
func systemWay(server, file string) Way {
	if runtime.GOOS != "linux" {
		return Way{Name: "system"}
	}
	f, err := os.Open(file)
	if err != nil {
		return Way{Name: "system"}
	}
	defer f.Close()
	vars := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() && len(vars) < 1000 {
		line := strings.TrimPrefix(strings.TrimSpace(lines.Text()), "export ")
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			vars[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return Way{"system", proxyFor(server, &httpproxy.Config{HTTPSProxy: vars["https_proxy"], NoProxy: vars["no_proxy"]})}
}

// proxyFor returns the proxy that a configuration has for a server, nil when
// it has none or one that cannot be used.
func proxyFor(server string, c *httpproxy.Config) *url.URL {
	u, err := c.ProxyFunc()(&url.URL{Scheme: "https", Host: server})
	if err != nil || u == nil {
		return nil
	}
	if u, err = ParseProxy(u.String()); err != nil {
		return nil
	}
	return u
}
