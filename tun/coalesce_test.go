package tun

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/checksum"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// datagrams are n UDP datagrams of size bytes of one flow, as the translator
// leaves them.
func datagrams(from packettest.Header, n, size int) (all [][]byte) {
	for i := range n {
		all = append(all, packettest.IP(from, packettest.UDP(1000, 2000, packettest.Bytes(size, byte(i)))))
		from.ID++
	}
	return all
}

var families = map[string]packettest.Header{
	"4": {Src: packettest.H4, Dst: packettest.M4, ID: 65500, TTL: 63, TOS: 0x28},
	"6": {Src: packettest.M6, Dst: packettest.H4in6, FlowLabel: 0x12345, TTL: 63},
}

// load puts bytes into buffers. With partial, the kernel is left to complete the
// checksums.
func load(all [][]byte, partial bool) []translate.Packet {
	ps := NewPackets(len(all))
	for i, b := range all {
		p := &ps[i]
		p.Off, p.Len = Headroom, copy(p.Buf[Headroom:], b)
		if ip := soleDatagram(p.Bytes()); partial && ip != 0 {
			p.Offload = translate.Offload{Flags: translate.OffloadNeedsCsum, CsumStart: uint16(ip), CsumOffset: udpChecksum}
			c := checksum.Fold(pseudoSum(p.Bytes(), ip, p.Len-ip))
			p.Buf[p.Off+ip+6], p.Buf[p.Off+ip+7] = byte(c>>8), byte(c)
		}
	}
	return ps
}

// wire is what the kernel sends for one super-packet.
func wire(ps []translate.Packet) [][]byte {
	if len(ps) == 1 {
		return packettest.Segments(bytes.Clone(ps[0].Bytes()), ps[0].Offload)
	}
	coalesce(ps)
	b := bytes.Clone(ps[0].Bytes())
	for i := 1; i < len(ps); i++ {
		b = append(b, ps[i].Bytes()[ps[0].Offload.HdrLen:]...)
	}
	return packettest.Segments(b, ps[0].Offload)
}

// runs coalesces ps, and returns the lengths of the runs and what is sent.
func runs(ps []translate.Packet) (lengths []int, out [][]byte) {
	for len(ps) > 0 {
		n := coalesceLen(ps)
		lengths = append(lengths, n)
		out = append(out, wire(ps[:n])...)
		ps = ps[n:]
	}
	return lengths, out
}

func TestCoalesceRuns(t *testing.T) {
	for family, from := range families {
		for _, partial := range []bool{false, true} {
			// try gives the lengths of the runs that are coalesced.
			try := func(name string, want []int, all [][]byte) {
				t.Run(fmt.Sprintf("%s/family=%s/partial=%v", name, family, partial), func(t *testing.T) {
					lengths, out := runs(load(all, partial))
					require.Equal(t, want, lengths)
					require.Equal(t, all, out, "what is on the wire in the end")
				})
			}
			with := func(edit func(h *packettest.Header)) packettest.Header {
				h := from
				edit(&h)
				return h
			}
			three := func() [][]byte { return datagrams(from, 3, 100) }
			third := func(h packettest.Header, p packettest.Payload) [][]byte {
				h.ID += 2
				return append(datagrams(from, 2, 100), packettest.IP(h, p))
			}
			body := packettest.Bytes(100, 2)

			try("one", []int{1}, datagrams(from, 1, 100))
			try("alike", []int{3}, three())
			try("longest", []int{64, 36}, datagrams(from, 100, 100))
			try("largest", []int{44, 1}, datagrams(from, 45, 1472))
			try("odd-sizes", []int{9}, datagrams(from, 9, 33))
			try("empty", []int{1, 1}, datagrams(from, 2, 0))
			try("shorter-last", []int{3, 1}, append(third(from, packettest.UDP(1000, 2000, body[:7])),
				packettest.IP(with(func(h *packettest.Header) { h.ID += 3 }), packettest.UDP(1000, 2000, body[:7]))))
			try("longer", []int{2, 1}, third(from, packettest.UDP(1000, 2000, packettest.Bytes(101, 2))))
			try("other-source-port", []int{2, 1}, third(from, packettest.UDP(1001, 2000, body)))
			try("other-port", []int{2, 1}, third(from, packettest.UDP(1000, 2001, body)))
			try("other-source", []int{2, 1}, third(with(func(h *packettest.Header) { h.Src = h.Src.Next() }), packettest.UDP(1000, 2000, body)))
			try("other-destination", []int{2, 1}, third(with(func(h *packettest.Header) { h.Dst = h.Dst.Next() }), packettest.UDP(1000, 2000, body)))
			try("other-TOS", []int{2, 1}, third(with(func(h *packettest.Header) { h.TOS++ }), packettest.UDP(1000, 2000, body)))
			try("other-TTL", []int{2, 1}, third(with(func(h *packettest.Header) { h.TTL-- }), packettest.UDP(1000, 2000, body)))
			try("tcp", []int{2, 1}, third(from, packettest.TCP(1000, 2000, body)))
			try("udp-lite", []int{2, 1}, third(from, packettest.UDPLite(1000, 2000, 0, body)))
			try("no-checksum", []int{2, 1}, third(from, packettest.UDPNoSum(1000, 2000, body)))
			try("padding", []int{2, 1}, append(datagrams(from, 2, 100), append(three()[2], 0)))
			try("no-packet", []int{2, 1, 1}, append(datagrams(from, 2, 100), []byte{0x45}, []byte{}))
			if family == "4" {
				try("other-identification", []int{2, 1}, append(datagrams(from, 2, 100), packettest.IP(from, packettest.UDP(1000, 2000, body))))
				try("other-DF", []int{2, 1}, third(with(func(h *packettest.Header) { h.DF = true }), packettest.UDP(1000, 2000, body)))
				try("fragment", []int{2, 1}, third(with(func(h *packettest.Header) { h.MF = true }), packettest.UDP(1000, 2000, body)))
				try("options", []int{2, 1}, third(with(func(h *packettest.Header) { h.Options = []byte{1, 1, 1, 0} }), packettest.UDP(1000, 2000, body)))
				broken := three()
				broken[2][10]++
				try("header-checksum", []int{2, 1}, broken)
			} else {
				try("other-flow-label", []int{2, 1}, third(with(func(h *packettest.Header) { h.FlowLabel++ }), packettest.UDP(1000, 2000, body)))
				try("extension-header", []int{2, 1}, third(from, packettest.DestOpts(8, packettest.UDP(1000, 2000, body))))
			}
			if !partial {
				for _, i := range []int{0, 1, 2} {
					broken := three()
					broken[i][len(broken[i])-1]++
					try(fmt.Sprintf("wrong-checksum-%d", i), [][]int{{1, 2}, {1, 1, 1}, {2, 1}}[i], broken)
				}
			}
		}
	}
}

