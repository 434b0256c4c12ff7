// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"errors"
	"strings"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/hello"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	maxPieces  = 256  // beginnings that wait for their rest
	maxServers = 8192 // connections whose server is known by name
	maxWaiting = 1024 // connections that nobody accepted yet
	maxCount   = 3    // pieces of a client hello that the kernel sends
)

// streams is what is known of connections from what they carried.
type streams struct {
	hellos  *bounded[record.StreamID, *piece]
	names   *bounded[namesKey, *frames]
	banners *bounded[record.StreamID, *banner]
	servers *bounded[record.StreamID, string]
	waiting *bounded[record.StreamID, []*inspected]
}

func newStreams() *streams {
	return &streams{
		hellos:  newBounded[record.StreamID, *piece](maxPieces),
		names:   newBounded[namesKey, *frames](maxPieces),
		banners: newBounded[record.StreamID, *banner](maxPieces),
		servers: newBounded[record.StreamID, string](maxServers),
		waiting: newBounded[record.StreamID, []*inspected](maxWaiting),
	}
}

// piece is the beginning of a client hello.
type piece struct {
	first *record.Payload
	bytes []byte
	count int
	told  bool
}

// banner is what one end of a connection of SSH has said.
type banner struct {
	first          *record.Payload
	client, server string
	version        string
}

// inspected is a row that waits for its process.
type inspected struct {
	r     *record.Payload
	row   *event.DeviceNetworkEvents
	extra map[string]any
}

// onPayload reads the first words of a stream.
func (c *Collector) onPayload(r *record.Payload) {
	switch r.Kind {
	case record.PayloadTLS:
		c.onHello(r)
	case record.PayloadHTTP:
		c.onRequest(r)
	case record.PayloadSSH:
		c.onBanner(r)
	case record.PayloadGreeting:
		c.onGreeting(r)
	case record.PayloadDNS:
		c.onNames(r)
	default:
		c.lost.add("decode", 1)
	}
}

// onHello puts the pieces of a client hello together and tells of it.
func (c *Collector) onHello(r *record.Payload) {
	p := c.streams.hellos.get(r.ID)
	switch {
	case p == nil:
		p = &piece{first: r, bytes: r.Bytes}
	case p.told || r.Seq != p.first.Seq+uint32(len(p.bytes)):
		return // what follows it, or sent again
	default:
		p.bytes = append(p.bytes, r.Bytes...)
	}
	p.count++
	_, err := hello.ParseClient(p.bytes)
	p.told = !errors.Is(err, hello.ErrShort) || int(r.Total) > len(r.Bytes) || p.count >= maxCount
	if p.told {
		c.tellPiece(p)
		p.bytes = nil
	}
	if p.told && err == nil && p.count == 1 || p.count >= maxCount {
		c.streams.hellos.take(r.ID) // the kernel sends no more of it
		return
	}
	if old, gone := c.streams.hellos.put(r.ID, p); gone && !old.told {
		c.tellPiece(old)
	}
}

// tellPiece tells of a client hello by what there is of it.
func (c *Collector) tellPiece(p *piece) {
	h, err := hello.ParseClient(p.bytes)
	if h == nil {
		c.lost.add("decode.hello", 1)
		return
	}
	c.tellHello(p.first, h, err == nil)
}

func (c *Collector) tellHello(r *record.Payload, h *hello.Client, whole bool) {
	row := c.inspectedRow("SslConnectionInspected", r)
	row.ServerName, row.TlsVersion = h.ServerName, hello.VersionText(h.Best())
	extra := map[string]any{"server_name": h.ServerName, "version": row.TlsVersion}
	if whole {
		// A part of the hello has no fingerprint.
		row.Ja3, _ = h.JA3()
		row.Ja4 = h.JA4('t')
		extra["ja3"], extra["ja4"] = row.Ja3, row.Ja4
	} else {
		extra["Truncated"] = true
	}
	if p := h.Protocols(); len(p) > 0 {
		extra["alpn"] = p
	}
	if h.Resumed {
		extra["resumed"] = true
	}
	if h.Encrypted {
		extra["EncryptedClientHello"] = true
	}
	if r.Side == record.SideClient {
		if h.ServerName != "" {
			row.RemoteUrl = h.ServerName
			c.streams.servers.put(r.ID, h.ServerName)
		}
		if e := encryptedDNS(6, r.Remote, row.RemoteUrl, h.ALPN); e != "" {
			extra["EncryptedDns"] = e
		}
	}
	c.tellInspected(&inspected{r, row, extra})
}

