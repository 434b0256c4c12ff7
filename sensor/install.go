// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/picket-edr/picket"
)

// Places of an installed sensor.
const (
	UnitName = "picket-sensor.service"
	unitPath = "/etc/systemd/system/" + UnitName
)

// Installation is where a sensor is or goes. Paths are as the installed sensor
// sees them; Root comes before them when files are written.
type Installation struct {
	Root    string // prefix, for building images; empty: this host
	Program string // of the copy
	Config  string
	Data    string
}

func (i *Installation) path(p string) string { return filepath.Join(i.Root, p) }

// onThisHost reports whether systemd runs here and the files are for it.
func (i *Installation) onThisHost() bool {
	if i.Root != "" {
		return false
	}
	info, err := os.Stat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Install copies the running program, writes the configuration when there is
// none, and the service. It changes nothing about the identity.
func (i *Installation) Install(config []byte) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("install: only Linux with systemd is supported; enrol and run the sensor as a service of this system: %w", picket.Unavailable)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	for _, dir := range []string{filepath.Dir(i.Program), filepath.Dir(i.Config), filepath.Dir(unitPath)} {
		if err := os.MkdirAll(i.path(dir), 0o755); err != nil {
			return fmt.Errorf("install: %w", err)
		}
	}
	if err := os.MkdirAll(i.path(i.Data), 0o700); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if err := writeFile(i.path(i.Program), program, 0o755); err != nil {
		return fmt.Errorf("install program: %w", err)
	}
	if _, err := os.Stat(i.path(i.Config)); errors.Is(err, fs.ErrNotExist) {
		if err := writeFile(i.path(i.Config), config, 0o600); err != nil {
			return fmt.Errorf("install configuration: %w", err)
		}
	}
	if err := writeFile(i.path(unitPath), []byte(i.Unit()), 0o644); err != nil {
		return fmt.Errorf("install service: %w", err)
	}
	return nil
}

// Start enables and starts the service and reports whether it could: without
// systemd the caller has to say how to start the sensor.
func (i *Installation) Start(ctx context.Context) (bool, error) {
	if !i.onThisHost() {
		return false, nil
	}
	if err := announceFarewell(i.Data, picket.FarewellUpgrade); err != nil {
		return false, err
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", UnitName}, {"restart", UnitName}} {
		if err := systemctl(ctx, args...); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Uninstall stops the service and removes program, configuration and service,
// and the data folder with the identity unless it is to be kept. It returns
// what it removed.
func (i *Installation) Uninstall(ctx context.Context, keepData bool) ([]string, error) {
	_, err := os.Stat(i.path(unitPath))
	if err == nil && i.onThisHost() {
		if err := announceFarewell(i.Data, picket.FarewellUninstall); err != nil {
			return nil, err
		}
		if err := systemctl(ctx, "disable", "--now", UnitName); err != nil {
			return nil, err
		}
	}
	if i.Root == "" {
		if s, err := ReadStatus(ctx, i.Data); err == nil {
			return nil, fmt.Errorf("uninstall: the sensor still runs as process %d; stop it first: %w", s.PID, picket.Conflict)
		}
	}
	gone := []string{unitPath, i.Config, i.Program}
	if !keepData {
		gone = append(gone, i.Data)
	}
	var removed []string
	for _, p := range gone {
		if _, err := os.Lstat(i.path(p)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(i.path(p)); err != nil {
			return removed, fmt.Errorf("uninstall: %w", err)
		}
		removed = append(removed, p)
	}
	if i.onThisHost() {
		return removed, systemctl(ctx, "daemon-reload")
	}
	return removed, nil
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Unit is the service. The sensor needs to load and attach BPF programs and to
// read the images and the memory maps of other processes; everything else is
// taken away. The collector gets that and no more. What else is listed is for
// the supervisor alone, to start the agent without any of it: SETUID, SETGID
// and SETPCAP, and CHOWN for the data folder. The
// supervisor is the one that is told to stop and that speaks for all. Limits stand
// in for SYS_RESOURCE and SYS_NICE.
func (i *Installation) Unit() string {
	return fmt.Sprintf(`[Unit]
Description=Picket sensor
Documentation=https://github.com/picket-edr/picket
Wants=network-online.target
After=local-fs.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=%[1]s --config %[2]s --data %[3]s run
Restart=always
RestartSec=2
NotifyAccess=main
KillMode=mixed
WatchdogSec=120
TimeoutStopSec=20
OOMScoreAdjust=-500
MemoryMax=512M
CPUQuota=150%%
TasksMax=128
LimitNOFILE=65536
LimitMEMLOCK=infinity
LimitNICE=-10
UMask=0077

CapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_NET_ADMIN CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_AUDIT_READ CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_CHOWN
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths=%[3]s
RuntimeDirectory=picket-sensor
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
PrivateDevices=yes
PrivateMounts=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service bpf perf_event_open seccomp
SystemCallErrorNumber=EPERM
KeyringMode=private

[Install]
WantedBy=multi-user.target
`, quoteUnit(i.Program), quoteUnit(i.Config), quoteUnit(i.Data))
}

// quoteUnit writes a path so that systemd reads it as one word and expands
// nothing in it.
func quoteUnit(p string) string {
	p = strings.NewReplacer(`%`, `%%`, `\`, `\\`, `"`, `\"`, `$`, `$$`, "\n", `\n`).Replace(p)
	if strings.ContainsAny(p, " \t\"'\\;") {
		return `"` + p + `"`
	}
	return p
}
