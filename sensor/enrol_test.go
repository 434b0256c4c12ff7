// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/wire"
)

func enrolOptions(t *testing.T, g *fakeGateway) EnrolOptions {
	return EnrolOptions{Dir: filepath.Join(t.TempDir(), "deep", "data"), Server: g.addr, Token: g.token(), Proxy: ProxyDirect, Facts: testFacts(testBoot)()}
}

func TestEnrol(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	o := enrolOptions(t, g)
	id, err := Enrol(t.Context(), o)
	must(t, err)
	equal(t, []string{testDevice, testTenant, "servers", g.addr, "m1"}, []string{id.DeviceID, id.Tenant, id.Group, id.Server, id.MachineID})
	info, err := os.Stat(filepath.Join(o.Dir, identityFile))
	must(t, err)
	equal(t, os.FileMode(0o600), info.Mode().Perm())
	loaded, err := LoadIdentity(o.Dir)
	must(t, err)
	equal(t, id, loaded)

	// A second time, also with a good token, nothing changes.
	if _, err := Enrol(t.Context(), o); !errors.Is(err, picket.Conflict) || !strings.Contains(err.Error(), testDevice) {
		t.Errorf("enrolled again: %v", err)
	}
	again, err := LoadIdentity(o.Dir)
	must(t, err)
	equal(t, id, again)
	equal(t, 1, len(g.enrolled))
	must(t, os.WriteFile(filepath.Join(o.Dir, identityFile), []byte("torn"), 0o600))
	if _, err := Enrol(t.Context(), o); !errors.Is(err, picket.Conflict) {
		t.Errorf("enrolled over a damaged identity: %v", err)
	}
}

func TestEnrolRefuses(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	other := newGateway(t)
	good := g.token()
	used := wire.Token{Tenant: testTenant, Secret: [32]byte{9}, Root: sha256.Sum256(g.root.Raw)}.String()
	foreign := wire.Token{Tenant: "globex", Secret: [32]byte{1}, Root: sha256.Sum256(g.root.Raw)}.String()
	for name, c := range map[string]struct {
		server, token string
		want          error
		says          string
	}{
		"no token":           {g.addr, "", picket.Invalid, "want pkt1"},
		"no server":          {"", good, picket.Invalid, "want HOST"},
		"token not good":     {g.addr, used, picket.Denied, "this token is not good"},
		"another tenant":     {g.addr, foreign, picket.Invalid, "answered for tenant"},
		"another root":       {g.addr, other.token(), nil, errNotPinned.Error()},
		"nobody listens":     {"127.0.0.1:1", good, nil, "refused"},
		"name not in server": {strings.Replace(g.addr, "127.0.0.1", "localhost", 1), good, nil, "localhost"},
	} {
		o := enrolOptions(t, g)
		o.Server, o.Token = c.server, c.token
		_, err := Enrol(t.Context(), o)
		if err == nil || (c.want != nil && !errors.Is(err, c.want)) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := LoadIdentity(o.Dir); !errors.Is(err, picket.NotFound) {
			t.Errorf("%s: left an identity: %v", name, err)
		}
	}
}

func TestVerifyPinned(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	other := newGateway(t)
	parse := func(c tls.Certificate) []*x509.Certificate {
		var chain []*x509.Certificate
		for _, der := range c.Certificate {
			x, err := x509.ParseCertificate(der)
			must(t, err)
			chain = append(chain, x)
		}
		return chain
	}
	good := parse(g.serverCert(g.root, g.rootKy, "gw.example"))
	client := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "device"}, DNSNames: []string{"gw.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, g.root, g.rootKy.Public(), g.rootKy)
	pin := sha256.Sum256(g.root.Raw)
	now := time.Now()
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		host  string
		at    time.Time
		ok    bool
	}{
		"good":                    {good, "gw.example", now, true},
		"another name":            {good, "other.example", now, false},
		"expired":                 {good, "gw.example", now.Add(48 * time.Hour), false},
		"root not sent":           {good[:1], "gw.example", now, false},
		"leaf of another root":    {[]*x509.Certificate{parse(other.serverCert(other.root, other.rootKy, "gw.example"))[0], g.root}, "gw.example", now, false},
		"certificate of a device": {[]*x509.Certificate{client, g.root}, "gw.example", now, false},
	} {
		if err := verifyPinned(c.chain, c.host, pin, c.at); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadIdentityRefuses(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	o := enrolOptions(t, g)
	id, err := Enrol(t.Context(), o)
	must(t, err)
	key, _, err := newKey()
	must(t, err)
	for name, spoil := range map[string]func(*Identity){
		"device id":     func(i *Identity) { i.DeviceID = "../../etc" },
		"no chain":      func(i *Identity) { i.Chain = nil },
		"no roots":      func(i *Identity) { i.Roots = nil },
		"broken chain":  func(i *Identity) { i.Chain = [][]byte{{1, 2}} },
		"broken root":   func(i *Identity) { i.Roots = [][]byte{{1, 2}} },
		"broken key":    func(i *Identity) { i.Key = []byte("x") },
		"another's key": func(i *Identity) { i.Key = key },
	} {
		bad := *id
		spoil(&bad)
		b, err := json.Marshal(&bad)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(o.Dir, identityFile), b, 0o600))
		if _, err := LoadIdentity(o.Dir); !errors.Is(err, picket.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"gw.example": "gw.example:8444", "gw.example:443": "gw.example:443", "192.0.2.1": "192.0.2.1:8444", "[::1]:99": "[::1]:99",
		"::1": "[::1]:8444", "[::1]": "[::1]:8444",
		"": "", ":8444": "", "gw:0": "", "gw:70000": "", "gw:https": "", "a:b:c": "",
	} {
		got, err := ParseServer(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestServerClock(t *testing.T) {
	t.Parallel()
	var c serverClock
	if d := time.Since(c.now()); d < 0 || d > time.Minute {
		t.Errorf("unknown: off by %v", d)
	}
	c.learn(time.Now().Add(1000 * time.Hour))
	if d := time.Until(c.now()); d < 999*time.Hour || d > 1001*time.Hour {
		t.Errorf("learnt: off by %v", d)
	}
	c.forget()
	if d := time.Since(c.now()); d < 0 || d > time.Minute {
		t.Errorf("forgotten: off by %v", d)
	}
}

func TestClockBehindOwnCertificate(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	id, err := Enrol(t.Context(), enrolOptions(t, g))
	must(t, err)
	c, err := id.parse()
	must(t, err)
	config := mutualTLS(g.addr, c, func() time.Time { return time.Unix(0, 0) })
	equal(t, c.cert.Leaf.NotBefore, config.Time())
}
