package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// IP headers, and the first bytes after them.
var (
	// UDP, 192.0.2.1 to 198.51.100.7, 28 bytes.
	udp4 = []byte{0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, 0, 1, 0, 2, 0, 8, 0, 0}
	// TCP after a Hop-by-Hop Options and a Fragment Header, 2001:db8::1 to
	// 2001:db8::2, payload length 24.
	tcp6 = []byte{
		0x60, 0, 0, 0, 0, 24, 0, 64,
		0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
		44, 0, 1, 4, 0, 0, 0, 0,
		6, 0, 0, 1, 0, 0, 0, 9,
		0, 80, 0, 80, 0, 0, 0, 0,
	}
)

func result(v translate.Verdict, r translate.Reason, parts ...[]byte) translate.Packet {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return translate.Packet{Buf: b, Len: len(b), Result: translate.Result{Verdict: v, Reason: r}}
}

func TestPacketLines(t *testing.T) {
	error4 := make([]byte, 28) // an IPv4 and an ICMP header before the quote
	error4[0] = 0x45
	error6 := make([]byte, 48)
	error6[0] = 0x60
	all := taygaconf.LogDrop | taygaconf.LogReject | taygaconf.LogICMP | taygaconf.LogSelf
	multicast := append([]byte(nil), tcp6...)
	multicast[24] = 0xff

	tests := []struct {
		name   string
		kinds  taygaconf.Log
		packet translate.Packet
		want   string
	}{
		{"drop", all, result(translate.Drop, translate.UDPZeroChecksum, udp4),
			"5 DROP: [v4] [192.0.2.1]->[198.51.100.7] (28 bytes) (proto 17) UDP checksum missing"},
		{"drop-answered", all, result(translate.Reply, translate.UDPZeroChecksum, error4, udp4),
			"5 DROP: [v4] [192.0.2.1]->[198.51.100.7] (28 bytes) (proto 17) UDP checksum missing"},
		{"extension-headers", all, result(translate.Drop, translate.BadFragment, tcp6),
			"5 DROP: [v6] [2001:db8::1]->[2001:db8::2] (24 bytes) (proto 6) impossible fragment"},
		{"reject-quoted", all, result(translate.Reply, translate.NoDestination, error4, udp4),
			"5 REJECT: [v4] [192.0.2.1]->[198.51.100.7] (28 bytes) (proto 17) no mapping for the destination"},
		{"reject-without-error", all, result(translate.Drop, translate.NoSource, tcp6),
			"5 REJECT: [v6] [2001:db8::1]->[2001:db8::2] (24 bytes) (proto 6) no mapping for the source"},
		{"icmp-quoted", all, result(translate.Reply, translate.HopLimit, error6, tcp6),
			"6 ICMP: [v6] [2001:db8::1]->[2001:db8::2] (24 bytes) (proto 6) time exceeded in transit"},
		// An Echo Reply has the addresses of the request swapped.
		{"self", all, result(translate.Reply, translate.EchoReply, udp4),
			"6 SELF: [v4] [198.51.100.7]->[192.0.2.1] (28 bytes) (proto 17) echo request answered"},
		// An event of two kinds goes by the first that is switched on.
		{"self-before-drop", all, result(translate.Drop, translate.SelfICMP, udp4),
			"5 SELF: [v4] [192.0.2.1]->[198.51.100.7] (28 bytes) (proto 17) ICMP to this translator, not an echo request"},
		{"drop-if-self-is-off", taygaconf.LogDrop, result(translate.Drop, translate.SelfICMP, udp4),
			"5 DROP: [v4] [192.0.2.1]->[198.51.100.7] (28 bytes) (proto 17) ICMP to this translator, not an echo request"},
		{"kind-is-off", taygaconf.LogReject, result(translate.Drop, translate.UDPZeroChecksum, udp4), ""},
		{"forwarded", all, result(translate.Forward, translate.Translated, udp4), ""},
		// The kernel sends these by itself: router solicitations and the like.
		{"multicast", all, result(translate.Drop, translate.IllegalDestination, multicast), ""},
		{"cut-short", all, result(translate.Drop, translate.BadHeader, udp4[:19]),
			"5 DROP: [v4] [0.0.0.0]->[0.0.0.0] (19 bytes) (proto 0) invalid IP header"},
		{"empty", all, result(translate.Drop, translate.BadHeader), "5 DROP: [v4] [0.0.0.0]->[0.0.0.0] (0 bytes) (proto 0) invalid IP header"},
		{"ipv6-cut-short", all, result(translate.Drop, translate.BadHeader, tcp6[:39]),
			"5 DROP: [v6] [::]->[::] (39 bytes) (proto 0) invalid IP header"},
		{"reply-cut-short", all, result(translate.Reply, translate.NoSource, error4[:20]),
			"5 REJECT: [v4] [0.0.0.0]->[0.0.0.0] (0 bytes) (proto 0) no mapping for the source"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{}
			log := newLogger(r)
			newPacketLog(test.kinds, log).batch([]translate.Packet{test.packet})
			log.flush()
			if test.want == "" {
				assert.Empty(t, r.all())
				return
			}
			assert.Equal(t, []string{test.want}, r.all())
		})
	}
}

