// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/picket-edr/picket"
)

// Identity is what enrolment gives a sensor: who it is, its key and
// certificate, and by what it knows its server. It is one file, so that key
// and certificate never part.
type Identity struct {
	DeviceID  string    `json:"device_id"`
	Tenant    string    `json:"tenant"`
	Group     string    `json:"group"`
	Server    string    `json:"server"` // host:port
	MachineID string    `json:"machine_id"`
	Enrolled  time.Time `json:"enrolled"`
	Key       []byte    `json:"key"`   // PKCS #8, DER
	Chain     [][]byte  `json:"chain"` // DER, leaf first
	Roots     [][]byte  `json:"roots"` // DER
}

// identityFile is the name of the file in the data folder.
const identityFile = "identity"

// LoadIdentity reads the identity in a data folder. The error wraps
// picket.NotFound when the sensor is not enrolled.
func LoadIdentity(dir string) (*Identity, error) {
	b, err := os.ReadFile(filepath.Join(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("this sensor is not enrolled (no identity in %s): %w", dir, picket.NotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	id := &Identity{}
	if err := json.Unmarshal(b, id); err != nil {
		return nil, fmt.Errorf("read identity: %v: %w", err, picket.Invalid)
	}
	if _, err := id.parse(); err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	return id, nil
}

// save writes the identity whole or not at all.
func (id *Identity) save(dir string) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	if err := writeFile(filepath.Join(dir, identityFile), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}

// credentials are the parsed parts of an identity.
type credentials struct {
	cert  tls.Certificate
	roots *x509.CertPool
}

func (id *Identity) parse() (*credentials, error) {
	if !picket.ValidDeviceID(id.DeviceID) {
		return nil, fmt.Errorf("identity: device id %q: %w", id.DeviceID, picket.Invalid)
	}
	if len(id.Chain) == 0 || len(id.Roots) == 0 {
		return nil, fmt.Errorf("identity: no certificate or no root: %w", picket.Invalid)
	}
	k, err := x509.ParsePKCS8PrivateKey(id.Key)
	if err != nil {
		return nil, fmt.Errorf("identity: key: %v: %w", err, picket.Invalid)
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("identity: key is a %T: %w", k, picket.Invalid)
	}
	c := &credentials{roots: x509.NewCertPool()}
	c.cert = tls.Certificate{Certificate: id.Chain, PrivateKey: key}
	if c.cert.Leaf, err = x509.ParseCertificate(id.Chain[0]); err != nil {
		return nil, fmt.Errorf("identity: certificate: %v: %w", err, picket.Invalid)
	}
	if pub, ok := c.cert.Leaf.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(&key.PublicKey) {
		return nil, fmt.Errorf("identity: certificate is not of the key: %w", picket.Invalid)
	}
	for _, der := range id.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("identity: root: %v: %w", err, picket.Invalid)
		}
		c.roots.AddCert(root)
	}
	return c, nil
}

// renewAfter is the moment at which two thirds of the certificate's life are over.
func (c *credentials) renewAfter() time.Time {
	l := c.cert.Leaf
	return l.NotBefore.Add(l.NotAfter.Sub(l.NotBefore) / 3 * 2)
}

// newKey makes a key and a request for a certificate of it.
func newKey() (key, csr []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	if key, err = x509.MarshalPKCS8PrivateKey(k); err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	if csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k); err != nil {
		return nil, nil, fmt.Errorf("make certificate request: %w", err)
	}
	return key, csr, nil
}

// vault holds the identity in use. It is safe for concurrent use.
type vault struct {
	dir string

	mu    sync.Mutex
	id    *Identity
	creds *credentials
}

func newVault(dir string, id *Identity) (*vault, error) {
	c, err := id.parse()
	if err != nil {
		return nil, err
	}
	return &vault{dir: dir, id: id, creds: c}, nil
}

func (v *vault) get() (*Identity, *credentials) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.id, v.creds
}

// replace puts a renewed identity into use once it is on disk.
func (v *vault) replace(id *Identity) error {
	c, err := id.parse()
	if err != nil {
		return err
	}
	if err := id.save(v.dir); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.id, v.creds = id, c
	return nil
}

// writeFile writes path whole or not at all, and has it on disk on return. The
// file belongs to whom its folder belongs: commands of root write into the
// folder of an agent that is not root.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing to remove once it is renamed
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = ownLikeFolder(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
