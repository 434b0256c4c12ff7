// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
	"github.com/picket-edr/picket/wire/wirepb/wirepbconnect"
)

// Client is a simulated sensor: it has an identity of its own and says to the
// gateway exactly what it is told to, which a real sensor would not.
type Client struct {
	Address  string // of the gateway
	DeviceID string
	Tenant   string
	Facts    *wirepb.Facts

	cert tls.Certificate
	root *x509.CertPool
	http *http.Client
}

// Enrol redeems a token at a gateway.
func Enrol(ctx context.Context, address, token string, facts *wirepb.Facts) (*Client, error) {
	t, err := wire.ParseToken(token)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	pinned := &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, //nolint:gosec // the pin below is the check
		VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
			if len(chain) == 0 || sha256.Sum256(chain[len(chain)-1]) != t.Root {
				return errors.New("the gateway's root is not the one that the token pins")
			}
			return nil
		},
	}
	hc := client(pinned)
	defer hc.CloseIdleConnections()
	resp, err := wirepbconnect.NewEnrolmentClient(hc, "https://"+address).Enrol(ctx, connect.NewRequest(&wirepb.EnrolRequest{Token: token, Csr: csr, Facts: facts}))
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	c := &Client{Address: address, DeviceID: resp.Msg.DeviceId, Tenant: resp.Msg.Tenant, Facts: facts, root: x509.NewCertPool()}
	c.cert = tls.Certificate{Certificate: resp.Msg.CertificateChain, PrivateKey: key}
	for _, der := range resp.Msg.ServerRoots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("enrol: %v: %w", err, picket.Invalid)
		}
		c.root.AddCert(root)
	}
	c.http = client(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: c.root, Certificates: []tls.Certificate{c.cert}})
	return c, nil
}

func client(cfg *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Stream is one connection of a simulated sensor.
type Stream struct {
	*connect.BidiStreamForClient[wirepb.Up, wirepb.Down]
	Welcome *wirepb.Welcome
}

// Open connects and says hello.
func (c *Client) Open(ctx context.Context, hello *wirepb.Hello) (*Stream, error) {
	if hello.Facts == nil {
		hello.Facts = c.Facts
	}
	s := &Stream{BidiStreamForClient: wirepbconnect.NewSensorClient(c.http, "https://"+c.Address).Connect(ctx)}
	if err := s.Send(&wirepb.Up{Kind: &wirepb.Up_Hello{Hello: hello}}); err != nil {
		_, err2 := s.Receive() // the reason is on the way back
		return nil, errors.Join(err, err2)
	}
	for {
		down, err := s.Receive()
		if err != nil {
			return nil, err
		}
		if w := down.GetWelcome(); w != nil {
			s.Welcome = w
			return s, nil
		}
	}
}

// Batch sends one encoded batch.
func (s *Stream) Batch(boot string, seq uint64, payload []byte) error {
	return s.Send(&wirepb.Up{Kind: &wirepb.Up_Batch{Batch: &wirepb.Batch{BootId: boot, Seq: seq, Payload: payload}}})
}

// Answer returns the next acknowledgement or refusal.
func (s *Stream) Answer() (*wirepb.Ack, *wirepb.Reject, error) {
	for {
		down, err := s.Receive()
		if err != nil {
			return nil, nil, err
		}
		if a, r := down.GetAck(), down.GetReject(); a != nil || r != nil {
			return a, r, nil
		}
	}
}

// Close ends the stream.
func (s *Stream) Close() {
	_ = s.CloseRequest()
	_ = s.CloseResponse()
}

// Small returns an encoded batch of n tiny rows.
func Small(boot string, seq uint64, prev event.Hash, n int) ([]byte, error) {
	var b event.Builder
	for i := range n {
		b.Add(&event.DeviceEvents{Timestamp: event.Time(1764000000000000 + int64(i)), ActionType: "SensorStarted", ReportId: int64(seq)*1000 + int64(i)})
	}
	return (&event.Batch{BootID: boot, Seq: seq, Prev: prev, Blocks: b.Take()}).Encode()
}
