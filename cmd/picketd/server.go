// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/api"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/content"
	"github.com/picket-edr/picket/gateway"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/sensor"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/store"
	"github.com/picket-edr/picket/store/duckdb"
	"github.com/picket-edr/picket/web"
	"github.com/picket-edr/picket/wire"
)

// picketServer is the assembled server.
type picketServer struct {
	cfg       Config
	log       *slog.Logger
	stdout    io.Writer
	stderr    io.Writer
	db        *state.DB
	keys      *pki.Store
	bus       *bus.Bus
	auth      *auth.Service
	gateway   *gateway.Gateway
	registry  *registry
	notify    *notifier
	hub       *api.Hub
	pipelines map[string]*pipeline
	metrics   *prometheus.Registry
}

// serve assembles the server and runs it until ctx ends. Parts are opened
// from the bottom up and closed in the opposite order.
func serve(ctx context.Context, cfg Config, sensor string, stdout, stderr io.Writer) error {
	s := &picketServer{cfg: cfg, log: cfg.Log.logger(stderr), stdout: stdout, stderr: stderr, hub: api.NewHub(), pipelines: map[string]*pipeline{}, metrics: prometheus.NewRegistry()}
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return err
	}
	data, err := filepath.Abs(cfg.Data)
	if err != nil {
		return err
	}
	s.cfg.Data = data
	unlock, err := lockData(data)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.open(ctx); err != nil {
		s.close()
		return err
	}
	defer s.close()
	return s.run(ctx, sensor)
}

// open opens every engine.
func (s *picketServer) open(ctx context.Context) error {
	var err error
	if s.db, err = state.Open(ctx, state.Options{URL: s.cfg.stateURL(), Log: s.log}); err != nil {
		return err
	}
	if _, err := s.db.Tenant(ctx, picket.DefaultTenant); errors.Is(err, picket.NotFound) {
		err = s.db.CreateTenant(ctx, picket.Tenant{ID: picket.DefaultTenant, Name: "My organisation", Retention: picket.DefaultRetention, Created: time.Now()})
		if err != nil {
			return err
		}
	}
	if s.auth, err = auth.New(auth.Options{Users: s.db, Sessions: s.db, Tokens: s.db, Attempts: s.db, Audit: s.db, Tenant: picket.DefaultTenant, Now: time.Now}); err != nil {
		return err
	}
	if s.keys, err = pki.Open(filepath.Join(s.cfg.Data, "pki"), s.gatewayNames(), time.Now); err != nil {
		return err
	}
	if s.bus, err = bus.Open(ctx, bus.Options{Dir: filepath.Join(s.cfg.Data, "bus"), URL: s.cfg.Bus.URL, MaxBytes: s.cfg.Bus.MaxBytes, Log: s.log, Metrics: s.metrics}); err != nil {
		return err
	}
	s.notify = &notifier{publish: s.bus.Notify, log: s.log, done: map[string]bool{}}
	if err := s.openPipelines(ctx); err != nil {
		return err
	}
	s.registry = newRegistry(s.db, s.keys, s.notify, s.log)
	s.gateway = gateway.New(gateway.Options{
		Keys: s.keys, Registry: s.registry, Presence: s.registry, Publisher: s.bus, Auditor: &auditor{db: s.db, log: s.log},
		Limits: gateway.DefaultLimits, Log: s.log, Now: time.Now, Metrics: s.metrics,
	})
	return nil
}

