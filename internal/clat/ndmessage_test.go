package clat

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/ndp"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// fromHex reads bytes that have blanks between them.
func fromHex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Solicitations and advertisements as the kernel sends them.
const (
	kernelProbe = `60 00 00 00 00 20 3a ff  00000000 00000000 00000000 00000000  ff020000 00000000 00000001 ff00c1a7
		87 00 0000 00000000  20010db8 00010000 00000000 0000c1a7  0e 01 010203040506`
	kernelSolicitation = `60 00 00 00 00 20 3a ff  20010db8 00010000 00000000 00000002  ff020000 00000000 00000001 ff00c1a7
		87 00 0000 00000000  20010db8 00010000 00000000 0000c1a7  01 01 020000000002`
	kernelAdvertisement = `60 00 00 00 00 20 3a ff  20010db8 00010000 00000000 0000c1a7  20010db8 00010000 00000000 00000002
		88 00 0000 60000000  20010db8 00010000 00000000 0000c1a7  02 01 020000000001`
)

// sealed returns a packet with its checksum right.
func sealed(b []byte) []byte {
	b = slices.Clone(b)
	b[ipv6Header+2], b[ipv6Header+3] = 0, 0
	end := min(len(b), ipv6Header+int(binary.BigEndian.Uint16(b[4:])))
	binary.BigEndian.PutUint16(b[ipv6Header+2:], ^checksum.Fold(pseudo(b[:end])+checksum.Sum(b[ipv6Header:end])))
	return b
}

// TestParseND: fields, and that what is written is what was read.
func TestParseND(t *testing.T) {
	probe := dadProbe()
	probe.hasNonce, probe.nonce = true, nonce
	for text, want := range map[string]ndMessage{
		kernelProbe:         probe,
		kernelSolicitation:  solicitation(solicitedNode(mine)),
		kernelAdvertisement: {advertisement: true, src: mine, dst: asker, target: mine, solicited: true, override: true, link: ours, hasLink: true},
	} {
		b := sealed(fromHex(t, text))
		m, err := parseND(b)
		if err != nil || m != want {
			t.Errorf("%+v %v", m, err)
		}
		if p := m.packet(); !slices.Equal(p, b) {
			t.Errorf("%x, want %x", p, b)
		}
		// A frame that is padded.
		if padded, err := parseND(append(b, 1, 2, 3)); err != nil || padded != m {
			t.Errorf("%+v %v", padded, err)
		}
	}
}

