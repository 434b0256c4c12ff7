// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/schema"
)

// Bomb is a well-formed batch that is small as sent and has n bytes inside.
func Bomb(boot string, seq uint64, n int) ([]byte, error) {
	c := event.Column{Name: "AdditionalFields", Type: schema.String, Strings: []string{strings.Repeat("A", n)}}
	return (&event.Batch{BootID: boot, Seq: seq, Blocks: []*event.Block{{Name: "DeviceEvents", Rows: 1, Columns: []event.Column{c}}}}).Encode()
}

// DeclareHuge opens a stream whose first message claims to be four gigabytes
// long, and waits for the gateway to end it.
func DeclareHuge(address string, c *Client) error {
	conn, err := tls.Dial("tcp", address, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: c.root, Certificates: []tls.Certificate{c.cert}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	head := "POST /picket.wire.v1.Sensor/Renew HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/proto\r\nConnect-Protocol-Version: 1\r\nContent-Length: 4294967295\r\n\r\n"
	if _, err := conn.Write([]byte(head)); err != nil {
		return err
	}
	chunk := make([]byte, 1<<20)
	binary.BigEndian.PutUint32(chunk, 1<<31)
	for sent := 0; sent < 64<<20; sent += len(chunk) {
		if _, err := conn.Write(chunk); err != nil {
			return nil // refused, as it should
		}
	}
	return fmt.Errorf("the gateway took 64 MiB of a message of four gigabytes: %w", picket.Internal)
}

// Garbage sends bytes that are no TLS.
func Garbage(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(strings.Repeat("\x00\xff garbage ", 1000)))
	return err
}

// Forge tries to use the certificate that one tenant's authority signed as a
// device of another tenant. Success is an error of the keys.
func (c *Client) Forge(keys *pki.Store, from, to string) error {
	id, err := keys.VerifyDevice(c.cert.Certificate)
	if err != nil {
		return err
	}
	if id.Tenant == to {
		return nil
	}
	return fmt.Errorf("certificate of %s is one of %s: %w", from, id.Tenant, picket.Denied)
}
