// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket"
)

// Timeouts of a connection.
const (
	dialTimeout = 15 * time.Second
	pingAfter   = 15 * time.Second // of silence
	pingTimeout = 15 * time.Second
	writeStall  = 60 * time.Second
	callTimeout = 60 * time.Second // of one call that is not a stream
	maxReceive  = 4 << 20          // bytes of one message from the server
)

// errNotPinned says that nobody in the server's chain has the pinned hash.
var errNotPinned = errors.New("the server's root is not the one that the token names")

// ParseServer checks a server address and adds the default port.
func ParseServer(server string) (string, error) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		host, port = server, "8444"
		if h, p, err := net.SplitHostPort(server + ":" + port); err == nil {
			host, port = h, p
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" || (strings.Contains(host, ":") && net.ParseIP(host) == nil) {
		return "", fmt.Errorf("server %q: want HOST or HOST:PORT: %w", server, picket.Invalid)
	}
	return net.JoinHostPort(host, port), nil
}

// pinnedTLS is for the first contact: the server is whoever has a certificate
// from the root with the pinned hash.
func pinnedTLS(server string, pin [sha256.Size]byte) *tls.Config {
	host, _, _ := net.SplitHostPort(server) // checked by ParseServer
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         host,
		InsecureSkipVerify: true, // replaced by the check below
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyPinned(s.PeerCertificates, host, pin, time.Now())
		},
	}
}

// verifyPinned checks a chain against the hash of its root.
func verifyPinned(chain []*x509.Certificate, host string, pin [sha256.Size]byte, now time.Time) error {
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), DNSName: host, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	pinned := false
	for _, c := range chain {
		if sum := sha256.Sum256(c.Raw); bytes.Equal(sum[:], pin[:]) {
			opts.Roots.AddCert(c)
			pinned = true
		} else {
			opts.Intermediates.AddCert(c)
		}
	}
	if !pinned {
		return errNotPinned
	}
	_, err := chain[0].Verify(opts)
	return err
}

// mutualTLS is for everything after enrolment. A clock that runs behind the
// moment at which the server issued our certificate is not believed.
func mutualTLS(server string, c *credentials, now func() time.Time) *tls.Config {
	host, _, _ := net.SplitHostPort(server) // checked by ParseServer
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		ServerName:   host,
		RootCAs:      c.roots,
		Certificates: []tls.Certificate{c.cert},
		Time: func() time.Time {
			t := now()
			if floor := c.cert.Leaf.NotBefore; t.Before(floor) {
				return floor
			}
			return t
		},
	}
}

// newTransport makes HTTP/2 connections to the server over one way.
func newTransport(way Way, config *tls.Config) *http.Transport {
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: pingAfter}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
		IdleConnTimeout:     time.Minute,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: writeStall},
	}
	if way.Proxy != nil {
		t.Proxy = func(*http.Request) (*url.URL, error) { return way.Proxy, nil }
	}
	return t
}

// client is an HTTP client that follows no redirection: the protocol has none.
func client(t *http.Transport) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