func (c *Collector) onRequest(r *record.Payload) {
	q, err := hello.ParseRequest(r.Bytes)
	if err != nil {
		c.lost.add("decode.request", 1)
		return
	}
	row := c.inspectedRow("HttpConnectionInspected", r)
	extra := map[string]any{"method": q.Method, "host": q.Host, "uri": q.Path, "user_agent": q.UserAgent, "version": q.Version}
	if q.Query {
		extra["QueryRemoved"] = true
	}
	if r.Side == record.SideClient && q.Host != "" {
		row.RemoteUrl = q.Host
		if strings.HasPrefix(q.Path, "/") {
			row.RemoteUrl = q.Host + q.Path
		}
		c.streams.servers.put(r.ID, q.Host)
	}
	c.tellInspected(&inspected{r, row, extra})
}

// onBanner tells of a connection of SSH when both ends have named themselves.
func (c *Collector) onBanner(r *record.Payload) {
	version, software, err := hello.ParseSSH(r.Bytes)
	if err != nil {
		c.lost.add("decode.banner", 1)
		return
	}
	b := c.streams.banners.get(r.ID)
	if b == nil {
		b = &banner{first: r, version: version}
		if old, gone := c.streams.banners.put(r.ID, b); gone {
			c.tellBanner(old)
		}
	}
	if (r.Side == record.SideServer) == r.Inbound {
		b.client = software
	} else {
		b.server, b.version = software, version
	}
	if b.client != "" && b.server != "" {
		c.streams.banners.take(r.ID)
		c.tellBanner(b)
	}
}

func (c *Collector) tellBanner(b *banner) {
	row := c.inspectedRow("SshConnectionInspected", b.first)
	c.tellInspected(&inspected{b.first, row, map[string]any{"client": b.client, "server": b.server, "version": b.version}})
}

func (c *Collector) onGreeting(r *record.Payload) {
	protocol, text, err := hello.ParseGreeting(r.Bytes)
	if err != nil {
		c.lost.add("decode.banner", 1)
		return
	}
	port := r.Remote.Port()
	if r.Side == record.SideServer {
		port = r.Local.Port()
	}
	if protocol == "" {
		switch port {
		case 25, 465, 587, 2525:
			protocol = "Smtp"
		case 21:
			protocol = "Ftp"
		default:
			return // a guess would be no better than the port
		}
	}
	row := c.inspectedRow(protocol+"ConnectionInspected", r)
	c.tellInspected(&inspected{r, row, map[string]any{"server": text}})
}

// inspectedRow begins a row about what a connection carried, without process.
func (c *Collector) inspectedRow(action string, r *record.Payload) *event.DeviceNetworkEvents {
	row := c.networkRow(action, c.clock.time(r.Time), nil, 6, r.Local, r.Remote)
	if r.Side == record.SideServer {
		row.RemoteUrl = ""
	}
	return row
}

// tellInspected passes a row on, at once when its process is known. A client
// may speak before the server has accepted it.
func (c *Collector) tellInspected(i *inspected) {
	if i.r.PID != 0 || i.r.Side != record.SideServer {
		c.pushInspected(i, c.actor(&i.r.Header))
		return
	}
	old, gone := c.streams.waiting.put(i.r.ID, append(c.streams.waiting.get(i.r.ID), i))
	if gone {
		c.release(old, nil)
	}
}

func (c *Collector) release(rows []*inspected, p *process) {
	for _, i := range rows {
		c.pushInspected(i, p)
	}
}

func (c *Collector) pushInspected(i *inspected, p *process) {
	c.plans.fill(i.row, c.describe(p))
	i.extra["direction"] = direction(i.r.Side == record.SideServer)
	i.row.AdditionalFields = toJSON(i.extra)
	c.out.push(i.row, nil, actorImage(p), false)
}

// acceptStream gives what a client said before it was accepted its process.
func (c *Collector) acceptStream(id record.StreamID, p *process) {
	rows, _ := c.streams.waiting.take(id)
	c.release(rows, p)
}

// endStream tells what was still being put together, and returns the name of
// the server if it is known.
func (c *Collector) endStream(id record.StreamID) string {
	if p, ok := c.streams.hellos.take(id); ok && !p.told {
		c.tellPiece(p)
	}
	if b, ok := c.streams.banners.take(id); ok {
		c.tellBanner(b)
	}
	for _, inbound := range []bool{false, true} {
		c.streams.names.take(namesKey{id, inbound})
	}
	rows, _ := c.streams.waiting.take(id)
	c.release(rows, nil)
	name, _ := c.streams.servers.take(id)
	return name
}

// endStreams does so for all connections, at the end of the sensor.
func (c *Collector) endStreams() {
	for id := range c.streams.hellos.m {
		c.endStream(id)
	}
	for id := range c.streams.banners.m {
		c.endStream(id)
	}
	for id := range c.streams.waiting.m {
		c.endStream(id)
	}
}
