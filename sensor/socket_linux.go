// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"net"
	"os"
	"time"
)

// listenPrivate makes a socket that only its owner can open. The data folder
// above it is private already; the mode of the socket is the second lock.
func listenPrivate(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// NotifySystemd tells the service manager how the sensor is doing, when there
// is one that wants to know.
func NotifySystemd(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = c.Write([]byte(state)) // waits while the manager does not read
	return err
}
