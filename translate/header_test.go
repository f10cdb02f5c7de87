package translate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestPortsOf: the ports of data that is cut short at any byte. Only Sessions get them.
func TestPortsOf(t *testing.T) {
	data := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for proto := range 256 {
		for n := range len(data) + 1 {
			for _, off8 := range []uint16{0, 1, 0x1fff} {
				var src, dst uint16
				switch proto {
				case protoTCP, protoUDP, protoDCCP, protoUDPLite:
					if n >= 4 {
						src, dst = 0x0102, 0x0304
					}
				case protoICMPv4, protoICMPv6:
					if n >= 6 {
						src, dst = 0x0506, 0x0506
					}
				}
				if off8 != 0 {
					src, dst = 0, 0
				}
				h := header{proto: uint8(proto), off8: off8}
				if a, b := h.portsOf(data[:n]); a != src || b != dst {
					t.Fatalf("protocol %d, %d bytes, offset %d: ports %#x, %#x, want %#x, %#x", proto, n, off8, a, b, src, dst)
				}
			}
		}
	}
}

// TestRewriteCutShort: of a header that is cut short at any byte, as in a quote, the
// fields that are there are rewritten and no others.
func TestRewriteCutShort(t *testing.T) {
	whole := make([]byte, 24)
	for i := range whole {
		whole[i] = byte(0x11 + i)
	}
	set := ports{0xaaaa, 0xbbbb, true, 1}
	for _, c := range []struct {
		proto       uint8
		sum         int // where the checksum is
		ports, from int // where the ports end, and begin
	}{{protoTCP, 16, 4, 0}, {protoUDP, 6, 4, 0}, {protoDCCP, 6, 4, 0}, {protoUDPLite, 6, 4, 0}, {47, 0, 0, 0}, {protoICMPv4, 2, 6, 4}, {protoICMPv6, 2, 6, 4}} {
		for n := 1; n <= len(whole); n++ {
			for _, withPorts := range []bool{false, true} {
				h := header{proto: c.proto, dataLen: 100}
				if withPorts {
					h.ports = set
				}
				in, got := whole[:n], make([]byte, n)
				copy(got, in)
				if c.proto == protoICMPv4 || c.proto == protoICMPv6 {
					h.rewriteEcho(got, in[0], 0x1234)
				} else {
					h.rewritePorts(got, 0x1234)
				}
				for i := range n {
					may := c.proto != 47 && (i-c.sum == 0 || i-c.sum == 1) && n >= c.sum+2
					must := withPorts && i >= c.from && i < c.ports && n >= c.ports
					if changed := got[i] != in[i]; must && !changed || changed && !may && !must {
						t.Fatalf("protocol %d, %d bytes, ports set %v: byte %d is %#x, was %#x", c.proto, n, withPorts, i, got[i], in[i])
					}
				}
				if n >= c.sum+2 && c.proto != 47 && got[c.sum] == in[c.sum] && got[c.sum+1] == in[c.sum+1] {
					t.Fatalf("protocol %d, %d bytes: checksum kept", c.proto, n)
				}
			}
		}
	}
}

// TestZeroChecksums: of UDP and UDP-Lite a checksum of zero is sent as 0xffff, and of
// TCP and DCCP as it is.
func TestZeroChecksums(t *testing.T) {
	for proto, want := range map[uint8]uint16{protoUDP: 0xffff, protoUDPLite: 0xffff, protoTCP: 0, protoDCCP: 0} {
		data, at := make([]byte, 24), checksumOffset(proto)
		data[at], data[at+1] = 0x12, 0x34
		h := header{proto: proto}
		h.rewritePorts(data, 0x1234) // a checksum is a complement: what the sum gains it loses
		if got := uint16(data[at])<<8 | uint16(data[at+1]); got != want {
			t.Errorf("protocol %d: checksum %#x, want %#x", proto, got, want)
		}
	}
}

