// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
)

var (
	device = strings.Repeat("0123456789", 4)
	other  = strings.Repeat("abcdef0123", 4)
	noon   = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
)

// clock is a clock that tests set.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func openAt(t testing.TB, dir string) (*Store, *clock) {
	t.Helper()
	c := &clock{noon}
	s, err := Open(dir, []string{"picket.example", "127.0.0.1"}, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func request(t testing.TB, key crypto.Signer, tmpl *x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// issue makes a device of a tenant and returns what it would present.
func issue(t testing.TB, s *Store, tenant, id string) (Identity, [][]byte) {
	t.Helper()
	got, chain, err := s.IssueDevice(tenant, id, newKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	return got, chain
}

func TestDeviceCertificate(t *testing.T) {
	t.Parallel()
	s, _ := openAt(t, t.TempDir())
	want, chain := issue(t, s, "acme", device)
	got, err := s.VerifyDevice(chain)
	if err != nil || got != want {
		t.Fatalf("VerifyDevice = %+v, %v; want %+v", got, err, want)
	}
	if want.Tenant != "acme" || want.DeviceID != device || !want.NotAfter.Equal(noon.Add(DeviceLife)) {
		t.Errorf("identity %+v", want)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if leaf.URIs[0].String() != "picket://device/acme/"+device || leaf.IsCA || leaf.SerialNumber.BitLen() < 96 {
		t.Errorf("URI %s, CA %v, serial %v", leaf.URIs[0], leaf.IsCA, leaf.SerialNumber)
	}
	if again, _ := issue(t, s, "acme", device); again.Serial == want.Serial || again.Fingerprint == want.Fingerprint {
		t.Error("two certificates share a serial number or a fingerprint")
	}
}

func TestKeysSurviveRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := openAt(t, dir)
	_, chain := issue(t, s, "acme", device)
	again, _ := openAt(t, dir)
	if Fingerprint(again.Root()) != Fingerprint(s.Root()) {
		t.Error("the root changed: tokens handed out before are worthless")
	}
	if _, err := again.VerifyDevice(chain); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if strings.HasPrefix(d.Name(), ".new-") {
			t.Errorf("%s is left over", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// forge signs a certificate with the authority of one tenant.
func forge(t testing.TB, s *Store, tenant string, change func(*x509.Certificate)) [][]byte {
	t.Helper()
	ca, err := s.authority(tenant, true)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: device}, URIs: []*url.URL{deviceURI(tenant, device)},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(c)
	leaf, err := ca.sign(c, newKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{leaf.Raw, ca.cert.Raw}
}

func TestVerifyDeviceRefuses(t *testing.T) {
	t.Parallel()
	s, _ := openAt(t, t.TempDir())
	for _, tenant := range []string{"acme", "rival"} {
		if err := s.EnsureTenant(tenant); err != nil {
			t.Fatal(err)
		}
	}
	link := func(text string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = []*url.URL{u}
		}
	}
	if _, err := s.VerifyDevice(forge(t, s, "acme", func(*x509.Certificate) {})); err != nil {
		t.Fatalf("the unchanged certificate must pass: %v", err)
	}
	elsewhere, _ := openAt(t, t.TempDir())
	_, foreign := issue(t, elsewhere, "acme", device)
	for name, chain := range map[string][][]byte{
		"nothing":               nil,
		"rubbish":               {[]byte("rubbish")},
		"a long chain":          {{1}, {2}, {3}, {4}, {5}},
		"another tenant's name": forge(t, s, "rival", link("picket://device/acme/"+device)),
		"an unknown tenant":     forge(t, s, "acme", link("picket://device/nobody/"+device)),
		"a path as tenant":      forge(t, s, "acme", link("picket://device/..%2Facme/"+device)),
		"an upper-case id":      forge(t, s, "acme", link("picket://device/acme/"+strings.ToUpper(other))),
		"a short id":            forge(t, s, "acme", link("picket://device/acme/0123")),
		"a third part":          forge(t, s, "acme", link("picket://device/acme/"+device+"/x")),
		"a query":               forge(t, s, "acme", link("picket://device/acme/"+device+"?x=1")),
		"a user":                forge(t, s, "acme", link("picket://root@device/acme/"+device)),
		"another scheme":        forge(t, s, "acme", link("https://device/acme/"+device)),
		"another host":          forge(t, s, "acme", link("picket://user/acme/"+device)),
		"no name":               forge(t, s, "acme", func(c *x509.Certificate) { c.URIs = nil }),
		"two names":             forge(t, s, "acme", func(c *x509.Certificate) { c.URIs = append(c.URIs, deviceURI("acme", other)) }),
		"expired":               forge(t, s, "acme", func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) }),
		"not yet good":          forge(t, s, "acme", func(c *x509.Certificate) { c.NotBefore = noon.Add(time.Minute) }),
		"for servers":           forge(t, s, "acme", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		"another deployment":    foreign,
		"the authority itself":  forge(t, s, "acme", func(*x509.Certificate) {})[1:],
	} {
		if id, err := s.VerifyDevice(chain); !errors.Is(err, picket.Denied) {
			t.Errorf("%s: VerifyDevice = %+v, %v; want Denied", name, id, err)
		}
	}
	if s.HasTenant("nobody") || s.HasTenant("../acme") || !s.HasTenant("acme") {
		t.Error("tenants are not told from others")
	}
	if _, err := os.Stat(filepath.Join(s.dir, "tenants", "nobody")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a certificate made the authority of a tenant")
	}
}

func TestRequestKey(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	good := request(t, key, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "root"}, DNSNames: []string{"picket.example"}})
	got, err := RequestKey(good)
	if err != nil || !key.PublicKey.Equal(got) {
		t.Fatalf("RequestKey = %v, %v", got, err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	big384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	broken := append([]byte(nil), good...)
	broken[len(broken)-1] ^= 1
	for name, c := range map[string]struct {
		csr  []byte
		kind error
	}{
		"empty":            {nil, picket.Invalid},
		"rubbish":          {[]byte("rubbish"), picket.Invalid},
		"bytes after it":   {append(append([]byte(nil), good...), 0), picket.Invalid},
		"wrong signature":  {broken, picket.Invalid},
		"RSA":              {request(t, weak, &x509.CertificateRequest{}), picket.Invalid},
		"another curve":    {request(t, big384, &x509.CertificateRequest{}), picket.Invalid},
		"longer than ever": {make([]byte, 64<<10), picket.TooLarge},
	} {
		if _, err := RequestKey(c.csr); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
}

func TestIssueDeviceRefuses(t *testing.T) {
	t.Parallel()
	s, _ := openAt(t, t.TempDir())
	for _, c := range [][2]string{{"acme", "short"}, {"../acme", device}, {"", device}, {"acme", device + "\n"}} {
		if _, _, err := s.IssueDevice(c[0], c[1], newKey(t).Public()); !errors.Is(err, picket.Invalid) {
			t.Errorf("%q %q: %v", c[0], c[1], err)
		}
	}
}

func TestServerCertificateRotates(t *testing.T) {
	t.Parallel()
	s, c := openAt(t, t.TempDir())
	serial := func() *big.Int {
		t.Helper()
		cert, err := s.ServerCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(s.Root())
		for _, name := range []string{"picket.example", "127.0.0.1"} {
			if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: c.now}); err != nil {
				t.Errorf("at %v, %s: %v", c.now, name, err)
			}
		}
		if len(cert.Certificate) != 2 || string(cert.Certificate[1]) != string(s.Root().Raw) {
			t.Error("the root is not in the chain: a sensor cannot compare it with its token")
		}
		return cert.Leaf.SerialNumber
	}
	first := serial()
	c.now = noon.Add(serverLife / 2)
	if serial().Cmp(first) != 0 {
		t.Error("a certificate at half its life was replaced")
	}
	c.now = noon.Add(serverLife * 3 / 4)
	second := serial()
	if second.Cmp(first) == 0 {
		t.Error("a certificate near its end was kept")
	}
	c.now = noon.Add(-12 * time.Hour)
	if serial().Cmp(second) == 0 {
		t.Error("a certificate that is not good yet was kept when the clock went back")
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	t.Parallel()
	write := func(name, text string) func(*testing.T, string) string {
		return func(t *testing.T, dir string) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	for name, damage := range map[string]func(*testing.T, string) string{
		"key is rubbish":         write("root.key", "rubbish"),
		"certificate is rubbish": write("root.crt", "rubbish"),
		"key is empty":           write("root.key", ""),
		"key is huge":            write("root.key", strings.Repeat("x", 1<<20)),
		"key of another": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "root.key")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := writeKey(path, newKey(t)); err != nil {
				t.Fatal(err)
			}
			return path
		},
		"key is gone": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "root.key")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			return path
		},
		"key is open to others": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "root.key")
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
			return path
		},
		"key is a folder": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "root.key")
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
			return path
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			openAt(t, dir)
			path := damage(t, dir)
			if _, err := Open(dir, nil, time.Now); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("Open = %v, want an error that names %s", err, path)
			}
		})
	}
}

