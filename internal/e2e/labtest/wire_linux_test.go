package labtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// A wire is what passed both links of the gateway.
type wire struct {
	to6, from6 []packet // IPv6 packets to the gateway, and from it
	to4, from4 []packet // likewise IPv4
}

// watch runs f and returns what passed the gateway meanwhile, after checking that
// each packet is well formed and each translated one has the size, and IPv4 the
// DF, that the rules want.
func (x *lab) watch(t *testing.T, f func()) wire {
	t.Helper()
	six, err := x.r6b.Capture("up")
	require.NoError(t, err)
	four, err := x.r4a.Capture("up")
	require.NoError(t, err)
	f()
	var w wire
	for _, side := range []struct {
		capture  *netlab.Capture
		to, from *[]packet
	}{{six, &w.to6, &w.from6}, {four, &w.to4, &w.from4}} {
		packets, err := side.capture.Stop()
		require.NoError(t, err)
		few(t, netlab.Check(packets))
		for _, p := range packets {
			list := side.from
			if p.Outgoing {
				list = side.to
			}
			*list = append(*list, parse(p.Data))
		}
	}
	few(t, faults(w.from6, fault6))
	few(t, faults(w.from4, x.fault4()))
	return w
}

// few fails the test if there are errors, and shows the first of them.
func few(t *testing.T, errs []string) {
	t.Helper()
	if n := len(errs); n > 0 {
		t.Errorf("%d faulty packets, beginning with %q", n, errs[:min(n, 3)])
	}
}

func faults(ps []packet, fault func(*packet) error) (list []string) {
	for i := range ps {
		if err := fault(&ps[i]); err != nil {
			list = append(list, fmt.Sprintf("packet %d from the gateway: %v: %x", i, err, ps[i].ip[:min(len(ps[i].ip), 64)]))
		}
	}
	return list
}

// maxClearDF is the size up to which translated IPv4 packets have DF clear: with
// it they fit the lowest IPv6 MTU on their way back. RFC 7915 §5.
const maxClearDF = 1260

// fault4 returns a function that says what is wrong with the next IPv4 packet
// that the gateway sent. The last segment of a large TCP packet, which the kernel
// cuts behind the translator, has the DF of the others however short it is. It need not
// come right after them: what the kernel translates may pass what the daemon does.
func (x *lab) fault4() func(*packet) error {
	type flow struct {
		src, dst netip.Addr
		ports    [4]byte
	}
	type end struct {
		flow
		seq uint32 // after a segment with DF
	}
	ends := map[end]bool{}
	return func(p *packet) error {
		if !netip.MustParsePrefix(mapped).Contains(p.src) {
			return nil // from the gateway's own kernel
		}
		want := !p.fragment && len(p.ip) > maxClearDF
		if p.proto == protoTCP && x.mode.large() && !p.fragment {
			f := flow{p.src, p.dst, [4]byte(p.data)}
			s := asSegment(p)
			if s.n > 0 && p.df {
				want = want || ends[end{f, s.seq}]
				ends[end{f, s.seq + uint32(s.n)}] = true
			}
		}
		if p.df != want {
			return fmt.Errorf("DF is %t in a packet of %d bytes", p.df, len(p.ip))
		}
		return nil
	}
}

// fault6 returns what is wrong with an IPv6 packet that the gateway sent. A
// Fragment Header is for fragments only (RFC 8021), and what became one, by
// whomever, is no larger than what every link carries.
func fault6(p *packet) error {
	switch {
	case p.atomic:
		return errors.New("atomic fragment")
	case p.fragment && len(p.ip) > 1280:
		return fmt.Errorf("fragment of %d bytes", len(p.ip))
	}
	return nil
}

// A packet is a captured one with what these tests look at. All packets were
// checked before, so parse need not doubt lengths.
type packet struct {
	ip       []byte
	src, dst netip.Addr
	proto    byte
	df       bool
	fragment bool // one of several
	atomic   bool // a Fragment Header for nothing
	later    bool // not the first fragment: data is no header
	data     []byte
}

func parse(b []byte) packet {
	p := packet{ip: b}
	if b[0]>>4 == 4 {
		word := binary.BigEndian.Uint16(b[6:])
		p.src, p.dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		p.proto, p.data = b[9], b[int(b[0]&15)*4:]
		p.df, p.fragment, p.later = word&0x4000 != 0, word&0x3fff != 0, word&0x1fff != 0
		return p
	}
	p.src, p.dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	p.proto, p.data = b[6], b[40:]
	if p.proto == 44 {
		word := binary.BigEndian.Uint16(p.data[2:])
		p.fragment, p.later = word&^6 != 0, word>>3 != 0
		p.atomic = !p.fragment
		p.proto, p.data = p.data[0], p.data[8:]
	}
	return p
}

const (
	protoICMPv4 = 1
	protoTCP    = 6
	protoICMPv6 = 58
)

// fragments counts the fragments among packets.
func fragments(ps []packet) (n int) {
	for i := range ps {
		if ps[i].fragment {
			n++
		}
	}
	return n
}

// icmp returns the ICMP messages of one type among packets.
func icmp(ps []packet, typ byte) (found []packet) {
	for _, p := range ps {
		if (p.proto == protoICMPv4 || p.proto == protoICMPv6) && !p.later && p.data[0] == typ {
			found = append(found, p)
		}
	}
	return found
}

// ICMP types: RFC 792, RFC 4443.
const (
	unreachable4  = 3
	timeExceeded4 = 11
	tooBig6       = 2
)

// nodeAddress returns the IPv6 address in the Interface Information Object (RFC
// 5837 §4) of an ICMPv4 error, or an invalid one if it has no extension (RFC
// 4884). Anything unexpected fails the test.
func nodeAddress(t *testing.T, p packet) netip.Addr {
	t.Helper()
	quote := int(p.data[5]) * 4
	if quote == 0 {
		return netip.Addr{}
	}
	require.GreaterOrEqual(t, quote, 128)
	ext := p.data[8+quote:]
	require.Len(t, ext, 4+24, "extension structure with one object: %x", ext)
	require.Equal(t, byte(0x20), ext[0], "version")
	var sum uint32
	for i := 0; i < len(ext); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ext[i:]))
	}
	assert.Equal(t, uint32(0xffff), sum>>16+sum&0xffff, "checksum of %x", ext)
	// Length 24, class 2, role 0 with an address; IPv6.
	require.Equal(t, []byte{0, 24, 2, 0x04, 0, 2, 0, 0}, ext[4:12])
	return netip.AddrFrom16([16]byte(ext[12:]))
}