// Lines about shared addresses have the ports or the identifier, without which they do not
// tell the host; a later fragment has none.
func TestPacketLinesOfSharedAddresses(t *testing.T) {
	ping4 := []byte{0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, 8, 0, 0, 0, 1, 2, 0, 8}
	options := append([]byte{0x46}, udp4[1:20]...)
	options = append(append(options, 1, 1, 1, 0), udp4[20:]...)
	later4, later6 := append([]byte(nil), udp4...), append([]byte(nil), tcp6...)
	later4[7], later6[51] = 1, 9
	error4, error6 := make([]byte, 28), make([]byte, 48)
	error4[0], error6[0] = 0x45, 0x60
	for want, p := range map[string]translate.Packet{
		"5 DROP: [v4] [192.0.2.1]->[198.51.100.7] (28 bytes) (proto 17) (port 1 to 2) no session of a shared address":               result(translate.Drop, translate.NoSession, udp4),
		"5 REJECT: [v4] [192.0.2.1]->[198.51.100.7] (28 bytes) (proto 17) (port 1 to 2) no host has this shared address and port":   result(translate.Reply, translate.NoBinding, error4, options),
		"5 REJECT: [v4] [192.0.2.1]->[198.51.100.7] (28 bytes) (proto 1) (identifier 258) no host has this shared address and port": result(translate.Drop, translate.NoBinding, ping4),
		"5 REJECT: [v6] [2001:db8::1]->[2001:db8::2] (24 bytes) (proto 6) (port 80 to 80) no shared port is left":                   result(translate.Reply, translate.NoPort, error6, tcp6),
		"5 DROP: [v4] [192.0.2.1]->[198.51.100.7] (28 bytes) (proto 17) no room for a fragment of a shared address":                 result(translate.Drop, translate.FragmentRoom, later4),
		"5 DROP: [v6] [2001:db8::1]->[2001:db8::2] (24 bytes) (proto 6) no room for a fragment of a shared address":                 result(translate.Drop, translate.FragmentRoom, later6),
		"5 DROP: [v4] [192.0.2.1]->[198.51.100.7] (28 bytes) (proto 1) no session of a shared address":                              result(translate.Drop, translate.NoSession, ping4[:24]),
	} {
		r := &recorder{}
		log := newLogger(r)
		newPacketLog(taygaconf.LogDrop|taygaconf.LogReject, log).batch([]translate.Packet{p})
		log.flush()
		assert.Equal(t, []string{want}, r.all())
	}
}

// Every reason that a packet is not translated for has its words.
func TestEveryReasonHasAnEvent(t *testing.T) {
	for r := range translate.Reason(translate.NumReasons) {
		switch r {
		case translate.NotChecked, translate.Translated, translate.Hairpinned, translate.Waiting:
			assert.Zero(t, events[r].kinds, r)
		default:
			assert.NotZero(t, events[r].kinds, r)
			assert.NotEmpty(t, events[r].text, r)
		}
	}
}

func TestPacketLogLimit(t *testing.T) {
	r := &recorder{}
	log := newLogger(r)
	l := newPacketLog(taygaconf.LogDrop|taygaconf.LogDyn, log)
	p := result(translate.Drop, translate.UDPZeroChecksum, udp4)
	for range linesPerSecond + 1000 {
		l.batch([]translate.Packet{p})
	}
	// One kind does not use up the lines of another.
	l.lease(pool.Event{Kind: pool.Assigned, Addr: netip.MustParseAddr("10.0.0.1"), Host: netip.MustParseAddr("2001:db8::1")})
	log.flush()
	require.Len(t, r.all(), linesPerSecond+1)
	assert.Equal(t, "6 DYN: [assigned] [10.0.0.1]->[2001:db8::1]", r.all()[linesPerSecond])

	l.refill()
	l.batch([]translate.Packet{p})
	l.refill()
	log.flush()
	assert.Equal(t, "5 DROP: 1000 more lines suppressed", r.all()[linesPerSecond+1])
	assert.Len(t, r.all(), linesPerSecond+3)
}

// What is not logged costs nothing: neither lines beyond the limit nor packets
// of other kinds are formatted.
func TestPacketLogAllocatesNothing(t *testing.T) {
	log := newLogger(&recorder{})
	l := newPacketLog(taygaconf.LogDrop, log)
	ps := []translate.Packet{
		result(translate.Drop, translate.UDPZeroChecksum, udp4),
		result(translate.Drop, translate.BadFragment, tcp6),
		result(translate.Forward, translate.Translated, udp4),
	}
	for range linesPerSecond {
		l.batch(ps)
	}
	log.flush() // what the log itself allocates is no part of it
	assert.Zero(t, testing.AllocsPerRun(100, func() { l.batch(ps) }))
}

func TestTransport6IsBounded(t *testing.T) {
	endless := make([]byte, 1<<16) // Hop-by-Hop Options of 8 bytes, for ever
	assert.Zero(t, transport6(0, endless))
	for n := range 17 { // cut short
		assert.Zero(t, transport6(0, tcp6[40 : 40+n][:min(n, 15)]))
	}
	assert.EqualValues(t, 6, transport6(0, tcp6[40:]))
	assert.EqualValues(t, 50, transport6(50, nil))
}
