// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/picket-edr/picket"
)

// Config is everything that can be set for the server. Unknown keys in the
// file are refused. Zero values mean the default that Default gives.
type Config struct {
	Data    string        `yaml:"data"`    // directory of everything that the server keeps
	Portal  PortalConfig  `yaml:"portal"`  // browsers and the REST API
	Gateway GatewayConfig `yaml:"gateway"` // sensors
	State   StateConfig   `yaml:"state"`   // small records
	Bus     BusConfig     `yaml:"bus"`     // streams
	Store   StoreConfig   `yaml:"store"`   // telemetry
	Sensors string        `yaml:"sensors"` // directory with sensor binaries for download; default: beside this program
	Log     LogConfig     `yaml:"log"`
}

// PortalConfig is the listener for people and programs.
type PortalConfig struct {
	Listen   string `yaml:"listen"`   // host:port
	TLSCert  string `yaml:"tls_cert"` // PEM file; empty: plain HTTP on loopback, own certificate elsewhere
	TLSKey   string `yaml:"tls_key"`  // PEM file
	External string `yaml:"external"` // URL by which people reach the portal; default: from listen
}

// GatewayConfig is the listener for sensors.
type GatewayConfig struct {
	Listen   string   `yaml:"listen"`   // host:port
	Names    []string `yaml:"names"`    // further host names and addresses in the certificate
	External string   `yaml:"external"` // host:port that install commands name; default: from listen
}

// StateConfig chooses the database for small records.
type StateConfig struct {
	URL string `yaml:"url"` // sqlite:PATH or postgres://...; default: sqlite in data
}

// BusConfig bounds the streams.
type BusConfig struct {
	URL      string `yaml:"url"`       // nats://... of an existing cluster; default: embedded
	MaxBytes int64  `yaml:"max_bytes"` // of each tenant's stream; full means sensors wait
}

// StoreConfig bounds the event store.
type StoreConfig struct {
	MemoryMB int `yaml:"memory_mb"` // that one tenant's store may use for queries
	Threads  int `yaml:"threads"`
}

// LogConfig says how the server logs to standard error.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}

// Default returns the configuration of a server on one host.
func Default() Config {
	return Config{
		Data:    "./data",
		Portal:  PortalConfig{Listen: "127.0.0.1:8443"},
		Gateway: GatewayConfig{Listen: "127.0.0.1:8444"},
		Bus:     BusConfig{MaxBytes: 16 << 30},
		Store:   StoreConfig{MemoryMB: 1024, Threads: 2},
		Log:     LogConfig{Level: "info", Format: "text"},
	}
}

// Load reads a configuration file over the defaults. An empty path gives the
// defaults.
func Load(path string) (Config, error) {
	c := Default()
	if path == "" {
		return c, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	d := yaml.NewDecoder(io.LimitReader(f, 1<<20))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("configuration %s: %v: %w", path, err, picket.Invalid)
	}
	return c, nil
}

// Check reports every mistake in the configuration, joined.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), picket.Invalid))
	}
	if c.Data == "" {
		bad("data: a directory is needed")
	}
	for name, addr := range map[string]string{"portal.listen": c.Portal.Listen, "gateway.listen": c.Gateway.Listen} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad("%s: %q is not host:port", name, addr)
		}
	}
	if (c.Portal.TLSCert == "") != (c.Portal.TLSKey == "") {
		bad("portal: tls_cert and tls_key go together")
	}
	if c.Bus.MaxBytes < 64<<20 {
		bad("bus.max_bytes: %d is less than 64 MiB", c.Bus.MaxBytes)
	}
	if c.Store.MemoryMB < 256 {
		bad("store.memory_mb: %d is less than 256", c.Store.MemoryMB)
	}
	if c.Store.Threads < 1 {
		bad("store.threads: at least 1")
	}
	if _, err := c.Log.level(); err != nil {
		errs = append(errs, err)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format: %q is not text or json", c.Log.Format)
	}
	return errors.Join(errs...)
}

func (l LogConfig) level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return level, fmt.Errorf("log.level: %q is not debug, info, warn or error: %w", l.Level, picket.Invalid)
	}
	return level, nil
}

// logger writes to w as configured.
func (l LogConfig) logger(w io.Writer) *slog.Logger {
	level, err := l.level()
	if err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// loopback reports whether a listen address is reachable from this host only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// portalURL is what people type.
func (c *Config) portalURL() string {
	if c.Portal.External != "" {
		return c.Portal.External
	}
	scheme := "https"
	if c.Portal.TLSCert == "" && loopback(c.Portal.Listen) {
		scheme = "http"
	}
	return scheme + "://" + reachable(c.Portal.Listen)
}

// gatewayAddress is what sensors dial.
func (c *Config) gatewayAddress() string {
	if c.Gateway.External != "" {
		return c.Gateway.External
	}
	return reachable(c.Gateway.Listen)
}

// reachable replaces a wildcard host by this host's name.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port)
}

func (c *Config) stateURL() string {
	if c.State.URL != "" {
		return c.State.URL
	}
	return "sqlite:" + filepath.Join(c.Data, "state.db")
}

// shutdownTime bounds an orderly stop.
const shutdownTime = 20 * time.Second
