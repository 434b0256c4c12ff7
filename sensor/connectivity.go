// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/net/proxy"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
	"github.com/picket-edr/picket/wire/wirepb/wirepbconnect"
)

// Steps of a connectivity test, in their order.
const (
	StepDNS         = "dns"         // the name resolves, of the proxy where there is one
	StepTCP         = "tcp"         // something answers
	StepProxy       = "proxy"       // the proxy connects us to the server
	StepTLS         = "tls"         // the server speaks TLS 1.3
	StepCertificate = "certificate" // it is our server
	StepServer      = "server"      // it speaks the protocol, and knows this device
)

// Step is the outcome of one step.
type Step struct {
	Step   string  `json:"step"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail,omitempty"`
	Error  string  `json:"error,omitempty"`
	MS     float64 `json:"ms"`
}

// Connectivity is the outcome of a test of one way to the server.
type Connectivity struct {
	Way    string `json:"way"`
	Proxy  string `json:"proxy,omitempty"` // without password
	Server string `json:"server"`
	OK     bool   `json:"ok"`
	Failed string `json:"failed,omitempty"` // step that failed
	Steps  []Step `json:"steps"`
}

// ConnectivityOptions say what a test is to try.
type ConnectivityOptions struct {
	Server   string    // host:port
	Proxy    string    // as for ParseProxy
	Identity *Identity // nil: not enrolled
	Token    string    // for the pinned root, when not enrolled; may be empty
}

const stepTimeout = 10 * time.Second

// TestConnectivity tries every way to the server and says which step fails.
func TestConnectivity(ctx context.Context, o ConnectivityOptions) ([]Connectivity, error) {
	server, err := ParseServer(o.Server)
	if err != nil {
		return nil, err
	}
	ways, err := AllWays(o.Proxy, server)
	if err != nil {
		return nil, err
	}
	t := &probe{server: server}
	switch {
	case o.Identity != nil:
		if t.creds, err = o.Identity.parse(); err != nil {
			return nil, err
		}
	case o.Token != "":
		token, err := wire.ParseToken(o.Token)
		if err != nil {
			return nil, err
		}
		t.token = &token
	}
	var all []Connectivity
	for _, w := range ways {
		all = append(all, t.try(ctx, w))
	}
	return all, nil
}

// probe tests the ways to one server.
type probe struct {
	server string
	creds  *credentials // nil: not enrolled
	token  *wire.Token  // nil: none
}

// attempt is the state of one test.
type attempt struct {
	*probe
	way  Way
	host string // of the first hop
	port string
	conn net.Conn
	tls  *tls.Conn
}

func (p *probe) try(ctx context.Context, w Way) Connectivity {
	c := Connectivity{Way: w.Name, Server: p.server, OK: true}
	a := &attempt{probe: p, way: w}
	defer func() {
		if a.conn != nil {
			a.conn.Close()
		}
	}()
	a.host, a.port, _ = net.SplitHostPort(p.server) // checked by ParseServer
	steps := []string{StepDNS, StepTCP, StepTLS, StepCertificate, StepServer}
	if w.Proxy != nil {
		c.Proxy = w.Proxy.Redacted()
		a.host, a.port = w.Proxy.Hostname(), proxyPort(w.Proxy)
		steps = []string{StepDNS, StepTCP, StepProxy, StepTLS, StepCertificate, StepServer}
	}
	do := map[string]func(context.Context) (string, error){
		StepDNS: a.resolve, StepTCP: a.dial, StepProxy: a.throughProxy, StepTLS: a.handshake, StepCertificate: a.verify, StepServer: a.ask,
	}
	for _, name := range steps {
		began := time.Now()
		sctx, cancel := context.WithTimeout(ctx, stepTimeout)
		detail, err := do[name](sctx)
		cancel()
		s := Step{Step: name, OK: err == nil, Detail: detail, MS: float64(time.Since(began).Microseconds()) / 1000}
		if err != nil {
			s.Error = err.Error()
			c.OK, c.Failed = false, name
		}
		c.Steps = append(c.Steps, s)
		if err != nil {
			break
		}
	}
	return c
}

func proxyPort(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "socks5" {
		return "1080"
	}
	return "80"
}

func (a *attempt) resolve(ctx context.Context) (string, error) {
	addrs, err := net.DefaultResolver.LookupHost(ctx, a.host)
	return strings.Join(addrs, " "), err
}

func (a *attempt) dial(ctx context.Context) (string, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(a.host, a.port))
	if err != nil {
		return "", err
	}
	a.conn = c
	return c.RemoteAddr().String(), nil
}

// deadline bounds what happens on the connection by ctx.
func (a *attempt) deadline(ctx context.Context) error {
	d, _ := ctx.Deadline() // every step has one
	return a.conn.SetDeadline(d)
}

