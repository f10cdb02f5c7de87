package rfc

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// A nat64 is a translator whose IPv6 hosts share IPv4 addresses: 203.0.113.70, unless the
// test changes that.
type nat64 struct {
	*xlat
	table *session.Table
}

// Hosts of three subscribers, servers, and the prefix that the servers are inside.
const (
	hostA1, hostA2 = "2001:db8:a::1", "2001:db8:a::2"
	hostB, hostC   = "2001:db8:b::1", "2001:db8:c::1"
	server, other  = "198.51.100.4", "198.51.100.5"
	shared         = "203.0.113.70"
	inside         = "2001:db8:64::"
)

// A change is made to the configuration before the gateway is.
type change func(s *settings, c *session.Config)

// sharingWith is the configuration of a gateway.
func sharingWith(changes ...change) (c session.Config, edit func(*session.Table) func(*settings)) {
	c.Pools = []session.Pool{{Prefix: mustPrefix(shared + "/32")}}
	var s settings
	for _, f := range changes {
		f(&s, &c)
	}
	return c, func(tab *session.Table) func(*settings) {
		return func(s *settings) {
			for _, f := range changes {
				f(s, &session.Config{})
			}
			for _, p := range c.Pools {
				s.Shared = append(s.Shared, p.Prefix)
			}
			s.Sessions = tab
		}
	}
}

func newNAT64(t *testing.T, changes ...change) *nat64 {
	t.Helper()
	c, edit := sharingWith(changes...)
	tab, err := session.New(c)
	if err != nil {
		t.Fatal(err)
	}
	g := &nat64{newXlat(t, edit(tab)), tab}
	g.now = time.Hour
	return g
}

// refusesConfig expects that a gateway with a change cannot be.
func refusesConfig(t *testing.T, what string, changes ...change) {
	t.Helper()
	c, _ := sharingWith(changes...)
	if _, err := session.New(c); err == nil {
		t.Errorf("%s: allowed", what)
	}
}

// Changes.
func filtering(_ *settings, c *session.Config) { c.Filtering = session.AddressDependent }

func pools(list ...session.Pool) change {
	return func(_ *settings, c *session.Config) { c.Pools = list }
}

func ports(low, high uint16) change {
	return pools(session.Pool{Prefix: mustPrefix(shared + "/32"), Low: low, High: high})
}

func timeouts(x session.Timeouts) change {
	return func(_ *settings, c *session.Config) { c.Timeouts = x }
}

func limits(x session.Limits) change {
	return func(_ *settings, c *session.Config) { c.Limits = x }
}

func static(proto uint8, at, host string) change {
	return func(_ *settings, c *session.Config) {
		c.Static = append(c.Static, session.Static{Proto: proto, Addr: addrPort(at), Host: addrPort(host)})
	}
}

// wait lets time pass.
func (g *nat64) wait(d time.Duration) {
	g.now += d
	for g.table.Expire(g.now) {
	}
}

// Protocols, as both families know them.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// A flow is between a port of an IPv6 host and one of an IPv4 server. at is what the server
// knows of the host: it is seen in the first packet. Of an Echo, the host's port is the
// identifier, and that of the server is not used.
type flow struct {
	g            *nat64
	proto        uint8
	host         string
	port         uint16
	server       string
	serverPort   uint16
	at           netip.AddrPort
	fromServer   bool // Echo Requests come from the server
	serverPrefix string
}

func (g *nat64) flow(proto uint8, host string, port uint16, server string, serverPort uint16) *flow {
	return &flow{g: g, proto: proto, host: host, port: port, server: server, serverPort: serverPort, serverPrefix: inside}
}

// to is the same flow of the host to another server.
func (f *flow) to(server string, port uint16) *flow {
	n := *f
	n.server, n.serverPort = server, port
	return &n
}

// payload is what a packet between two ports carries.
func (f *flow) payload(sport, dport uint16, flags uint8, toServer bool) pt.Payload {
	data := pt.Bytes(64, 0)
	switch {
	case f.proto == protoTCP:
		return pt.Segment(sport, dport, flags, data)
	case f.proto == protoUDP:
		return pt.UDP(sport, dport, data)
	case toServer != f.fromServer:
		return pt.EchoRequest(max(sport, dport), 1, data)
	}
	return pt.EchoReply(max(sport, dport), 1, data)
}

// remotePort is the server's port in packets; none in those of Echo.
func (f *flow) remotePort() uint16 {
	if f.proto == protoICMP {
		return 0
	}
	return f.serverPort
}

// packet6 is a packet from the host, and packet4 one to it, each on its own side. The others
// are the same on the other side, one hop on.
func (f *flow) packet6(flags uint8) []byte {
	return pt.IP(between(f.host, f.serverPrefix+f.server), f.payload(f.port, f.remotePort(), flags, true))
}

func (f *flow) packet6as4(flags uint8) []byte {
	h := between(f.at.Addr().String(), f.server)
	h.TTL, h.DF = 63, false
	return pt.IP(h, f.payload(f.at.Port(), f.remotePort(), flags, true))
}

func (f *flow) packet4(flags uint8) []byte {
	return pt.IP(between(f.server, f.at.Addr().String()), f.payload(f.remotePort(), f.at.Port(), flags, false))
}

