// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket"
)

// controlFD is where a child finds its connection to the supervisor.
const controlFD = 3

const (
	maxMessage  = 64 << 10
	sendWithin  = 5 * time.Second
	maxFileSent = 2
)

// message is what supervisor and children tell each other.
type message struct {
	Kind    string          `json:"kind"` // start, link, stop; from the agent: notify, relink, failed
	Text    string          `json:"text,omitempty"`
	Config  json.RawMessage `json:"config,omitempty"`
	Machine string          `json:"machine,omitempty"` // hardware UUID, which only root can read
	PIDs    []int           `json:"pids,omitempty"`    // of the sensor's processes
}

// control is one end of the connection between the supervisor and a child. Each
// message is one packet; files travel along.
type control struct{ conn *net.UnixConn }

// newControl takes over a socket.
func newControl(f *os.File) (*control, error) {
	c, err := unixConn(f)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &control{c}, nil
}

// unixConn takes over a socket of the local system.
func unixConn(f *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(f)
	err = errors.Join(err, f.Close())
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a %T: %w", c, picket.Invalid), c.Close())
	}
	return u, nil
}

// socketPair makes two connected sockets.
func socketPair(kind int) (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make sockets: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// send passes a message and files, which stay open here.
func (c *control) send(m message, files ...*os.File) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("send %s: %w", m.Kind, err)
	}
	if len(b) > maxMessage {
		return fmt.Errorf("send %s: %d bytes: %w", m.Kind, len(b), picket.TooLarge)
	}
	var rights []byte
	if len(files) > 0 {
		var fds []int
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
		rights = unix.UnixRights(fds...)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(sendWithin)); err != nil {
		return fmt.Errorf("send %s: %w", m.Kind, err)
	}
	if _, _, err := c.conn.WriteMsgUnix(b, rights, nil); err != nil {
		return fmt.Errorf("send %s: %w", m.Kind, err)
	}
	return nil
}

// receive waits for a message. The error wraps io.EOF when the peer has gone.
func (c *control) receive() (m message, files []*os.File, err error) {
	b, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*maxFileSent))
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(b, oob)
	if err != nil {
		return m, nil, fmt.Errorf("receive: %w", err)
	}
	files, err = rights(oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("receive: message is cut: %w", picket.TooLarge)
	}
	if err == nil {
		err = json.Unmarshal(b[:n], &m)
	}
	if err != nil {
		closeAll(files)
		return m, nil, fmt.Errorf("receive: %w", err)
	}
	return m, files, nil
}

// rights returns the files that came with a message.
func rights(oob []byte) (files []*os.File, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	parts, err := unix.ParseSocketControlMessage(oob)
	for i := range parts {
		fds, perr := unix.ParseUnixRights(&parts[i])
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
		err = errors.Join(err, perr)
	}
	return files, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
