// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"go.yaml.in/yaml/v3"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor"
	"github.com/picket-edr/picket/sensor/spool"
)

// Config is everything that can be set for the sensor. Unknown keys in the
// file are refused. Flags and environment come before the file.
type Config struct {
	Data   string      `yaml:"data"`   // folder of identity, spool and policy
	Server string      `yaml:"server"` // host:port; default: where the sensor enrolled
	Proxy  string      `yaml:"proxy"`  // auto, direct, http://[USER:PASSWORD@]HOST:PORT, socks5://HOST:PORT
	Split  string      `yaml:"split"`  // auto: three processes where that is possible; off: one
	Spool  SpoolConfig `yaml:"spool"`
	Log    LogConfig   `yaml:"log"`
}

// SpoolConfig bounds the events that wait for the server.
type SpoolConfig struct {
	MaxBytes int64 `yaml:"max_bytes"` // a policy comes before it
}

// LogConfig says how the sensor logs to standard error.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info, warn, error; a policy comes before it
	Format string `yaml:"format"` // text, json
}

// Values of Config.Split.
const (
	splitAuto = "auto"
	splitOff  = "off"
)

// Default returns the configuration of a sensor without a file.
func Default() Config {
	c := Config{Data: "/var/lib/picket-sensor", Proxy: sensor.ProxyAuto, Split: splitAuto, Spool: SpoolConfig{spool.DefaultLimit}, Log: LogConfig{"info", "text"}}
	if runtime.GOOS == "windows" {
		c.Data = filepath.Join(os.Getenv("ProgramData"), "Picket Sensor")
	}
	return c
}

// defaultConfig is the file that is read when none is named.
func defaultConfig() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("ProgramData"), "Picket Sensor", "sensor.yaml")
	}
	return "/etc/picket/sensor.yaml"
}

// loadConfig reads the file, which need not exist unless it was named.
func loadConfig(path string) (Config, error) {
	c := Default()
	named := path != ""
	if !named {
		path = defaultConfig()
	}
	b, err := os.ReadFile(path)
	if !named && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("configuration %s: %v: %w", path, err, picket.Invalid)
	}
	return c, nil
}

// check refuses values that cannot work.
func (c *Config) check() error {
	if c.Data == "" {
		return fmt.Errorf("configuration: no data folder: %w", picket.Invalid)
	}
	if _, err := sensor.ParseProxy(c.Proxy); err != nil {
		return err
	}
	if c.Server != "" {
		if _, err := sensor.ParseServer(c.Server); err != nil {
			return err
		}
	}
	if c.Spool.MaxBytes < spool.MinLimit {
		return fmt.Errorf("configuration: spool.max_bytes is %d, at least %d: %w", c.Spool.MaxBytes, spool.MinLimit, picket.Invalid)
	}
	if c.Split != splitAuto && c.Split != splitOff {
		return fmt.Errorf("configuration: split %q, want %s or %s: %w", c.Split, splitAuto, splitOff, picket.Invalid)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return fmt.Errorf("configuration: log.format %q, want text or json: %w", c.Log.Format, picket.Invalid)
	}
	_, err := sensor.ParseLevel(c.Log.Level)
	return err
}

// logger makes the log and the level that policies change.
func (c *Config) logger(w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	l, err := sensor.ParseLevel(c.Log.Level)
	if err == nil { // checked before
		level.Set(l)
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), level
	}
	return slog.New(slog.NewTextHandler(w, o)), level
}
