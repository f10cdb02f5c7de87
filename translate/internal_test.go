package translate

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// TestUpdate: the incremental checksum is the one of a full recomputation,
// RFC 1624, and a wrong checksum stays wrong by the same amount.
func TestUpdate(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200_000 {
		old, now := addr6{r.Uint64(), r.Uint64()}, addr6{r.Uint64(), r.Uint64()}
		rest := r.Uint64N(0x10000)
		var c [2]byte
		binary.BigEndian.PutUint16(c[:], ^checksum.Fold(old.sum()+rest))
		checksum.Update(c[:], now.sum()+checksum.Minus(old.sum()))
		if got, want := binary.BigEndian.Uint16(c[:]), ^checksum.Fold(now.sum()+rest); got != want {
			t.Fatalf("update gives %#x, recomputation %#x", got, want)
		}
	}
}

// TestClass4 holds the first-byte shortcuts against prefixes.
func TestClass4(t *testing.T) {
	in := func(a netip.Addr, prefix string) bool { return netip.MustParsePrefix(prefix).Contains(a) }
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 256 * 64 {
		a4 := [4]byte{byte(i / 64), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}
		if i%64 == 0 {
			a4 = [4]byte{byte(i / 64), 255, 255, 255}
		}
		a := netip.AddrFrom4(a4)
		want := unicast
		switch {
		case in(a, "0.0.0.0/8"), in(a, "127.0.0.0/8"):
			want = invalid
		case in(a, "224.0.0.0/4"):
			want = multicast
		case in(a, "255.255.255.255/32"):
			want = broadcast
		case in(a, "240.0.0.0/4"):
			want = reserved
		}
		if got := class4(make4(a4)); got != want {
			t.Fatalf("class4(%s) = %d, want %d", a, got, want)
		}
		far := false
		for _, prefix := range []string{
			"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
			"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15",
			"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		} {
			far = far || in(a, prefix)
		}
		if isNonGlobal(make4(a4)) != far {
			t.Fatalf("isNonGlobal(%s) = %v", a, !far)
		}
	}
	for _, edge := range []string{"100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "198.17.255.255", "198.20.0.0", "192.88.99.1"} {
		if isNonGlobal(make4(netip.MustParseAddr(edge).As4())) {
			t.Errorf("%s counts as non-global", edge)
		}
	}
	for _, inside := range []string{"100.64.0.0", "100.127.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.9", "198.19.255.255"} {
		if !isNonGlobal(make4(netip.MustParseAddr(inside).As4())) {
			t.Errorf("%s counts as global", inside)
		}
	}
}

func TestIllegal6(t *testing.T) {
	for a, want := range map[string]bool{
		"::": true, "::1": true, "::2": false, "::ffff:1.2.3.4": true, "::fffe:1.2.3.4": false,
		"fe80::1": true, "febf::1": true, "fec0::1": false, "fe7f::1": false,
		"ff02::1": true, "fd00::1": false, "2001:db8::1": false, "0:0:0:1::1": false, "64:ff9b::1": false,
		// The first and the last address of each prefix, and their neighbors.
		"::ffff:0:0": true, "::ffff:ffff:ffff": true, "::fffe:ffff:ffff": false, "::1:0:0:0": false,
		"fd80::": false, "fdbf:ffff:ffff:ffff:ffff:ffff:ffff:ffff": false, "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": false,
		"fe00::": false, "fe00::1": false, "fe3f::1": false, "fe40::": false, "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff": false,
		"fe80::": true, "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff": true,
		"fec0::": false, "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": false,
		"ff00::": true, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": true,
	} {
		if got := illegal6(make6(netip.MustParseAddr(a).As16())); got != want {
			t.Errorf("illegal6(%s) = %v", a, got)
		}
	}
}

// linear is the obvious reference for Table: all prefixes, one by one.
type linear []Map

func (l linear) to6(a netip.Addr) (netip.Addr, bool) {
	best, found := Map{}, false
	for _, m := range l {
		if m.IPv4.Contains(a) && (!found || m.IPv4.Bits() > best.IPv4.Bits()) {
			best, found = m, true
		}
	}
	if !found {
		return a, false
	}
	v6, v4 := best.IPv6.Masked().Addr().As16(), a.As4()
	for i := range 32 - best.IPv4.Bits() {
		from, to := best.IPv4.Bits()+i, best.IPv6.Bits()+i
		bit := v4[from/8] >> (7 - from%8) & 1
		v6[to/8] |= bit << (7 - to%8)
	}
	return netip.AddrFrom16(v6), true
}

func (l linear) to4(a netip.Addr) (netip.Addr, bool) {
	best, found := Map{}, false
	for _, m := range l {
		if m.IPv6.Contains(a) && (!found || m.IPv6.Bits() > best.IPv6.Bits()) {
			best, found = m, true
		}
	}
	if !found {
		return a, false
	}
	v4, v6 := best.IPv4.Masked().Addr().As4(), a.As16()
	for i := range 32 - best.IPv4.Bits() {
		to, from := best.IPv4.Bits()+i, best.IPv6.Bits()+i
		bit := v6[from/8] >> (7 - from%8) & 1
		v4[to/8] |= bit << (7 - to%8)
	}
	return netip.AddrFrom4(v4), true
}

