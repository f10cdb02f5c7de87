package packettest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/translate"
)

func TestCheckFindsEveryFlippedByte(t *testing.T) {
	quote := IP(Header{Src: M4, Dst: H4}, UDP(1, 2, Bytes(40, 0)))
	packets := map[string][]byte{
		"udp4":  IP(From4(), UDP(1, 2, Bytes(9, 0))),
		"tcp4":  IP(From4(), TCP(1, 2, Bytes(9, 0))),
		"echo4": IP(From4(), EchoRequest(1, 2, Bytes(9, 0))),
		"err4":  IP(From4(), ExtendedError(11, 0, 0, quote, MPLS())),
	}
	for name, pkt := range packets {
		for i := range pkt {
			bad := slices.Clone(pkt)
			bad[i] ^= 0x41
			require.Error(t, Check(bad), "%s: byte %d", name, i)
		}
	}
	// IPv6 has no header checksum: traffic class, flow label and hop limit may
	// be anything.
	pkt := IP(From6(), TCP(1, 2, Bytes(9, 0)))
	for i := range pkt {
		if i < 4 || i == 7 {
			continue
		}
		bad := slices.Clone(pkt)
		bad[i] ^= 0x41
		if i == 6 { // another protocol, of which Check knows nothing
			require.NoError(t, Check(bad))
			continue
		}
		require.Error(t, Check(bad), "tcp6: byte %d", i)
	}
}

func TestCheckFindsTruncation(t *testing.T) {
	goldens, err := Goldens()
	require.NoError(t, err)
	for _, g := range goldens {
		for n := range g.In {
			require.Error(t, Check(g.In[:n]), "%s cut to %d", g.ID, n)
		}
		require.Error(t, Check(append(slices.Clone(g.In), 0)), "%s with padding", g.ID)
	}
}

func TestCheckRefuses(t *testing.T) {
	quote4 := IP(Header{Src: M4, Dst: H4}, UDP(1, 2, Bytes(200, 0)))
	quote6 := IP(Header{Src: H4in6, Dst: M6}, UDP(1, 2, Bytes(200, 0)))
	more4 := func(off8 uint16, more bool, n int) []byte {
		h := From4()
		h.DF, h.MF, h.Off8 = false, more, off8
		return IP(h, Raw(17, Bytes(n, 0)))
	}
	more6 := func(off8 uint16, more bool, n int) []byte {
		return IP(From6(), Fragment(1, off8, more, Raw(17, Bytes(n, 0))))
	}
	badExt := func(edit func(b []byte)) []byte {
		ext := Extension(Object(1, 1, Bytes(4, 0)), Object(2, 2, Bytes(8, 0)))
		edit(ext)
		binary.BigEndian.PutUint16(ext[2:], 0)
		return IP(From4(), ExtendedError(11, 0, 0, quote4[:128], ext))
	}
	require.NoError(t, Check(badExt(func([]byte) {})))
	for name, pkt := range map[string][]byte{
		"empty":                       {},
		"version-5":                   Edit(IP(From4(), UDP(1, 2, nil)), func(b []byte) { b[0] = 0x55 }),
		"reserved-flag":               Edit(IP(From4(), UDP(1, 2, nil)), func(b []byte) { b[6] |= 0x80 }),
		"total-length-zero":           Edit(IP(From4(), UDP(1, 2, nil)), func(b []byte) { b[2], b[3] = 0, 0 }),
		"fragment4-odd":               more4(0, true, 20),
		"fragment4-empty":             more4(3, true, 0),
		"fragment4-beyond-end":        more4(8191, false, 64),
		"fragment6-odd":               more6(0, true, 20),
		"fragment6-beyond-end":        more6(8191, false, 64),
		"udp-length":                  IP(From4(), udp(17, 1, 2, 9, Bytes(4, 0))),
		"udp-lite-coverage":           Edit(IP(From4(), UDPLite(1, 2, 0, Bytes(4, 0))), func(b []byte) { b[25] = 7 }),
		"icmpv6-over-ipv4":            IP(From4(), Raw(58, Bytes(8, 0))),
		"icmpv4-over-ipv6":            IP(From6(), Raw(1, Bytes(8, 0))),
		"quote-of-the-other-family-4": IP(From4(), ICMP(11, 0, 0, quote6)),
		"quote-of-the-other-family-6": IP(From6(), ICMP(3, 0, 0, quote4)),
		"quote-header-checksum":       IP(From4(), ICMP(11, 0, 0, append([]byte{0x45, 1}, quote4[2:]...))),
		"quote-short":                 IP(From4(), ICMP(11, 0, 0, quote4[:19])),
		"extension-after-short":       IP(From4(), ICMP(11, 0, 31<<16, append(slices.Clone(quote4[:124]), MPLS()...))),
		"extension-after-the-end":     IP(From4(), ICMP(11, 0, 50<<16, quote4[:128])),
		"extension-missing":           IP(From4(), ICMP(11, 0, 32<<16, quote4[:128])),
		"extension-version":           badExt(func(b []byte) { b[0] = 0x10 }),
		"extension-object-short":      badExt(func(b []byte) { b[5] = 3 }),
		"extension-object-odd":        badExt(func(b []byte) { b[5] = 9 }),
		"extension-object-long":       badExt(func(b []byte) { b[13] = 16 }),
		"extension-checksum":          IP(From4(), ExtendedError(11, 0, 0, quote4[:128], append([]byte{0x20, 0, 1}, MPLS()[3:]...))),
	} {
		require.Error(t, Check(pkt), name)
	}
	require.ErrorIs(t, Check(IP(From6(), UDPNoSum(1, 2, nil))), ErrNoChecksum)
	require.NoError(t, Check(IP(From4(), UDPNoSum(1, 2, nil))))
}