func (f *flow) packet4as6(flags uint8) []byte {
	h := between(f.serverPrefix+f.server, f.host)
	h.TTL = 63
	return pt.IP(h, f.payload(f.remotePort(), f.port, flags, false))
}

// out sends a packet of the host and expects it at the server, byte by byte.
func (f *flow) out(flags uint8) *flow {
	f.g.t.Helper()
	got := f.g.forward(f.packet6(flags))
	if !f.at.IsValid() {
		f.at = sourceOf(got)
	}
	wantPacket(f.g.t, got, f.packet6as4(flags))
	return f
}

// in sends a packet of the server and expects it at the host, byte by byte.
func (f *flow) in(flags uint8) *flow {
	f.g.t.Helper()
	wantPacket(f.g.t, f.g.forward(f.packet4(flags)), f.packet4as6(flags))
	return f
}

// sourceOf returns the address and port that an IPv4 packet comes from.
func sourceOf(b []byte) netip.AddrPort {
	at := 20
	if b[9] == protoICMP {
		at = 24
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:])), be16(b, at))
}

// outDropped and inDropped expect silence.
func (f *flow) outDropped(flags uint8, why translate.Reason) {
	f.g.t.Helper()
	f.g.drop(f.packet6(flags), why)
}

func (f *flow) inDropped(flags uint8, why translate.Reason) {
	f.g.t.Helper()
	f.g.drop(f.packet4(flags), why)
}

// play sends what a script says: "6SA" is a SYN with ACK from IPv6, "4F" a FIN from IPv4,
// "6" or "4" alone a packet that is not of TCP; "+60s" lets time pass.
func (f *flow) play(script string) *flow {
	f.g.t.Helper()
	for _, s := range strings.Fields(script) {
		if s[0] == '+' {
			d, err := time.ParseDuration(s[1:])
			if err != nil {
				f.g.t.Fatal(err)
			}
			f.g.wait(d)
			continue
		}
		flags := uint8(0)
		for i, c := range "FSRPA" {
			if strings.ContainsRune(s[1:], c) {
				flags |= 1 << i
			}
		}
		switch s[0] {
		case '6':
			f.out(flags)
		case '4':
			f.in(flags)
		}
	}
	return f
}

// lives expects that the session of a flow lasts for d after a script if no packet comes:
// until then the server reaches the host, three seconds later it does not, and the binding
// is gone.
func lives(t *testing.T, proto uint8, script string, d time.Duration, changes ...change) {
	t.Helper()
	for _, late := range []bool{false, true} {
		g := newNAT64(t, changes...)
		f := g.flow(proto, hostA1, 5000, server, 80).play(script)
		switch {
		case !late:
			g.wait(d)
			f.in(pt.FlagACK)
		case proto == protoTCP:
			g.wait(d + 3*time.Second)
			f.inDropped(pt.FlagACK, translate.NoSession)
		default:
			g.wait(d + 3*time.Second)
			g.err4(f.packet4(0), 3, map[uint8]uint8{protoUDP: 3, protoICMP: 1}[proto])
		}
	}
}

// quoteOf returns a packet as a router sees it that has 60 hops left, cut after n bytes of
// its data.
func quoteOf(src, dst string, p pt.Payload, n int) []byte {
	h := between(src, dst)
	h.TTL, h.DF = 60, false
	b := pt.IP(h, p)
	if h.Src.Is4() {
		return b[:min(20+n, len(b))]
	}
	return b[:min(40+n, len(b))]
}

// error4 is an ICMPv4 error from router 203.0.113.1 about a packet of the host, of which it
// quotes n bytes of data, and what the host gets to see.
func (f *flow) error4(typ, code, typ6, code6 uint8, n int) (in, out []byte) {
	flags := uint8(pt.FlagSYN)
	q4 := quoteOf(f.at.Addr().String(), f.server, f.payload(f.at.Port(), f.remotePort(), flags, true), n)
	q6 := quoteOf(f.host, f.serverPrefix+f.server, f.payload(f.port, f.remotePort(), flags, true), n)
	in = pt.IP(pt.Header{Src: pt.R4, Dst: f.at.Addr()}, pt.ICMP(typ, code, 0, q4))
	out = pt.IP(pt.Header{Src: pt.R4in6, Dst: addr(f.host), TTL: 63}, pt.ICMP(typ6, code6, 0, q6))
	return in, out
}

// error6 is an ICMPv6 error from an IPv6 address about a packet to the host, and what the
// server gets to see.
func (f *flow) error6(from netip.Addr, typ, code, typ4, code4 uint8, n int) (in, out []byte) {
	flags := uint8(pt.FlagACK)
	q6 := quoteOf(f.serverPrefix+f.server, f.host, f.payload(f.remotePort(), f.port, flags, false), n)
	q4 := quoteOf(f.server, f.at.Addr().String(), f.payload(f.remotePort(), f.at.Port(), flags, false), n)
	as := f.at.Addr()
	if from != addr(f.host) {
		as = pt.X4 // a router's, RFC 5508 REQ-5c
	}
	in = pt.IP(pt.Header{Src: from, Dst: addr(f.serverPrefix + f.server)}, pt.ICMP(typ, code, 0, q6))
	out = pt.IP(pt.Header{Src: as, Dst: addr(f.server), TTL: 63}, pt.ICMP(typ4, code4, 0, q4))
	return in, out
}