// TestParseNDInvalid: messages that RFC 4861 §7.1 says to discard.
func TestParseNDInvalid(t *testing.T) {
	for _, c := range []struct {
		name, packet string
		change       func(b []byte) []byte
		valid        bool
	}{
		{"as-it-is", kernelSolicitation, func(b []byte) []byte { return b }, true},
		{"version", kernelSolicitation, func(b []byte) []byte { b[0] = 0x40; return b }, false},
		{"next-header", kernelSolicitation, func(b []byte) []byte { b[6] = 17; return b }, false},
		{"hop-limit-254", kernelSolicitation, func(b []byte) []byte { b[7] = 254; return b }, false},
		{"code", kernelSolicitation, func(b []byte) []byte { b[41] = 1; return b }, false},
		{"router-solicitation", kernelSolicitation, func(b []byte) []byte { b[40] = 133; return b }, false},
		{"redirect", kernelSolicitation, func(b []byte) []byte { b[40] = 137; return b }, false},
		{"multicast-target", kernelSolicitation, func(b []byte) []byte { b[48] = 0xff; return b }, false},
		{"multicast-source", kernelSolicitation, func(b []byte) []byte { b[8] = 0xff; return b }, false},
		{"option-of-length-0", kernelSolicitation, func(b []byte) []byte { b[65] = 0; return b }, false},
		{"option-too-long", kernelSolicitation, func(b []byte) []byte { b[65] = 2; return b }, false},
		{"half-an-option", kernelSolicitation, func(b []byte) []byte { b[5] += 4; return append(b, 1, 1, 0, 0) }, false},
		{"length-23", kernelSolicitation, func(b []byte) []byte { b[5] = 23; return b[:63] }, false},
		{"length-23-in-a-frame-of-24", kernelSolicitation, func(b []byte) []byte { b[5] = 23; return b }, false},
		{"length-24", kernelSolicitation, func(b []byte) []byte { b[5] = 24; return b[:64] }, true},
		{"longer-than-the-packet", kernelSolicitation, func(b []byte) []byte { b[4] = 1; return b }, false},
		{"probe-with-source-address-option", kernelProbe, func(b []byte) []byte { b[64] = optionSource; return b }, false},
		{"probe-to-all-nodes", kernelProbe, func(b []byte) []byte { copy(b[24:], allNodes.AsSlice()); return b }, false},
		{"probe-to-the-address", kernelProbe, func(b []byte) []byte { copy(b[24:], mine.AsSlice()); return b }, false},
		{"solicited-to-all-nodes", kernelAdvertisement, func(b []byte) []byte { copy(b[24:], allNodes.AsSlice()); return b }, false},
		{"unsolicited-to-all-nodes", kernelAdvertisement, func(b []byte) []byte {
			copy(b[24:], allNodes.AsSlice())
			b[44] = flagOverride
			return b
		}, true},
		{"reserved-bits", kernelSolicitation, func(b []byte) []byte { b[44], b[45] = 0xff, 0xff; return b }, true},
		{"unknown-option", kernelSolicitation, func(b []byte) []byte { b[64] = 200; return b }, true},
	} {
		_, err := parseND(sealed(c.change(fromHex(t, c.packet))))
		if (err == nil) != c.valid {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	b := sealed(fromHex(t, kernelSolicitation))
	b[42] ^= 1
	if _, err := parseND(b); err == nil {
		t.Error("a wrong checksum is accepted")
	}
	for n := range b {
		if _, err := parseND(b[:n]); err == nil {
			t.Errorf("%d bytes are accepted", n)
		}
	}
}

// TestParseNDOptions: unknown ones and those of another length are passed over; the first counts.
func TestParseNDOptions(t *testing.T) {
	add := func(text, options string) []byte {
		b := fromHex(t, text)[:ipv6Header+ndHeader]
		b = append(b, fromHex(t, options)...)
		b[5] = byte(len(b) - ipv6Header)
		return sealed(b)
	}
	m, err := parseND(add(kernelSolicitation, "c8 02 000000000000 0000000000000000  01 02 0102030405060000 000000000000  01 01 020000000002 01 01 020000000003 02 01 020000000004"))
	if err != nil || !m.hasLink || m.link != theirs {
		t.Errorf("%+v %v", m, err)
	}
	m, err = parseND(add(kernelProbe, "0e 02 010203040506 0000000000000000  0e 01 010203040506"))
	if err != nil || !m.hasNonce || m.nonce != [6]byte{} {
		t.Errorf("%+v %v", m, err)
	}
	m, err = parseND(add(kernelAdvertisement, "01 01 020000000003 02 01 020000000002 0e 01 010203040506"))
	if err != nil || m.link != theirs || m.hasNonce {
		t.Errorf("%+v %v", m, err)
	}
}

// TestPacketIndependent: mdlayher/ndp reads what is written.
func TestPacketIndependent(t *testing.T) {
	m := advertised()
	m.dst, m.solicited = asker, true
	got, err := ndp.ParseMessage(m.packet()[ipv6Header:])
	if err != nil {
		t.Fatal(err)
	}
	na, ok := got.(*ndp.NeighborAdvertisement)
	if !ok || na.TargetAddress != mine || !na.Solicited || !na.Override || na.Router || len(na.Options) != 1 {
		t.Fatalf("%+v", got)
	}
	if o := na.Options[0].(*ndp.LinkLayerAddress); o.Direction != ndp.Target || o.Addr.String() != net.HardwareAddr(theirs[:]).String() {
		t.Errorf("%+v", o)
	}
	probe := newAddress(0, mine, nonce, facts)
	p := probe.probe()
	if got, err = ndp.ParseMessage(p.packet()[ipv6Header:]); err != nil {
		t.Fatal(err)
	}
	ns, ok := got.(*ndp.NeighborSolicitation)
	if !ok || ns.TargetAddress != mine || len(ns.Options) != 1 {
		t.Fatalf("%+v", got)
	}
}

// TestSolicitedNode: RFC 4291 §2.7.1 and RFC 2464 §7.
func TestSolicitedNode(t *testing.T) {
	a := netip.MustParseAddr("4037::1:800:200e:8c6c")
	if g := solicitedNode(a); g.String() != "ff02::1:ff0e:8c6c" || !isSolicitedNode(g) {
		t.Errorf("%s", g)
	}
	for _, other := range []string{"ff02::1", "2001:db8::1", "ff05::1:ff0e:8c6c", "fe80::1:ff0e:8c6c", "ff02::2:ff0e:8c6c", "ff02:1::1:ff0e:8c6c"} {
		if isSolicitedNode(netip.MustParseAddr(other)) {
			t.Errorf("%s is no such address", other)
		}
	}
	if m := multicastMAC(netip.MustParseAddr("ff02::1:ff0e:8c6c")); m != (mac{0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c}) {
		t.Errorf("%x", m)
	}
}

// FuzzParseND: nothing panics, and a message that is read has a packet that is read the same.
func FuzzParseND(f *testing.F) {
	for _, text := range []string{kernelProbe, kernelSolicitation, kernelAdvertisement} {
		f.Add(sealed(fromHex(f, text)), true)
	}
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal && len(b) >= ipv6Header+ndHeader && int(binary.BigEndian.Uint16(b[4:])) >= ndHeader {
			b = sealed(b)
		}
		before := slices.Clone(b)
		m, err := parseND(b)
		if !slices.Equal(b, before) {
			t.Fatal("the packet has changed")
		}
		c := newAddress(0, m.target, nonce, facts)
		c.poll(0, facts)
		c.receive(0, m, theirs, facts)
		if err != nil {
			return
		}
		switch {
		case b[7] != ndHops, m.target.IsMulticast(), m.advertisement && m.dst.IsMulticast() && m.solicited:
			t.Fatalf("%+v", m)
		}
		again, err := parseND(m.packet())
		if err != nil || again != m {
			t.Fatalf("%+v, then %+v %v", m, again, err)
		}
	})
}
