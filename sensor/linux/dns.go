// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxAnswers = 64
	maxNames   = 4096
)

// message is what a row wants of a name-service message.
type message struct {
	id        uint16
	response  bool
	truncated bool
	code      string
	name      string
	kind      string
	answers   []string
	ttls      []uint32
	addresses []netip.Addr // of the answers
}

// parseDNS reads a message. One that is cut or broken behind its question
// still gives the question.
func parseDNS(b []byte) (message, error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil {
		return message{}, fmt.Errorf("header: %w", err)
	}
	m := message{id: h.ID, response: h.Response, truncated: h.Truncated, code: codeName(h.RCode)}
	q, err := p.Question()
	if err != nil {
		return message{}, fmt.Errorf("question: %w", err)
	}
	m.name, m.kind = nameText(q.Name), kindName(q.Type)
	if !m.response || p.SkipAllQuestions() != nil {
		return m, nil
	}
	for len(m.answers) < maxAnswers {
		rh, err := p.AnswerHeader()
		if err != nil {
			break
		}
		text, addr, err := answer(&p, rh)
		if err != nil {
			break
		}
		m.answers, m.ttls = append(m.answers, text), append(m.ttls, rh.TTL)
		if addr.IsValid() {
			m.addresses = append(m.addresses, addr)
		}
	}
	return m, nil
}

// answer reads the body of one record as people write it.
func answer(p *dnsmessage.Parser, h dnsmessage.ResourceHeader) (string, netip.Addr, error) {
	switch h.Type {
	case dnsmessage.TypeA:
		r, err := p.AResource()
		a := netip.AddrFrom4(r.A)
		return a.String(), a, err
	case dnsmessage.TypeAAAA:
		r, err := p.AAAAResource()
		a := netip.AddrFrom16(r.AAAA).Unmap()
		return a.String(), a, err
	case dnsmessage.TypeCNAME:
		r, err := p.CNAMEResource()
		return nameText(r.CNAME), netip.Addr{}, err
	case dnsmessage.TypeNS:
		r, err := p.NSResource()
		return nameText(r.NS), netip.Addr{}, err
	case dnsmessage.TypePTR:
		r, err := p.PTRResource()
		return nameText(r.PTR), netip.Addr{}, err
	case dnsmessage.TypeMX:
		r, err := p.MXResource()
		return fmt.Sprintf("%d %s", r.Pref, nameText(r.MX)), netip.Addr{}, err
	case dnsmessage.TypeTXT:
		r, err := p.TXTResource()
		return record.Clean(strings.Join(r.TXT, "")), netip.Addr{}, err
	case dnsmessage.TypeSRV:
		r, err := p.SRVResource()
		return fmt.Sprintf("%d %d %d %s", r.Priority, r.Weight, r.Port, nameText(r.Target)), netip.Addr{}, err
	case dnsmessage.TypeSOA:
		r, err := p.SOAResource()
		return nameText(r.NS), netip.Addr{}, err
	}
	err := p.SkipAnswer()
	return kindName(h.Type), netip.Addr{}, err
}

// nameText is a name as it is searched for: lower case, no final dot.
func nameText(n dnsmessage.Name) string {
	s := strings.ToLower(strings.TrimSuffix(n.String(), "."))
	return record.Clean(s)
}

func kindName(t dnsmessage.Type) string {
	switch t {
	case 64:
		return "SVCB"
	case 65:
		return "HTTPS"
	case 43:
		return "DS"
	case 48:
		return "DNSKEY"
	case 257:
		return "CAA"
	case 255:
		return "ANY"
	}
	s := t.String()
	if rest, ok := strings.CutPrefix(s, "Type"); ok {
		return rest
	}
	return "TYPE" + s
}

var codeNames = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}

func codeName(c dnsmessage.RCode) string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("RCODE%d", uint16(c))
}

// onDNS tells of a name that was asked for or answered. What is no such
// message, but uses its port, is told as a flow.
func (c *Collector) onDNS(r *record.DNS) { c.tellNames(r, 17) }

func (c *Collector) tellNames(r *record.DNS, protocol uint16) {
	p := c.actor(&r.Header)
	m, err := parseDNS(r.Payload)
	if err != nil {
		c.lost.add("decode.dns", 1)
		if r.Direction == record.DNSQuery && protocol == 17 {
			row := c.networkRow("ConnectionSuccess", c.clock.time(r.Time), p, 17, r.Local, r.Remote)
			c.out.push(row, nil, actorImage(p), false)
		}
		return
	}
	// Multicast speakers send answers too: the message says what it is.
	action := "DnsQueryRequest"
	if m.response {
		action = "DnsQueryResponse"
		c.names.learn(m.name, m.addresses)
	}
	row := &event.DeviceEvents{Timestamp: c.clock.time(r.Time), ActionType: action}
	c.plans.fill(row, c.describe(p))
	row.DnsQueryName, row.DnsQueryType = m.name, m.kind
	row.RemoteIP, row.RemotePort = addressText(r.Remote.Addr()), int64(r.Remote.Port())
	row.LocalIP, row.LocalPort = addressText(r.Local.Addr()), int64(r.Local.Port())
	row.Protocol = protocolName(protocol)
	extra := map[string]any{"TransactionId": m.id}
	if s := nameService(r); s != "" {
		extra["NameService"] = s
	}
	if m.response {
		row.DnsResponseCode = m.code
		if len(m.answers) > 0 {
			row.DnsAnswers = anyJSON(m.answers)
			extra["TTLs"] = m.ttls
		}
	}
	if m.truncated || int(r.Total) > len(r.Payload) {
		extra["Truncated"] = true
	}
	row.AdditionalFields = toJSON(extra)
	c.out.push(row, nil, actorImage(p), false)
}

// nameService tells the services of the link from that of the network.
func nameService(r *record.DNS) string {
	for _, port := range []uint16{r.Remote.Port(), r.Local.Port()} {
		switch port {
		case portMDNS:
			return "Mdns"
		case portLLMNR:
			return "Llmnr"
		}
	}
	return ""
}

// anyJSON encodes a list, "" when it is empty.
func anyJSON[V any](v []V) string {
	if len(v) == 0 {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// names remembers which name an address was last given as, so that a
// connection can say where it went.
type names struct {
	byAddr map[netip.Addr]string
	order  []netip.Addr // oldest first
}

func newNames() *names { return &names{byAddr: map[netip.Addr]string{}} }

func (n *names) learn(name string, addrs []netip.Addr) {
	for _, a := range addrs {
		if _, ok := n.byAddr[a]; !ok {
			if len(n.order) >= maxNames {
				delete(n.byAddr, n.order[0])
				n.order = append(n.order[:0], n.order[1:]...)
			}
			n.order = append(n.order, a)
		}
		n.byAddr[a] = name
	}
}

func (n *names) of(a netip.Addr) string { return n.byAddr[a] }