// openPipelines opens store and detection of every tenant.
func (s *picketServer) openPipelines(ctx context.Context) error {
	rules, err := content.Rules()
	if err != nil {
		return err
	}
	metrics := newPipelineMetrics(s.metrics)
	tenants, err := s.db.Tenants(ctx)
	if err != nil {
		return err
	}
	for _, t := range tenants {
		if err := s.keys.EnsureTenant(t.ID); err != nil {
			return err
		}
		if err := s.db.LoseContacts(ctx, t.ID); err != nil {
			return err
		}
		events, err := duckdb.Open(ctx, duckdb.Options{Dir: eventsDir(s.cfg.Data, t.ID), MemoryMB: s.cfg.Store.MemoryMB, Threads: s.cfg.Store.Threads, Log: s.log, Now: time.Now})
		if err != nil {
			return err
		}
		p := &pipeline{tenant: t.ID, bus: s.bus, db: s.db, events: events, testRule: content.DetectionTestRule, notify: s.notify, metrics: metrics, log: s.log}
		s.pipelines[t.ID] = p
		if p.engine, err = newEngine(rules, s.log); err != nil {
			return err
		}
	}
	return nil
}

func (s *picketServer) close() {
	for id, p := range s.pipelines {
		if err := p.events.Close(); err != nil {
			s.log.Error("event store is not closed in order", "tenant", id, "error", err)
		}
	}
	if s.bus != nil {
		s.bus.Close()
	}
	if s.db != nil {
		if err := s.db.Close(); err != nil {
			s.log.Error("state database is not closed in order", "error", err)
		}
	}
}

// run starts every role and waits until ctx ends or one of them fails.
func (s *picketServer) run(ctx context.Context, sensor string) error {
	portal, err := net.Listen("tcp", s.cfg.Portal.Listen)
	if err != nil {
		return fmt.Errorf("portal: %w", err)
	}
	sensors, err := net.Listen("tcp", s.cfg.Gateway.Listen)
	if err != nil {
		portal.Close()
		return fmt.Errorf("gateway: %w", err)
	}
	stop, err := s.bus.Subscribe("ui.>", s.forward)
	if err != nil {
		return err
	}
	defer stop()
	handler, err := s.handler()
	if err != nil {
		return err
	}
	if err := s.announce(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.gateway.Serve(ctx, sensors) })
	g.Go(func() error { return s.servePortal(ctx, portal, handler) })
	g.Go(func() error { return s.registry.run(ctx) })
	g.Go(func() error { return s.upkeep(ctx) })
	g.Go(func() error { return admin(ctx, s.cfg.Data, s.backup, s.log) })
	for _, p := range s.pipelines {
		g.Go(func() error { return p.run(ctx) })
	}
	if sensor != "" {
		local := &localSensor{program: sensor, data: s.cfg.Data, gateway: s.cfg.gatewayAddress(), token: s.localToken, log: s.log, stderr: s.stderr}
		g.Go(func() error { return local.run(ctx) })
	}
	return g.Wait()
}

// forward hands notifications from the bus to browsers.
func (s *picketServer) forward(subject string, data []byte) {
	var c api.Change
	if err := json.Unmarshal(data, &c); err != nil {
		s.log.Warn("unreadable notification", "subject", subject, "error", err)
		return
	}
	s.hub.Send(subject[len(changeSubject("")):], c)
}

// handler assembles the HTTP interface.
func (s *picketServer) handler() (http.Handler, error) {
	rules, err := content.Rules()
	if err != nil {
		return nil, err
	}
	var listed []api.Rule
	for _, r := range rules {
		listed = append(listed, api.Rule{ID: r.ID, Title: r.Title, Level: r.Level, Severity: string(r.Severity), Category: r.Category, Techniques: append([]string{}, r.Techniques...), Enabled: true, Author: r.Author, Description: r.Description})
	}
	return api.New(api.Options{
		Auth: s.auth, Devices: s.db, Alerts: s.db, Marks: s.db, Setup: s.db, Tokens: s.db, Policies: s.db, Audit: s.db, Events: s.eventsOf, Hub: s.hub,
		Rules: listed, Roles: s.roles, TokenText: s.tokenText, RevokeDevice: s.gateway.Revoke, CheckPolicy: checkPolicy, PolicyChanged: s.gateway.PolicyChanged, Gateway: s.cfg.gatewayAddress(), PortalURL: s.cfg.portalURL(),
		DetectionTest: content.DetectionTestCommand, SensorDir: s.sensorDir(), Portal: web.FS(), Secure: s.secure(), Metrics: s.metrics, Log: s.log, Now: time.Now,
	})
}