func TestEqualMasksWhatIsGenerated(t *testing.T) {
	want := IP(Header{Src: M4, Dst: H4}, UDP(1, 2, nil))
	got := Edit(want, func(b []byte) { b[4], b[5] = 0x12, 0x34 })
	require.Empty(t, Equal(want, got))
	require.NotEmpty(t, Equal(got, want), "0 where 1234 was expected")

	broken := slices.Clone(got)
	broken[10] ^= 1
	require.NotEmpty(t, Equal(want, broken), "header checksum wrong")
	for i := range got {
		if i == 4 || i == 5 || i == 10 || i == 11 { // Edit repairs the header checksum
			continue
		}
		require.NotEmpty(t, Equal(want, Edit(got, func(b []byte) { b[i] ^= 0x10 })), "byte %d", i)
	}
	require.NotEmpty(t, Equal(want, got[:27]))
	require.NotEmpty(t, Equal(IP(From6(), UDP(1, 2, nil)), want))
	require.NotEmpty(t, Equal(want, nil))

	pieces := Fragments(IP(Header{Src: M4, Dst: H4}, UDP(1, 2, Bytes(1000, 0))), 576, 0)
	numbered := Fragments(IP(Header{Src: M4, Dst: H4}, UDP(1, 2, Bytes(1000, 0))), 576, 7)
	require.Empty(t, EqualAll(pieces, numbered))
	require.NotEmpty(t, EqualAll(pieces, numbered[:1]))
	numbered[1] = Edit(numbered[1], func(b []byte) { b[5] = 8 })
	require.NotEmpty(t, EqualAll(pieces, numbered), "fragments with different identifications")
}

// recorder is a testing.TB that remembers failures.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

func TestCheckGuards(t *testing.T) {
	pkt := IP(From4(), UDP(1, 2, Bytes(5, 0)))
	forward := translate.Result{Verdict: translate.Forward, Reason: translate.Translated}
	for name, c := range map[string]struct {
		change func(p *translate.Packet)
		fails  bool
	}{
		"dropped-untouched":   {func(p *translate.Packet) {}, false},
		"dropped-changed":     {func(p *translate.Packet) { p.Buf[p.Off] = 0 }, true},
		"dropped-headroom":    {func(p *translate.Packet) { p.Buf[p.Off-1] = 0 }, true},
		"dropped-moved":       {func(p *translate.Packet) { p.Off, p.Len = p.Off+1, p.Len-1 }, true},
		"forwarded-all-room":  {func(p *translate.Packet) { p.Result = forward; fill(p, guard, len(p.Buf)-guard) }, false},
		"forwarded-too-early": {func(p *translate.Packet) { p.Result = forward; fill(p, guard-1, guard) }, true},
		"forwarded-too-far":   {func(p *translate.Packet) { p.Result = forward; fill(p, len(p.Buf)-guard, len(p.Buf)-guard+1) }, true},
		"window-too-early":    {func(p *translate.Packet) { p.Result = forward; p.Off = guard - 1 }, true},
		"window-too-far":      {func(p *translate.Packet) { p.Result = forward; p.Len = len(p.Buf) - guard - p.Off + 1 }, true},
		"buffer-replaced":     {func(p *translate.Packet) { p.Buf = p.Buf[1:] }, true},
	} {
		p := Buffer(pkt)
		require.True(t, bytes.Equal(pkt, p.Bytes()))
		c.change(&p)
		r := &recorder{TB: t}
		CheckGuards(r, &p, pkt)
		require.Equal(t, c.fails, r.failed, name)
	}
}

func fill(p *translate.Packet, from, to int) {
	for i := from; i < to; i++ {
		p.Buf[i] = 0x11
	}
}