// TestShapeBounds: the shortest header of each protocol, to the byte, whole and in a
// first fragment.
func TestShapeBounds(t *testing.T) {
	shortest := map[uint8]int{protoTCP: 20, protoUDP: 8, protoUDPLite: 8, protoICMPv4: 8, protoICMPv6: 8, protoDCCP: 12}
	data := bytes.Repeat([]byte{1}, 24)
	for proto := range 256 {
		for n := range len(data) {
			whole, first := pass, pass
			if n < shortest[uint8(proto)] {
				whole, first = ShortTransport, TinyFragment
			}
			if got := (&header{proto: uint8(proto)}).shape(data[:n]); got != whole {
				t.Errorf("protocol %d, %d bytes: %v, want %v", proto, n, got, whole)
			}
			if got := (&header{proto: uint8(proto), frag: true, more: true}).shape(data[:n]); got != first {
				t.Errorf("protocol %d, first fragment of %d bytes: %v, want %v", proto, n, got, first)
			}
			for off8, want := range map[uint16]Reason{1: pass, 2: pass} {
				if off8 == 1 && proto == protoTCP {
					want = TinyFragment // RFC 1858: it would overwrite the flags
				}
				if got := (&header{proto: uint8(proto), frag: true, off8: off8}).shape(data[:n]); got != want {
					t.Errorf("protocol %d, fragment at %d: %v, want %v", proto, off8*8, got, want)
				}
			}
		}
	}
	for i, sum := range [][2]byte{{0, 0}, {0, 1}, {1, 0}} {
		lite := []byte{0, 1, 0, 2, 0, 8, sum[0], sum[1]}
		if got := (&header{proto: protoUDPLite}).shape(lite); (got == pass) != (i > 0) {
			t.Errorf("UDP-Lite with checksum %x: %v", sum, got)
		}
		if got := (&header{proto: protoUDP}).hasNoChecksum(lite); got != (i == 0) {
			t.Errorf("UDP with checksum %x has none: %v", sum, got)
		}
	}
}

// TestUDPLengthBounds: a checksum is computed for a datagram that is all here.
func TestUDPLengthBounds(t *testing.T) {
	for length, want := range map[uint16]Reason{0: ShortTransport, 7: ShortTransport, 8: pass, 11: pass, 12: pass, 13: ShortTransport, 0xffff: ShortTransport} {
		data := []byte{0, 1, 0, 2, byte(length >> 8), byte(length), 0, 0, 9, 9, 9, 9}
		h := header{proto: protoUDP}
		if got := h.udpZero(UDPZeroCompute, data); got != want {
			t.Errorf("length %d of 12 bytes: %v, want %v", length, got, want)
		}
		h.more = true
		if got := h.udpZero(UDPZeroCompute, data); got != UDPZeroChecksum {
			t.Errorf("first fragment: %v", got)
		}
	}
}

// TestNamedLinkLocal: which maps and pools are there for the sake of a link-local
// address: those of no more than 16 suffix bits, and pools.
func TestNamedLinkLocal(t *testing.T) {
	p := netip.MustParsePrefix
	for v4, want := range map[string]bool{
		"169.254.7.7/32": true, "169.254.7.0/24": true, "169.254.0.0/17": true, "169.254.0.0/16": true,
		"169.254.0.0/15": false, "169.0.0.0/8": false, "0.0.0.0/0": false, "169.254.8.0/24": false, "169.254.7.6/32": false,
	} {
		for _, pool := range []bool{false, true} {
			tc := TableConfig{Maps: []Map{{p(v4), netip.PrefixFrom(netip.MustParseAddr("2001:db8::"), 96+p(v4).Bits())}}}
			if pool {
				tc = TableConfig{Pools: []Pool{{Prefixes: []netip.Prefix{p(v4)}}}}
			}
			tab, err := NewTable(tc)
			if err != nil {
				t.Fatal(err)
			}
			a := netip.MustParseAddr("169.254.7.7")
			if got := tab.names4(make4(a.As4())); got != (want || pool && p(v4).Contains(a)) {
				t.Errorf("%s, pool %v: %v", v4, pool, got)
			}
		}
	}
	if new(Table).names4(0xa9fe0707) {
		t.Error("an empty table names an address")
	}
}

// TestFlowLabels: each bit of addresses, ports and protocol has a part in the label,
// which is 20 bits and not 0; the halves of an address are not exchangeable.
func TestFlowLabels(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 20 {
		tr, err := New(Config{FlowLabels: true}, new(Table))
		if err != nil {
			t.Fatal(err)
		}
		w := tr.NewWorker()
		a := addresses{src6: addr6{r.Uint64(), r.Uint64()}, dst6: addr6{r.Uint64(), r.Uint64()}}
		data := []byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 0, 0, 0, 0}
		h := header{proto: protoTCP}
		label := func() uint32 { return w.flowLabel(&a, &h, data) }
		first := label()
		same := 0
		differs := func(change func(), undo func()) {
			t.Helper()
			change()
			got := label()
			if got == 0 || got > 0xfffff {
				t.Fatalf("label %#x", got)
			}
			if got == first {
				same++
			}
			undo()
		}
		for i := range 64 {
			for _, half := range []*uint64{&a.src6.hi, &a.src6.lo, &a.dst6.hi, &a.dst6.lo} {
				flip := func() { *half ^= 1 << i }
				differs(flip, flip)
			}
		}
		for i := range 32 {
			flip := func() { data[i/8] ^= 1 << (i % 8) }
			differs(flip, flip)
		}
		differs(func() { h.proto = protoUDP }, func() { h.proto = protoTCP })
		differs(func() { h.proto = protoUDPLite }, func() { h.proto = protoTCP })
		for _, x := range []*addr6{&a.src6, &a.dst6} {
			swap := func() { x.hi, x.lo = x.lo, x.hi }
			differs(swap, swap)
		}
		swap := func() { a.src6, a.dst6 = a.dst6, a.src6 }
		differs(swap, swap)
		if same > 1 { // of a million labels, two may be the same
			t.Fatalf("%d changes have no part in the label", same)
		}
		h.frag = true
		fragment := label()
		data[0] ^= 1
		if label() != fragment {
			t.Error("the label of a fragment depends on ports")
		}
	}
}