// TestCrashInFirstStart leaves the key without its certificate, as a crash
// between the two files does.
func TestCrashInFirstStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := openAt(t, dir)
	if err := os.Remove(filepath.Join(dir, "root.crt")); err != nil {
		t.Fatal(err)
	}
	again, _ := openAt(t, dir)
	if !s.root.key.Equal(again.root.key) {
		t.Error("the key was replaced")
	}
	if _, err := again.ServerCertificate(nil); err != nil {
		t.Error(err)
	}
}

func TestWriteFileNeverReplaces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.key")
	if err := writeFile(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing again: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "one" {
		t.Errorf("file holds %q, %v", got, err)
	}
}

func FuzzVerifyDevice(f *testing.F) {
	s, _ := openAt(f, f.TempDir())
	_, chain := issue(f, s, "acme", device)
	f.Add(chain[0])
	f.Add([]byte{0x30, 0x82})
	f.Fuzz(func(t *testing.T, der []byte) {
		id, err := s.VerifyDevice([][]byte{der})
		if err == nil && (id.Tenant != "acme" || id.DeviceID != device) {
			t.Errorf("accepted as %+v", id)
		}
	})
}

func FuzzRequestKey(f *testing.F) {
	f.Add(request(f, newKey(f), &x509.CertificateRequest{}))
	f.Fuzz(func(t *testing.T, der []byte) {
		if key, err := RequestKey(der); (err == nil) != (key != nil) {
			t.Errorf("key %v, error %v", key, err)
		}
	})
}