// TestCoalesceWithDF: identifications of datagrams with DF have no meaning, so they keep
// no datagram from going with others, and count up from the first one's.
func TestCoalesceWithDF(t *testing.T) {
	from := families["4"]
	from.DF = true
	var given, want [][]byte
	for i := range 5 {
		h := from
		want = append(want, packettest.IP(with(h, h.ID+uint16(i)), packettest.UDP(1000, 2000, packettest.Bytes(100, byte(i)))))
		if i > 0 {
			h.ID = uint16(40503 * i)
		}
		given = append(given, packettest.IP(h, packettest.UDP(1000, 2000, packettest.Bytes(100, byte(i)))))
	}
	lengths, out := runs(load(given, false))
	require.Equal(t, []int{5}, lengths)
	require.Equal(t, want, out)
}

func with(h packettest.Header, id uint16) packettest.Header {
	h.ID = id
	return h
}

// TestCoalesceStrangeOffloads: a description that is not the plain one, or a
// partial checksum that would become a wrong one, is left alone.
func TestCoalesceStrangeOffloads(t *testing.T) {
	for name, edit := range map[string]func(p *translate.Packet){
		"partial-sum": func(p *translate.Packet) { p.Bytes()[26]++ },
		"start":       func(p *translate.Packet) { p.Offload.CsumStart++ },
		"offset":      func(p *translate.Packet) { p.Offload.CsumOffset = 16 },
		"super":       func(p *translate.Packet) { p.Offload.GSOType, p.Offload.GSOSize = translate.GSOUDPL4, 50 },
		"flags":       func(p *translate.Packet) { p.Offload.Flags = 3 },
	} {
		for i, want := range [][]int{{1, 2}, {1, 1, 1}, {2, 1}} {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) {
				ps := load(datagrams(families["4"], 3, 100), true)
				edit(&ps[i])
				var lengths []int
				for len(ps) > 0 {
					n := coalesceLen(ps)
					lengths, ps = append(lengths, n), ps[n:]
				}
				require.Equal(t, want, lengths)
			})
		}
	}
}

// withoutIdentification sets the identification of an IPv4 packet with DF, which has no
// meaning, to 0. A wrong header checksum stays wrong.
func withoutIdentification(b []byte) []byte {
	if len(b) >= lenIPv4 && b[0]>>4 == 4 && b[6]&dontFragment != 0 {
		checksum.Update(b[10:], checksum.Minus(uint64(word(b[4:]))))
		b[4], b[5] = 0, 0
	}
	return b
}

// FuzzCoalesce: whatever the packets are, the same ones are on the wire in the end, but
// for identifications beside DF.
func FuzzCoalesce(f *testing.F) {
	for _, from := range families {
		three := datagrams(from, 3, 20)
		f.Add(three[0], three[1], three[2], false)
		f.Add(three[0], three[1], three[2][:len(three[2])-3], true)
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte, partial bool) {
		all := [][]byte{a, b, c}
		for i := range all {
			all[i] = all[i][:min(len(all[i]), maxPacket)]
		}
		ps := load(all, partial)
		var want [][]byte
		for i := range ps {
			want = append(want, wire(ps[i:i+1])...)
		}
		_, got := runs(ps)
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, withoutIdentification(want[i]), withoutIdentification(got[i]))
		}
	})
}
