package session_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

const (
	tcp  = 6
	udp  = 17
	icmp = 1
)

// A bed is a table under test, at a time.
type bed struct {
	testing.TB
	*session.Table
	now time.Duration
}

func config() session.Config {
	const n = 1 << 12
	return session.Config{
		Pools:  []session.Pool{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}},
		Limits: session.Limits{Sessions: n, HalfOpen: n, Inbound: n, PerPrefix: n, HalfOpenPerPrefix: n},
	}
}

func newBed(tb testing.TB, edit ...func(*session.Config)) *bed {
	tb.Helper()
	c := config()
	for _, e := range edit {
		e(&c)
	}
	t, err := session.New(c)
	require.NoError(tb, err)
	return &bed{TB: tb, Table: t, now: time.Hour}
}

func filtered(c *session.Config) { c.Filtering = session.AddressDependent }

// host6 and host4 are addresses as integers.
func host6(n uint64) translate.Addr6 { return translate.Addr6{Hi: 0x2001_0db8_0000_0000, Lo: n} }

const (
	pool   = 0xc0000201 // 192.0.2.1
	server = 0xcb007105 // 203.0.113.5
	other  = 0xcb007106
)

// from6 is a flow of host 1 to the server.
func from6(proto uint8, port uint16) translate.Tuple6 {
	return translate.Tuple6{Host: host6(1), HostPort: port, Remote: server, RemotePort: 80, Proto: proto}
}

// Outbound, Inbound, OutboundError and InboundError are those of the table, with the
// tuple as a result.
func (b *bed) Outbound(now time.Duration, f *translate.Tuple6, flags uint8) (to translate.Tuple4, r translate.FlowResult) {
	r = b.Table.Outbound(now, f, flags, &to)
	return to, r
}

func (b *bed) Inbound(now time.Duration, f *translate.Tuple4, flags uint8) (to translate.Tuple6, r translate.FlowResult) {
	r = b.Table.Inbound(now, f, flags, &to)
	return to, r
}

func (b *bed) OutboundError(now time.Duration, f *translate.Tuple6) (to translate.Tuple4, r translate.FlowResult) {
	r = b.Table.OutboundError(now, f, &to)
	return to, r
}

func (b *bed) InboundError(now time.Duration, f *translate.Tuple4) (to translate.Tuple6, r translate.FlowResult) {
	r = b.Table.InboundError(now, f, &to)
	return to, r
}

// out and in pass a packet and return the result.
func (b *bed) out(f translate.Tuple6, flags uint8) (translate.Tuple4, translate.FlowResult) {
	return b.Outbound(b.now, &f, flags)
}

func (b *bed) in(f translate.Tuple4, flags uint8) (translate.Tuple6, translate.FlowResult) {
	return b.Inbound(b.now, &f, flags)
}

// open is out for a packet that has to pass.
func (b *bed) open(f translate.Tuple6) translate.Tuple4 {
	b.Helper()
	to, r := b.out(f, syn)
	if r != translate.FlowMapped {
		b.Fatalf("%+v: %v", f, r)
	}
	return to
}

// expire does what is due.
func (b *bed) expire() {
	for b.Expire(b.now) {
	}
}

// all lists the sessions.
func (b *bed) all() (s []session.Session) {
	for page, more := session.Page(0), true; more; more = page != 0 {
		s, page = b.Sessions(s, b.now, session.Filter{}, page, 100)
	}
	return s
}

// flags of a packet such as "SA".
func flagsOf(s string) (flags uint8) {
	for i, c := range "FSR-A" {
		if strings.ContainsRune(s, c) {
			flags |= 1 << i
		}
	}
	return flags
}