func TestTableAgainstLinear(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	rand4 := func() netip.Addr { return netip.AddrFrom4([4]byte{20, 0, byte(r.Uint32()), byte(r.Uint32())}) }
	rand6 := func() netip.Addr {
		a := [16]byte{0x20, 1}
		for i := 2; i < 16; i++ {
			if r.IntN(3) == 0 {
				a[i] = byte(r.Uint32())
			}
		}
		return netip.AddrFrom16(a)
	}
	for range 50 {
		var model linear
		for range r.IntN(40) {
			bits4 := r.IntN(33)
			m := Map{netip.PrefixFrom(rand4(), bits4), netip.PrefixFrom(rand6(), r.IntN(97+bits4))}
			if _, err := NewTable(TableConfig{Maps: append(model[:len(model):len(model)], m)}); err == nil {
				model = append(model, m)
			}
		}
		tab, err := NewTable(TableConfig{Maps: model})
		if err != nil {
			t.Fatal(err)
		}
		tr, err := New(Config{AllowClassE: true}, tab)
		if err != nil {
			t.Fatal(err)
		}
		w := tr.NewWorker()
		for range 500 {
			a4, a6 := rand4(), rand6()
			if len(model) > 0 && r.IntN(2) == 0 {
				a6 = model[r.IntN(len(model))].IPv6.Addr()
			}
			want6, found := model.to6(a4)
			v6, how, _ := w.from4(make4(a4.As4()), &tab.first)
			if how.mapped() != found || found && netip.AddrFrom16(v6.array()) != want6 {
				t.Fatalf("%s maps to %s (%v), want %s (%v)\n%v", a4, netip.AddrFrom16(v6.array()), how, want6, found, model)
			}
			want4, found := model.to4(a6)
			v4, how, _ := w.from6(make6(a6.As16()))
			if how == illegal {
				how = byMap
			}
			if how.mapped() != found || found && netip.AddrFrom4(v4.array()) != want4 {
				t.Fatalf("%s maps to %s (%v), want %s (%v)\n%v", a6, netip.AddrFrom4(v4.array()), how, want4, found, model)
			}
		}
	}
}

func TestEmbedExtract(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, prefix := range []string{"2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56", "2001:db8:122:344::/64", "2001:db8:122:344::/96"} {
		p := netip.MustParsePrefix(prefix)
		for range 1000 {
			a := netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
			v6, err := Embed(p, a)
			if err != nil {
				t.Fatal(err)
			}
			if b := v6.As16(); b[8] != 0 || !p.Contains(v6) {
				t.Fatalf("%s in %s is %s", a, p, v6)
			}
			if back, err := Extract(p, v6); err != nil || back != a {
				t.Fatalf("%s in %s comes back as %s (%v)", a, p, back, err)
			}
		}
	}
	// RFC 6052 §2.4.
	for prefix, want := range map[string]string{
		"2001:db8::/32": "2001:db8:c000:221::", "2001:db8:100::/40": "2001:db8:1c0:2:21::",
		"2001:db8:122::/48": "2001:db8:122:c000:2:2100::", "2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::", "2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
	} {
		got, err := Embed(netip.MustParsePrefix(prefix), netip.MustParseAddr("192.0.2.33"))
		if err != nil || got != netip.MustParseAddr(want) {
			t.Errorf("192.0.2.33 in %s is %s (%v), want %s", prefix, got, err, want)
		}
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range NumReasons {
		name := Reason(r).String()
		if name == "" || seen[name] {
			t.Errorf("reason %d is called %q", r, name)
		}
		seen[name] = true
	}
	if Reason(NumReasons).String() != "unknown" {
		t.Error("a reason beyond the last has a name")
	}
}

// TestAcceptsNode: an extension structure gets another object only if all of its objects
// can be read: RFC 4884 §8. One without payload has just the 4 bytes of its header.
func TestAcceptsNode(t *testing.T) {
	object := func(length, has int) []byte { // length is what it says
		o := make([]byte, has)
		for i, b := range []byte{byte(length >> 8), byte(length), 1, 1} {
			if i < has {
				o[i] = b
			}
		}
		return o
	}
	for name, c := range map[string]struct {
		objects [][]byte
		want    bool
	}{
		"none":                 {nil, false},
		"empty-object":         {[][]byte{object(4, 4)}, true},
		"two-empty-objects":    {[][]byte{object(4, 4), object(4, 4)}, true},
		"object":               {[][]byte{object(8, 8)}, true},
		"object-then-empty":    {[][]byte{object(12, 12), object(4, 4)}, true},
		"object-of-no-length":  {[][]byte{object(0, 4)}, false},
		"object-of-3":          {[][]byte{object(3, 4)}, false},
		"object-of-6":          {[][]byte{object(6, 8)}, false},
		"longer-than-there-is": {[][]byte{object(8, 4)}, false},
		"longer-by-one-word":   {[][]byte{object(12, 12), object(12, 8)}, false},
		"1-byte-after-it":      {[][]byte{object(8, 8), object(4, 1)}, false},
		"3-bytes-after-it":     {[][]byte{object(8, 8), object(4, 3)}, false},
	} {
		ext := []byte{2 << 4, 0, 0, 0} // no checksum
		for _, o := range c.objects {
			ext = append(ext, o...)
		}
		if got := acceptsNode(ext); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestSegments: how many packets of a super-packet go on the wire. Each of them takes an
// identification.
func TestSegments(t *testing.T) {
	for _, c := range []struct {
		data    int
		l4, gso int32
		want    int
	}{
		{1000, 8, 0, 1},
		{8, 8, 100, 1}, // no payload
		{9, 8, 100, 1},
		{107, 8, 100, 1},
		{108, 8, 100, 1},
		{109, 8, 100, 2},
		{208, 8, 100, 2},
		{209, 8, 100, 3},
		{20 + 44*1440, 20, 1440, 44},
		{20 + 44*1440 + 1, 20, 1440, 45},
		{20 + 7, 20, 1, 7},
	} {
		h := header{dataLen: c.data, l4Len: c.l4, gso: c.gso}
		if got := h.segments(); got != c.want {
			t.Errorf("%+v: %d segments", c, got)
		}
	}
}