func (a *attempt) throughProxy(ctx context.Context) (string, error) {
	if err := a.deadline(ctx); err != nil {
		return "", err
	}
	if a.way.Proxy.Scheme == "socks5" {
		return a.socks()
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: a.server}, Host: a.server, Header: http.Header{}}
	if u := a.way.Proxy.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(a.conn); err != nil {
		return "", err
	}
	in := bufio.NewReader(a.conn)
	res, err := http.ReadResponse(in, req)
	if err != nil {
		return "", fmt.Errorf("this is not an HTTP proxy: %w", err)
	}
	res.Body.Close()
	switch {
	case res.StatusCode == http.StatusProxyAuthRequired:
		return "", fmt.Errorf("the proxy wants a user and a password, or others (%s): %w", res.Status, picket.Denied)
	case res.StatusCode != http.StatusOK:
		return "", fmt.Errorf("the proxy does not connect us to %s: %s: %w", a.server, res.Status, picket.Denied)
	case in.Buffered() > 0:
		return "", fmt.Errorf("the proxy says more than its answer: %w", picket.Invalid)
	}
	return res.Status, nil
}

// given is a dialer for a connection that exists.
type given struct{ net.Conn }

func (g given) Dial(string, string) (net.Conn, error) { return g.Conn, nil }

func (a *attempt) socks() (string, error) {
	var auth *proxy.Auth
	if u := a.way.Proxy.User; u != nil {
		password, _ := u.Password()
		auth = &proxy.Auth{User: u.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", a.conn.RemoteAddr().String(), auth, given{a.conn})
	if err != nil {
		return "", err
	}
	c, err := d.Dial("tcp", a.server)
	if err != nil {
		return "", err
	}
	a.conn = c
	return "connected", nil
}

func (a *attempt) handshake(ctx context.Context) (string, error) {
	host, _, _ := net.SplitHostPort(a.server) // checked by ParseServer
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: host, NextProtos: []string{"h2"},
		InsecureSkipVerify: true, // the next step tells what is wrong with the certificate
	}
	if a.creds != nil {
		config.Certificates = []tls.Certificate{a.creds.cert}
	}
	c := tls.Client(a.conn, config)
	if err := c.HandshakeContext(ctx); err != nil {
		return "", err
	}
	a.conn, a.tls = c, c
	s := c.ConnectionState()
	if s.NegotiatedProtocol != "h2" {
		return "", fmt.Errorf("the server does not speak HTTP/2; something between may open the connection: %w", picket.Invalid)
	}
	return tls.VersionName(s.Version), nil
}

func (a *attempt) verify(context.Context) (string, error) {
	chain := a.tls.ConnectionState().PeerCertificates
	host, _, _ := net.SplitHostPort(a.server) // checked by ParseServer
	leaf := chain[0]
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	what := fmt.Sprintf("%s for %s, issued by %s, good until %s", leaf.Subject.CommonName, strings.Join(names, " "), leaf.Issuer.CommonName, leaf.NotAfter.UTC().Format(time.RFC3339))
	var err error
	switch {
	case a.creds != nil:
		opts := x509.VerifyOptions{Roots: a.creds.roots, Intermediates: x509.NewCertPool(), DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		for _, c := range chain[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err = leaf.Verify(opts)
	case a.token != nil:
		err = verifyPinned(chain, host, a.token.Root, time.Now())
	default:
		return "not checked, for want of an identity or a token: " + what, nil
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		err = fmt.Errorf("not our server, or something between opens the connection: %w", err)
	}
	if err != nil {
		return "", fmt.Errorf("%w (it is %s)", err, what)
	}
	return what, nil
}

// ask speaks the protocol: an enrolled sensor asks for a renewal with an empty
// request, which changes nothing.
func (a *attempt) ask(ctx context.Context) (string, error) {
	if err := a.deadline(ctx); err != nil {
		return "", err
	}
	used := false
	t := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, fmt.Errorf("the server closed the connection: %w", picket.Unavailable)
		}
		used = true
		return a.tls, nil
	}}
	defer t.CloseIdleConnections()
	if a.creds == nil {
		return askAnonymous(ctx, client(t), a.server)
	}
	c := wirepbconnect.NewSensorClient(client(t), "https://"+a.server, connect.WithReadMaxBytes(maxReceive))
	_, err := c.Renew(ctx, connect.NewRequest(&wirepb.RenewRequest{}))
	switch {
	case connect.CodeOf(err) == connect.CodeInvalidArgument && connect.IsWireError(err):
		return "the server knows this device", nil
	case err == nil:
		return "", fmt.Errorf("the server renewed a certificate without a request: %w", picket.Invalid)
	}
	return "", fromWire(err)
}

func askAnonymous(ctx context.Context, c *http.Client, server string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+server+wirepbconnect.EnrolmentEnrolProcedure, nil)
	if err != nil {
		return "", err
	}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		return "", fmt.Errorf("this is not a Picket gateway: %s: %w", res.Status, picket.Invalid)
	}
	return "a Picket gateway", nil
}
