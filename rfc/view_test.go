package rfc

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

var (
	addr       = netip.MustParseAddr
	mustPrefix = netip.MustParsePrefix
)

// prefixes is a list of prefixes in text.
func prefixes(texts ...string) (list []netip.Prefix) {
	for _, s := range texts {
		list = append(list, mustPrefix(s))
	}
	return list
}

// between is the header of a packet from src to dst; DF is set in IPv4.
func between(src, dst string) pt.Header {
	return pt.Header{Src: addr(src), Dst: addr(dst), DF: true}
}

// ends shows the addresses of the packet b, or of one quoted: "src > dst".
func ends(b []byte) string {
	if b[0]>>4 == 4 {
		return netip.AddrFrom4([4]byte(b[12:])).String() + " > " + netip.AddrFrom4([4]byte(b[16:])).String()
	}
	return netip.AddrFrom16([16]byte(b[8:])).String() + " > " + netip.AddrFrom16([16]byte(b[24:])).String()
}

func wantEnds(t *testing.T, b []byte, want string) {
	t.Helper()
	if got := ends(b); got != want {
		t.Errorf("addresses are %s, want %s", got, want)
	}
}

// wantPacket compares a packet byte by byte, except that an IPv4
// Identification of 0 in want stands for one that is generated.
func wantPacket(t *testing.T, got, want []byte) {
	t.Helper()
	if diff := pt.Equal(want, got); diff != "" {
		t.Error(diff)
	}
}

// wantBytes compares part of a packet.
func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if string(got) != string(want) {
		t.Errorf("%s: %x, want %x", what, got, want)
	}
}

// hexBytes reads hexadecimal bytes; what follows a # in a line is a comment.
func hexBytes(t *testing.T, text string) (b []byte) {
	t.Helper()
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		part, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, part...)
	}
	return b
}

// be16 reads two bytes at at.
func be16(b []byte, at int) uint16 { return binary.BigEndian.Uint16(b[at:]) }

// be32 reads four bytes at at.
func be32(b []byte, at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }

// golden returns the golden packet with the given id and a translator for it.
func golden(t *testing.T, id string) (pt.Golden, *xlat) {
	t.Helper()
	all, err := pt.Goldens()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		if g.ID == id {
			return g, goldenXlat(t, &g)
		}
	}
	t.Fatal("no golden packet ", id)
	panic("unreachable")
}

// goldenXlat makes the translator that a golden packet asks for.
func goldenXlat(t *testing.T, g *pt.Golden) *xlat {
	t.Helper()
	return newXlat(t, func(s *settings) {
		var err error
		if s.Config, err = g.Apply(s.Config); err != nil {
			t.Fatal(err)
		}
	})
}

// addrPort is an address and port in text.
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// addr16 is an IPv6 address of a packet, in text.
func addr16(b []byte) string { return netip.AddrFrom16([16]byte(b)).String() }
