// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picket-edr/picket"
)

// Identity is what a device certificate says.
type Identity struct {
	Tenant      string
	DeviceID    string
	Serial      string // hexadecimal
	Fingerprint [sha256.Size]byte
	NotAfter    time.Time
}

// Store is the keys of a deployment. It is safe for concurrent use.
type Store struct {
	dir string
	now func() time.Time

	root *authority

	mu      sync.Mutex
	tenants map[string]*authority
	server  *tls.Certificate // under mu
	names   []string
}

// Open reads or makes the gateway root below dir. Names are the host names
// and addresses that the gateway answers to.
func Open(dir string, names []string, now func() time.Time) (*Store, error) {
	root, err := loadAuthority(dir, "root", "Picket gateway root", now())
	if err != nil {
		return nil, err
	}
	return &Store{dir: dir, now: now, root: root, tenants: map[string]*authority{}, names: slices.Clone(names)}, nil
}

// Root is the certificate that sensors trust the gateway by.
func (s *Store) Root() *x509.Certificate { return s.root.cert }

// authority returns the authority of a tenant, made at its first use when
// create is set.
func (s *Store) authority(tenant string, create bool) (*authority, error) {
	if err := picket.ValidTenantID(tenant); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.tenants[tenant]; a != nil {
		return a, nil
	}
	dir := filepath.Join(s.dir, "tenants", tenant)
	if _, err := os.Stat(filepath.Join(dir, "ca.crt")); err != nil && !create {
		return nil, fmt.Errorf("tenant %s has no certificate authority: %w", tenant, picket.NotFound)
	}
	a, err := loadAuthority(dir, "ca", "Picket tenant "+tenant, s.now())
	if err != nil {
		return nil, fmt.Errorf("tenant %s: %w", tenant, err)
	}
	s.tenants[tenant] = a
	return a, nil
}

// EnsureTenant makes the authority of a tenant when it has none.
func (s *Store) EnsureTenant(tenant string) error {
	_, err := s.authority(tenant, true)
	return err
}

// HasTenant reports whether a tenant has an authority. It never makes one, so
// the name may come from anywhere.
func (s *Store) HasTenant(tenant string) bool {
	_, err := s.authority(tenant, false)
	return err == nil
}

// RequestKey returns the public key of a certificate request (DER), after
// checking that the requester holds the private one. Nothing else of a
// request is used.
func RequestKey(csr []byte) (crypto.PublicKey, error) {
	if len(csr) > 16<<10 {
		return nil, fmt.Errorf("certificate request of %d bytes: %w", len(csr), picket.TooLarge)
	}
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %v: %w", err, picket.Invalid)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %v: %w", err, picket.Invalid)
	}
	key, ok := req.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("certificate request: want an ECDSA P-256 key: %w", picket.Invalid)
	}
	return key, nil
}

// IssueDevice signs a device certificate. The chain is leaf first, DER.
func (s *Store) IssueDevice(tenant, deviceID string, pub crypto.PublicKey) (Identity, [][]byte, error) {
	if !picket.ValidDeviceID(deviceID) {
		return Identity{}, nil, fmt.Errorf("device id %q: %w", deviceID, picket.Invalid)
	}
	ca, err := s.authority(tenant, true)
	if err != nil {
		return Identity{}, nil, err
	}
	now := s.now()
	cert, err := ca.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: deviceID, Organization: []string{"Picket device"}},
		URIs:        []*url.URL{deviceURI(tenant, deviceID)},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(DeviceLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, pub)
	if err != nil {
		return Identity{}, nil, fmt.Errorf("issue certificate for %s: %w", deviceID, err)
	}
	return identity(tenant, deviceID, cert), [][]byte{cert.Raw, ca.cert.Raw}, nil
}

func identity(tenant, deviceID string, cert *x509.Certificate) Identity {
	return Identity{tenant, deviceID, cert.SerialNumber.Text(16), Fingerprint(cert), cert.NotAfter}
}

func deviceURI(tenant, deviceID string) *url.URL {
	return &url.URL{Scheme: "picket", Host: "device", Path: "/" + tenant + "/" + deviceID}
}

// VerifyDevice checks a presented chain (leaf first, DER) against the
// authority of the tenant that the leaf names, and returns who it is.
func (s *Store) VerifyDevice(chain [][]byte) (Identity, error) {
	if len(chain) == 0 || len(chain) > 4 {
		return Identity{}, fmt.Errorf("device certificate: chain of %d: %w", len(chain), picket.Denied)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return Identity{}, fmt.Errorf("device certificate: %v: %w", err, picket.Denied)
	}
	tenant, deviceID, err := named(leaf)
	if err != nil {
		return Identity{}, err
	}
	ca, err := s.authority(tenant, false)
	if err != nil {
		return Identity{}, fmt.Errorf("device certificate: %w: %w", err, picket.Denied)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	opts := x509.VerifyOptions{Roots: pool, CurrentTime: s.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := leaf.Verify(opts); err != nil {
		return Identity{}, fmt.Errorf("device certificate of %s/%s: %v: %w", tenant, deviceID, err, picket.Denied)
	}
	return identity(tenant, deviceID, leaf), nil
}

// named reads tenant and device from the one URI of a certificate.
func named(leaf *x509.Certificate) (tenant, deviceID string, err error) {
	if len(leaf.URIs) == 1 {
		if u := leaf.URIs[0]; u.Scheme == "picket" && u.Host == "device" {
			parts := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
			if len(parts) == 2 && picket.ValidTenantID(parts[0]) == nil && picket.ValidDeviceID(parts[1]) && u.String() == deviceURI(parts[0], parts[1]).String() {
				return parts[0], parts[1], nil
			}
		}
	}
	return "", "", fmt.Errorf("device certificate names no device: %w", picket.Denied)
}

// ServerCertificate returns the gateway's certificate, made new when two
// thirds of its life are over. It fits tls.Config.GetCertificate.
func (s *Store) ServerCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.server != nil && now.Before(s.server.Leaf.NotAfter.Add(-serverLife/3)) && !now.Before(s.server.Leaf.NotBefore) {
		return s.server, nil
	}
	cert, err := s.issueServer(now)
	if err != nil {
		return nil, err
	}
	s.server = cert
	return cert, nil
}

// issueServer keeps the key in memory only: a new one after each start costs
// nothing, because sensors pin the root.
func (s *Store) issueServer(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Picket gateway"},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(serverLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range s.names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	leaf, err := s.root.sign(t, key.Public())
	if err != nil {
		return nil, fmt.Errorf("gateway certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, s.root.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// RootPEM is the gateway root for people who want to check or import it.
func (s *Store) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.root.cert.Raw})
}
