// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"go.uber.org/goleak"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

// now is the clock of these tests.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const (
	ours   = "default"
	theirs = "other"
)

// server is the PostgreSQL that the tests share.
var server postgres

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" { // this process is the one to be killed
		writeUntilKilled(dir)
		return
	}
	code := m.Run()
	server.stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// each runs a test on a fresh database of every engine at hand, with two
// tenants in it.
func each(t *testing.T, f func(t *testing.T, db *state.DB)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, open(t, sqliteURL(t)))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, open(t, server.database(t)))
	})
}

func sqliteURL(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "state.db") }

func open(t testing.TB, url string) *state.DB {
	t.Helper()
	db, err := state.Open(context.Background(), state.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	db.Watch(watchTenancy(t))
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, id := range []string{ours, theirs} {
		err := db.CreateTenant(t.Context(), picket.Tenant{ID: id, Name: "Tenant " + id, Retention: picket.DefaultRetention, Created: now})
		if err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// kind fails the test unless err is of a kind; nil means no error.
func kind(t *testing.T, what string, err, want error) {
	t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// got returns the value of a call that must not fail.
func got[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

// postgres is a private server in a temporary directory, on a Unix socket.
type postgres struct {
	once   sync.Once
	url    string // without a database; empty: not at hand
	reason string // why not
	dir    string
	cmd    *exec.Cmd
	done   chan struct{}
	next   atomic.Int64
}

const postgresBin = "/usr/lib/postgresql/15/bin"

// database makes a fresh database and returns its URL, or skips the test.
func (p *postgres) database(t testing.TB) string {
	t.Helper()
	p.once.Do(func() {
		if p.url = os.Getenv("PICKET_TEST_POSTGRES"); p.url == "" {
			if err := p.start(); err != nil {
				p.reason = err.Error()
			}
		}
	})
	if p.url == "" {
		t.Skip("PostgreSQL is not at hand (install postgresql-15 or set PICKET_TEST_POSTGRES): " + p.reason)
	}
	admin, err := sql.Open("pgx", p.url)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("picket_%d_%d", os.Getpid(), p.next.Add(1))
	exec := func(query string) {
		if _, err := admin.Exec(query); err != nil {
			t.Error(err)
		}
	}
	exec("CREATE DATABASE " + name)
	t.Cleanup(func() {
		exec("DROP DATABASE " + name)
		admin.Close()
	})
	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// start runs initdb and the server. The server refuses to run as root, so it
// runs as the user that its package made.
func (p *postgres) start() error {
	if _, err := os.Stat(filepath.Join(postgresBin, "postgres")); err != nil {
		return err
	}
	var err error
	if p.dir, err = os.MkdirTemp("", "picket-postgres"); err != nil {
		return err
	}
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(p.dir, uid, gid); err != nil {
			return err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(p.dir, "data")
	initdb := exec.Command(filepath.Join(postgresBin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, p.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %v: %s", err, out)
	}
	p.cmd = exec.Command(filepath.Join(postgresBin, "postgres"), "-D", data, "-k", p.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=300")
	p.cmd.SysProcAttr, p.cmd.Dir = attr, p.dir
	p.done = make(chan struct{})
	started := make(chan error)
	go func() {
		// The server dies with the thread that started it, so that it
		// cannot outlive a test binary that is killed.
		runtime.LockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.url = "postgres:///postgres?" + url.Values{"host": {p.dir}, "user": {"postgres"}, "sslmode": {"disable"}}.Encode()
	return p.wait()
}

// wait returns when the server answers.
func (p *postgres) wait() error {
	db, err := sql.Open("pgx", p.url)
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for range 1500 {
		if last = db.Ping(); last == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("postgres ended: %v", last)
		case <-tick.C:
		}
	}
	return fmt.Errorf("postgres does not answer: %v", last)
}

func (p *postgres) stop() {
	if p.cmd != nil && p.cmd.Process != nil {
		p.cmd.Process.Signal(syscall.SIGINT)
		<-p.done
	}
	if p.dir != "" {
		os.RemoveAll(p.dir)
	}
}

// deviceID makes a well-formed device id that tests can tell apart.
func deviceID(n int) string { return fmt.Sprintf("%040x", n) }

// addDevice makes a device that is Active now.
func addDevice(t *testing.T, db *state.DB, tenant string, n int) picket.Device {
	t.Helper()
	d := picket.Device{
		ID: deviceID(n), Tenant: tenant, Name: fmt.Sprintf("host-%02d", n), Group: "servers",
		OSPlatform: "Linux", OSDistribution: "Debian", OSVersion: "12.11", OSArchitecture: "amd64",
		KernelVersion: "6.1.0", SensorVersion: "0.1.0", InternalIP: fmt.Sprintf("10.0.0.%d", n), ExternalIP: "192.0.2.1",
		FirstSeen: now.Add(-time.Hour), LastHeartbeat: now, LastTelemetry: now, BootID: strings.Repeat("b", 32),
	}
	ok(t, db.CreateDevice(t.Context(), tenant, d, state.HostIdentity{MachineID: "machine-" + d.Name, HardwareUUID: "uuid"}))
	return d
}
