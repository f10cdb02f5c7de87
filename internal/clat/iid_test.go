package clat

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
	"strings"
	"testing"
)

var secret = []byte("0123456789abcdef")

func stable(prefix string) Stable {
	return Stable{Secret: secret, Prefix: netip.MustParsePrefix(prefix), Interface: "eth0", Network: "home"}
}

func address0(t *testing.T, s Stable) netip.Addr {
	t.Helper()
	a, ok := s.Address(0)
	if !ok {
		t.Fatalf("%s is reserved", a)
	}
	return a
}

// TestStable: each parameter changes the address, the same ones give the same address, and
// the prefix stays as it is whatever its length.
func TestStable(t *testing.T) {
	first := address0(t, stable("2001:db8:1::/64"))
	if again := address0(t, stable("2001:db8:1::77/64")); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	counted, _ := stable("2001:db8:1::/64").Address(1)
	other := stable("2001:db8:1::/64")
	other.Secret = []byte("0123456789abcdeg")
	iface := stable("2001:db8:1::/64")
	iface.Interface = "eth1"
	network := stable("2001:db8:1::/64")
	network.Network = "work"
	split := stable("2001:db8:1::/64") // as one text the parameters are the same
	split.Interface, split.Network = "eth0h", "ome"
	seen := map[[8]byte]bool{}
	for _, a := range []netip.Addr{first, counted, address0(t, other), address0(t, iface), address0(t, network), address0(t, split),
		address0(t, stable("2001:db8:2::/64")), address0(t, stable("2001:db8:1::/63"))} {
		b := a.As16()
		if id := [8]byte(b[8:]); seen[id] {
			t.Errorf("%s: the identifier is there twice", a)
		} else {
			seen[id] = true
		}
	}
	for bits := range MaxStableBits + 1 {
		p := netip.PrefixFrom(netip.MustParseAddr("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), bits)
		s := stable("2001:db8::/64")
		s.Prefix = p
		if a, _ := s.Address(0); !p.Contains(a) {
			t.Errorf("%s is not in %s", a, p.Masked())
		}
	}
}

// TestStableBits: the identifier has the least significant bits of HMAC-SHA-256.
func TestStableBits(t *testing.T) {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("\x20\x01\x0d\xb8\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x40" +
		"\x00\x00\x00\x04eth0" + "\x00\x00\x00\x04home" + "\x00\x00\x00\x00"))
	sum := h.Sum(nil)
	b := address0(t, stable("2001:db8:1::/64")).As16()
	if string(b[8:]) != string(sum[24:]) {
		t.Errorf("%x, want the end of %x", b[8:], sum)
	}
	b = address0(t, stable("2001:db8:1::/60")).As16()
	if b[7]&0xf0 != 0 {
		t.Errorf("%x: the prefix has changed", b)
	}
}

// TestStableCheck: what no address can be made of is an error, not a panic later.
func TestStableCheck(t *testing.T) {
	short := stable("2001:db8::/64")
	short.Secret = short.Secret[:15]
	for name, s := range map[string]Stable{
		"secret": short, "prefix": {Secret: secret}, "ipv4": stable("192.0.2.0/24"),
		"mapped": stable("::ffff:192.0.2.0/120"), "room": stable("2001:db8::/121"),
	} {
		if err := s.Check(); err == nil || !strings.HasPrefix(err.Error(), "clat: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := stable("2001:db8::/120").Check(); err != nil {
		t.Error(err)
	}
}

// TestReserved: the registry of reserved interface identifiers, and what is beside its ranges.
func TestReserved(t *testing.T) {
	for _, c := range []struct {
		addr string
		bits int
		want bool
	}{
		{"2001:db8::", 64, true},
		{"2001:db8::1", 64, false},
		{"2001:db8::200:5eff:fe00:0", 64, true},
		{"2001:db8::200:5eff:fe00:5213", 64, true},
		{"2001:db8::200:5eff:feff:ffff", 64, true},
		{"2001:db8::200:5eff:fdff:ffff", 64, false},
		{"2001:db8::200:5eff:ff00:0", 64, false},
		{"2001:db8::fdff:ffff:ffff:ff80", 64, true},
		{"2001:db8::fdff:ffff:ffff:ffff", 64, true},
		{"2001:db8::fdff:ffff:ffff:ff7f", 64, false},
		{"2001:db8::fe00:0:0:0", 64, false},
		{"2001:db8::ffff:ffff:ffff:ffff", 64, false},
		{"2001:db8::", 96, true},
		{"2001:db8::1", 96, false},
		{"2001:db8::ffff:ff80", 96, true},
		{"2001:db8::ffff:ff7f", 96, false},
		{"2001:db8::80", 120, true},
		{"2001:db8::7f", 120, false},
		{"2001:db8::1:0", 112, true},
		{"2001:db8:0:f:ffff:ffff:ffff:ff80", 60, true},
		{"2001:db8:0:e:ffff:ffff:ffff:ff80", 60, false},
	} {
		if got := reserved(netip.MustParseAddr(c.addr), c.bits); got != c.want {
			t.Errorf("%s/%d: %v", c.addr, c.bits, got)
		}
	}
}
