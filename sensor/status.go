// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/picket-edr/picket"
)

// Status is what a running sensor says of itself to its own host.
type Status struct {
	Version       string            `json:"version"`
	PID           int               `json:"pid"` // of the process to signal
	DeviceID      string            `json:"device_id"`
	Tenant        string            `json:"tenant"`
	Group         string            `json:"group"`
	Server        string            `json:"server"`
	Way           string            `json:"way"` // direct or the proxy in use
	Connected     bool              `json:"connected"`
	Since         time.Time         `json:"since,omitzero"`           // of the connection, or of the last one
	LastError     string            `json:"last_error,omitempty"`     // why there is no connection
	Throttled     time.Time         `json:"throttled_until,omitzero"` // the server asked to wait
	LastAck       time.Time         `json:"last_ack,omitzero"`        // of a batch
	Certificate   time.Time         `json:"certificate_expires"`
	BootID        string            `json:"boot_id"`
	Rung          string            `json:"rung"`
	Hooks         []picket.Hook     `json:"hooks"`
	Events        map[string]uint64 `json:"events"`     // since start, by table
	Lost          map[string]uint64 `json:"lost"`       // since start, by class
	Incomplete    map[string]uint64 `json:"incomplete"` // details that events had to do without
	Filtered      uint64            `json:"filtered"`   // left out by policy
	SpoolBytes    int64             `json:"spool_bytes"`
	SpoolLimit    int64             `json:"spool_limit_bytes"`
	SpoolError    string            `json:"spool_error,omitempty"` // last error of the disk
	Policy        uint64            `json:"policy_version"`
	CPUPercent    float64           `json:"cpu_percent"` // of one processor, over the last report, all processes together
	RSSBytes      uint64            `json:"rss_bytes"`   // of all processes together
	UptimeSeconds int64             `json:"uptime_seconds"`
	Processes     []Process         `json:"processes"`
	Usage         Usage             `json:"usage"`      // what collecting costs
	Exclusions    []RuleUsage       `json:"exclusions"` // what each rule of the policy left out
}

// Process is one process of the sensor.
type Process struct {
	Role            string        `json:"role"` // sensor, or supervisor, collector and agent
	PID             int           `json:"pid"`
	UID             int           `json:"uid"`          // effective; -1 where there are none
	Capabilities    string        `json:"capabilities"` // effective, 16 hexadecimal digits; none: ""
	NoNewPrivileges bool          `json:"no_new_privileges"`
	Seccomp         bool          `json:"seccomp"` // system calls are filtered
	CPU             time.Duration `json:"cpu_ns"`  // since its start
	CPUPercent      float64       `json:"cpu_percent"`
	RSSBytes        uint64        `json:"rss_bytes"` // with its share of what several processes map
}

// socketName is the socket in the data folder.
const socketName = "status.sock"

// maxSocketPath is what every system takes as the path of a socket.
const maxSocketPath = 100

// socketPath returns a path for the socket that is short enough, and a
// function that ends its use.
func socketPath(dir string) (string, func(), error) {
	path := filepath.Join(dir, socketName)
	if len(path) <= maxSocketPath || runtime.GOOS != "linux" {
		return path, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName), func() { d.Close() }, nil
}

// listenStatus makes the socket, in place of one that a killed run left. The
// listener must be closed before the function is called.
func listenStatus(dir string) (net.Listener, func(), error) {
	path, done, err := socketPath(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("status socket: %w", err)
	}
	err = os.Remove(path)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		var l net.Listener
		if l, err = listenPrivate(path); err == nil {
			return l, done, nil
		}
	}
	done()
	return nil, nil, fmt.Errorf("status socket: %w", err)
}

// serveStatus answers each connection to the socket with one status.
func serveStatus(ctx context.Context, l net.Listener, status func() Status) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("status socket: %w", err)
		}
		answerStatus(c, status())
	}
}

func answerStatus(c net.Conn, s Status) {
	defer c.Close()
	if c.SetDeadline(time.Now().Add(5*time.Second)) == nil {
		_ = json.NewEncoder(c).Encode(s) // whoever asked has gone
	}
}

// ReadStatus asks the sensor that runs on a data folder. The error wraps
// picket.Unavailable when none runs.
func ReadStatus(ctx context.Context, dir string) (*Status, error) {
	path, done, err := socketPath(dir)
	if err != nil {
		return nil, fmt.Errorf("status: %w: %w", err, picket.Unavailable)
	}
	defer done()
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("status: only the owner of %s may ask: %w: %w", dir, err, picket.Denied)
	}
	if err != nil {
		return nil, fmt.Errorf("no sensor runs on %s: %w: %w", dir, err, picket.Unavailable)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	s := &Status{}
	if err := json.NewDecoder(io.LimitReader(c, 4<<20)).Decode(s); err != nil {
		return nil, fmt.Errorf("status: %w: %w", err, picket.Unavailable)
	}
	return s, nil
}