// checkPolicy refuses what sensors of this version would refuse.
func checkPolicy(text []byte) error {
	_, err := sensor.ParsePolicy(text)
	return err
}

func (s *picketServer) eventsOf(tenant string) (store.Events, error) {
	if p := s.pipelines[tenant]; p != nil {
		return p.events, nil
	}
	return nil, fmt.Errorf("tenant %s has no event store here: %w", tenant, picket.Unavailable)
}

// roles reports the state of the server's parts.
func (s *picketServer) roles(ctx context.Context) []api.RoleState {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	state := func(name, detail string, err error) api.RoleState {
		if err != nil {
			return api.RoleState{Name: name, State: "failed", Detail: err.Error()}
		}
		return api.RoleState{Name: name, State: "ok", Detail: detail}
	}
	out := []api.RoleState{
		state("gateway", connected(s.gateway.Connected()), nil),
		state("bus", "", s.bus.Ready(ctx)),
		state("state", "", s.db.Ping(ctx)),
	}
	for id, p := range s.pipelines {
		st := p.events.Stats()
		at, err := s.bus.State(ctx, id)
		out = append(out, state("store/"+id, fmt.Sprintf("%d rows in %d files, %d in memory, %d lost to damage", st.Rows, st.Files, st.Hot, st.Lost), p.events.Flush()))
		out = append(out, state("detection/"+id, fmt.Sprintf("%d messages on the bus", at.Last-min(at.Last, max(at.First, 1)-1)), err))
	}
	return out
}

// connected says how many devices are.
func connected(n int) string {
	if n == 1 {
		return "1 device connected"
	}
	return fmt.Sprintf("%d devices connected", n)
}

func (s *picketServer) tokenText(tenant string, secret [32]byte) string {
	return wire.Token{Tenant: tenant, Secret: secret, Root: pki.Fingerprint(s.keys.Root())}.String()
}

func (s *picketServer) secure() bool {
	return s.cfg.Portal.TLSCert != "" || !loopback(s.cfg.Portal.Listen)
}

// servePortal answers browsers and programs until ctx ends.
func (s *picketServer) servePortal(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	if s.secure() {
		cfg := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.keys.ServerCertificate, NextProtos: []string{"h2", "http/1.1"}}
		if s.cfg.Portal.TLSCert != "" {
			cert, err := tls.LoadX509KeyPair(s.cfg.Portal.TLSCert, s.cfg.Portal.TLSKey)
			if err != nil {
				return fmt.Errorf("portal: %w", err)
			}
			cfg.GetCertificate, cfg.Certificates = nil, []tls.Certificate{cert}
		}
		l = tls.NewListener(l, cfg)
	}
	stop := context.AfterFunc(ctx, func() {
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if srv.Shutdown(wait) != nil {
			srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("portal: %w", err)
	}
	return nil
}

// gatewayNames are the names in the gateway's certificate.
func (s *picketServer) gatewayNames() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if n, err := os.Hostname(); err == nil {
		names = append(names, n)
	}
	for _, addr := range []string{s.cfg.Gateway.Listen, s.cfg.Gateway.External, s.cfg.Portal.Listen} {
		if h, _, err := net.SplitHostPort(addr); err == nil && h != "" {
			names = append(names, h)
		}
	}
	return append(names, s.cfg.Gateway.Names...)
}

// sensorDir is where sensors for download are: configured, or beside this program.
func (s *picketServer) sensorDir() string {
	if s.cfg.Sensors != "" {
		return s.cfg.Sensors
	}
	if exe, err := os.Executable(); err == nil {
		return filepath.Dir(exe)
	}
	return "."
}
