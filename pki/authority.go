// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/picket-edr/picket"
)

// Lifetimes of certificates.
const (
	rootLife   = 20 * 365 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
	DeviceLife = 30 * 24 * time.Hour
	// backdate allows for clocks that are behind.
	backdate = 24 * time.Hour
)

// authority is a certificate that signs others, with its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// maxFile bounds what is read of a file in the folder of keys.
const maxFile = 64 << 10

// loadAuthority reads dir/NAME.crt and dir/NAME.key, and makes what is
// missing. A key without its certificate is what a crash in the middle of the
// first start leaves: it gets a certificate. A certificate without its key is
// an error: a new key would orphan everything that the old one signed.
func loadAuthority(dir, name, subject string, now time.Time) (*authority, error) {
	certPath, keyPath := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	certPEM, errCert := readFile(certPath, 0o022)
	keyPEM, errKey := readFile(keyPath, 0o077)
	noCert, noKey := errors.Is(errCert, fs.ErrNotExist), errors.Is(errKey, fs.ErrNotExist)
	switch {
	case noKey && noCert:
		return newAuthority(dir, name, subject, now)
	case noKey:
		return nil, fmt.Errorf("%s is gone but its certificate is there; restore it from a backup: %w", keyPath, picket.Conflict)
	case errKey != nil:
		return nil, errKey
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyPath, err)
	}
	if noCert {
		return certifyAuthority(certPath, subject, key, now)
	}
	if errCert != nil {
		return nil, errCert
	}
	cert, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certPath, err)
	}
	if !cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s does not belong to %s: %w", keyPath, certPath, picket.Invalid)
	}
	return &authority{cert, key}, nil
}

// readFile reads a small regular file. It refuses one that people it is not
// meant for may change or read: forbidden is the bits that must not be set.
// Every error names the file.
func readFile(path string, forbidden fs.FileMode) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file: %w", path, picket.Invalid)
	case info.Mode().Perm()&forbidden != 0 && runtime.GOOS != "windows":
		return nil, fmt.Errorf("%s: mode %#o lets others in; set it to %#o: %w", path, info.Mode().Perm(), info.Mode().Perm()&^forbidden, picket.Denied)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s: %d bytes, at most %d: %w", path, info.Size(), maxFile, picket.TooLarge)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

func newAuthority(dir, name, subject string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// The key first: a key alone can be certified at the next start.
	if err := writeKey(filepath.Join(dir, name+".key"), key); err != nil {
		return nil, err
	}
	return certifyAuthority(filepath.Join(dir, name+".crt"), subject, key, now)
}

// certifyAuthority signs the certificate of an authority with its own key and
// keeps it.
func certifyAuthority(path, subject string, key *ecdsa.PrivateKey, now time.Time) (*authority, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: subject, Organization: []string{"Picket"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return nil, err
	}
	return &authority{cert, key}, nil
}

// sign issues a certificate for a public key.
func (a *authority) sign(template *x509.Certificate, pub crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// newSerial returns 128 random bits as a positive number.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

func parseCertificate(data []byte) (*x509.Certificate, error) {
	b, _ := pem.Decode(data)
	if b == nil || b.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("no PEM certificate: %w", picket.Invalid)
	}
	cert, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, picket.Invalid)
	}
	return cert, nil
}

func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	b, _ := pem.Decode(data)
	if b == nil || b.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("no PEM private key: %w", picket.Invalid)
	}
	k, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, picket.Invalid)
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("not an elliptic-curve key: %w", picket.Invalid)
	}
	return key, nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// writeFile creates path whole or not at all with mode 0600, and has it on
// disk on return. A file that is there already stays: the error is then
// fs.ErrExist, for a second process was faster.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Fingerprint is the SHA-256 of a certificate's DER form.
func Fingerprint(cert *x509.Certificate) [sha256.Size]byte { return sha256.Sum256(cert.Raw) }