// TestHostMaps: maps of one address to one address are found by hashes, all others by
// trees; the hashes have room for as many as there are.
func TestHostMaps(t *testing.T) {
	p := netip.MustParsePrefix
	hosts := func(n int) (maps []Map) {
		for i := range n {
			maps = append(maps, Map{p(fmt.Sprintf("10.0.0.%d/32", i)), p(fmt.Sprintf("2001:db8::%x/128", i))})
		}
		return maps
	}
	for _, c := range []struct {
		maps  []Map
		slots int
		tree  bool
	}{
		{nil, 0, false},
		{hosts(1), 2, false}, {hosts(2), 4, false}, {hosts(4), 8, false}, {hosts(5), 16, false},
		{[]Map{{p("10.0.0.0/31"), p("2001:db8::/127")}}, 0, true},
		{[]Map{{p("10.0.0.0/32"), p("2001:db8::/127")}}, 0, true},
		{append(hosts(4), Map{p("10.0.1.0/32"), p("2001:db8:1::/64")}), 8, true},
	} {
		tab, err := NewTable(TableConfig{Maps: c.maps})
		if err != nil {
			t.Fatal(err)
		}
		if len(tab.hosts.by4) != c.slots || (tab.to6 != nil) != c.tree || (tab.to4 != nil) != c.tree {
			t.Errorf("%d maps: %d slots, trees %v and %v", len(c.maps), len(tab.hosts.by4), tab.to6 != nil, tab.to4 != nil)
		}
	}
}

// TestFinishedChecksums: a checksum that comes to 0 is sent as 0xffff for UDP, for
// which 0 means none, and as 0 for TCP.
func TestFinishedChecksums(t *testing.T) {
	for proto, want := range map[uint8]uint16{protoUDP: 0xffff, protoTCP: 0} {
		for _, rest := range []int{0, 2} { // bytes of payload
			hdr, payload := make([]byte, 20), make([]byte, rest)
			at := checksumOffset(proto)
			hdr[at], hdr[at+1] = 7, 7 // what was there does not count
			if rest > 0 {
				payload[1] = 9
			}
			finishChecksum(hdr, payload, proto, 0xffff-uint64(rest/2*9))
			if got := uint16(hdr[at])<<8 | uint16(hdr[at+1]); got != want {
				t.Errorf("protocol %d: checksum %#x, want %#x", proto, got, want)
			}
			finishChecksum(hdr, payload, proto, 0x1234)
			if got, want := uint16(hdr[at])<<8|uint16(hdr[at+1]), ^uint16(0x1234+rest/2*9); got != want {
				t.Errorf("protocol %d: checksum %#x, want %#x", proto, got, want)
			}
		}
	}
}

// TestZeroSums: the checksum of an ICMPv4 message of zeros alone becomes 0xffff, and a
// message that is cut short before its checksum stays as it is.
func TestZeroSums(t *testing.T) {
	for n := range 12 {
		data := make([]byte, n)
		zeroSum4(data)
		if n >= 4 {
			if data[2] != 0xff || data[3] != 0xff {
				t.Errorf("%d zeros become %x", n, data)
			}
			data[2], data[3] = 0, 0
		}
		for i := range data {
			data[i] = 1
			in := bytes.Clone(data)
			if zeroSum4(data); !bytes.Equal(data, in) {
				t.Errorf("%x becomes %x", in, data)
			}
			data[i] = 0
		}
	}
}

// TestFlowLabelRange: a label is 20 bits and not 0, also for the one flow in a million
// whose hash leaves the least or the most.
func TestFlowLabelRange(t *testing.T) {
	tr, err := New(Config{FlowLabels: true}, new(Table))
	if err != nil {
		t.Fatal(err)
	}
	w, a, h := tr.NewWorker(), addresses{src6: addr6{1, 2}}, header{proto: protoTCP, frag: true}
	for i := range uint64(6 << 20) {
		a.dst6.lo = i
		if label := w.flowLabel(&a, &h, nil); label == 0 || label > 0xfffff {
			t.Fatalf("label %#x", label)
		}
	}
}
