package pref64

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOption(t *testing.T) {
	const prefix = "20010db8 01020304 05060708"
	for _, c := range []struct {
		name, hex string
		prefix    string // "" if the option is to be ignored
		lifetime  time.Duration
	}{
		{"well-known", "26 02 0708 0064ff9b 00000000 00000000", "64:ff9b::/96", 1800 * time.Second},
		{"length-96", "26 02 0708" + prefix, "2001:db8:102:304:506:708::/96", 1800 * time.Second},
		{"length-64", "26 02 0709" + prefix, "2001:db8:102:304::/64", 1800 * time.Second},
		{"length-56", "26 02 070a" + prefix, "2001:db8:102:300::/56", 1800 * time.Second},
		{"length-48", "26 02 070b" + prefix, "2001:db8:102::/48", 1800 * time.Second},
		{"length-40", "26 02 070c" + prefix, "2001:db8:100::/40", 1800 * time.Second},
		{"length-32", "26 02 070d" + prefix, "2001:db8::/32", 1800 * time.Second},
		{"code-6", "26 02 070e" + prefix, "", 0},
		{"code-7", "26 02 070f" + prefix, "", 0},
		{"withdrawn", "26 02 0000" + prefix, "2001:db8:102:304:506:708::/96", 0},
		{"8-seconds", "26 02 0008" + prefix, "2001:db8:102:304:506:708::/96", 8 * time.Second},
		{"longest", "26 02 fff8" + prefix, "2001:db8:102:304:506:708::/96", 65528 * time.Second},
		{"length-field-1", "26 01 0708" + prefix, "", 0},
		{"length-field-3", "26 03 0708" + prefix + "0000000000000000", "", 0},
		{"8-bytes", "26 01 0708 00000000", "", 0},
		{"cut", "26 02 0708 0064ff9b 00000000 000000", "", 0},
		{"empty", "", "", 0},
		{"other-type", "27 02 0708" + prefix, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, ok := ParseOption(unhex(t, c.hex))
			if ok != (c.prefix != "") {
				t.Fatalf("%+v, %v", o, ok)
			}
			if ok && (o.Prefix != netip.MustParsePrefix(c.prefix) || o.Lifetime != c.lifetime) {
				t.Errorf("%+v, want %s for %s", o, c.prefix, c.lifetime)
			}
		})
	}
}

func TestRDNSS(t *testing.T) {
	const one, two = "20010db8 00000000 00000000 00000053", "fe800000 00000000 00000000 00000001"
	for _, c := range []struct {
		name, hex string
		want      int // addresses
		lifetime  time.Duration
	}{
		{"one", "19 03 0000 00000708" + one, 1, 1800 * time.Second},
		{"two", "19 05 0000 00000708" + one + two, 2, 1800 * time.Second},
		{"forever", "19 03 0000 ffffffff" + one, 1, forever},
		{"withdrawn", "19 03 0000 00000000" + one, 1, 0},
		{"none", "19 01 0000 00000708", 0, 0},
		{"even-length", "19 04 0000 00000708" + one + "0000000000000000", 0, 0},
		{"unspecified", "19 03 0000 00000708 00000000 00000000 00000000 00000000", 0, 0},
		{"multicast", "19 03 0000 00000708 ff020000 00000000 00000000 00000001", 0, 0},
		{"loopback", "19 03 0000 00000708 00000000 00000000 00000000 00000001", 0, 0},
		{"length-field", "19 05 0000 00000708" + one, 0, 0},
		{"bounded", "19 29 0000 00000708" + strings.Repeat(one, 20), maxOptions, 1800 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, ok := parseRDNSS(unhex(t, c.hex))
			if ok != (c.want > 0) || len(r.Addrs) != c.want {
				t.Fatalf("%+v, %v", r, ok)
			}
			if ok && r.Lifetime != c.lifetime {
				t.Errorf("lifetime %s, want %s", r.Lifetime, c.lifetime)
			}
		})
	}
}

// advertisement is a router advertisement with these options.
func advertisement(options ...[]byte) []byte {
	b := []byte{routerAdvertisement, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	for _, o := range options {
		b = append(b, o...)
	}
	return b
}

// userOption is a netlink message as the kernel sends for an option.
func userOption(index int, router string, option []byte) []byte {
	b := make([]byte, netlinkHeader+userOptionHeader)
	binary.NativeEndian.PutUint16(b[4:], messageNewUserOption)
	b[16], b[24] = familyIPv6, routerAdvertisement
	binary.NativeEndian.PutUint16(b[18:], uint16(len(option)))
	binary.NativeEndian.PutUint32(b[20:], uint32(index))
	b = append(b, option...)
	if router != "" {
		b = binary.NativeEndian.AppendUint16(b, 20)
		b = binary.NativeEndian.AppendUint16(b, userOptionSource)
		b = append(b, netip.MustParseAddr(router).AsSlice()...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

var (
	goodOption  = []byte{38, 2, 7, 8, 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}
	nspOption   = []byte{38, 2, 7, 8, 0x20, 1, 0xd, 0xb8, 0, 0x64, 0, 0, 0, 0, 0, 0}
	badCode     = []byte{38, 2, 7, 14, 0x20, 1, 0xd, 0xb8, 0, 0x64, 0, 0, 0, 0, 0, 0}
	shortOption = []byte{38, 1, 7, 8, 0, 0x64, 0xff, 0x9b}
	mtuOption   = []byte{5, 1, 0, 0, 0, 0, 5, 0xdc}
)

// TestAdvertisement: what is ignored is ignored alone. mdlayher/ndp gives up on the whole
// advertisement for a prefix length code of 6.
func TestAdvertisement(t *testing.T) {
	good := []string{"64:ff9b::/96"}
	for _, c := range []struct {
		name   string
		router string
		hops   int
		b      []byte
		want   []string // nil if the advertisement is discarded
	}{
		{"one", "fe80::1", 255, advertisement(goodOption), good},
		{"zone", "fe80::1%eth0", 255, advertisement(goodOption), good},
		{"two", "fe80::1", 255, advertisement(nspOption, goodOption), []string{"2001:db8:64::/96", "64:ff9b::/96"}},
		{"after-another", "fe80::1", 255, advertisement(mtuOption, goodOption), good},
		{"after-a-bad-code", "fe80::1", 255, advertisement(badCode, goodOption), good},
		{"after-a-bad-length", "fe80::1", 255, advertisement(shortOption, goodOption), good},
		{"none", "fe80::1", 255, advertisement(), []string{}},
		{"hop-limit", "fe80::1", 254, advertisement(goodOption), nil},
		{"global-source", "2001:db8::1", 255, advertisement(goodOption), nil},
		{"IPv4-source", "169.254.0.1", 255, advertisement(goodOption), nil},
		{"no-length", "fe80::1", 255, advertisement(goodOption, []byte{5, 0, 0, 0, 0, 0, 5, 0xdc}), nil},
		{"beyond-the-end", "fe80::1", 255, advertisement(goodOption, goodOption[:8]), nil},
		{"one-byte-more", "fe80::1", 255, advertisement(goodOption, []byte{5}), nil},
		{"no-header", "fe80::1", 255, advertisement()[:15], nil},
		{"another-type", "fe80::1", 255, append([]byte{133}, advertisement(goodOption)[1:]...), nil},
		{"another-code", "fe80::1", 255, append([]byte{134, 1}, advertisement(goodOption)[2:]...), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := ParseAdvertisement(7, netip.MustParseAddr(c.router), c.hops, c.b)
			if (err == nil) != (c.want != nil) {
				t.Fatalf("%+v, %v", a, err)
			}
			wantOptions(t, a, c.want)
			if err == nil && (a.Index != 7 || a.Router != netip.MustParseAddr("fe80::1")) {
				t.Errorf("index %d, router %s", a.Index, a.Router)
			}
		})
	}
	if a, _ := ParseAdvertisement(7, netip.MustParseAddr("fe80::1"), 255, advertisement(many(goodOption, 80)...)); len(a.Options) != maxOptions {
		t.Errorf("%d options are kept of 80", len(a.Options))
	}
}

// TestAdvertisementResolvers: as many as are kept, of one option and of all.
func TestAdvertisementResolvers(t *testing.T) {
	rdnss := append([]byte{typeRDNSS, 3, 0, 0, 0, 0, 7, 8}, netip.MustParseAddr("2001:db8::53").AsSlice()...)
	a, err := ParseAdvertisement(7, netip.MustParseAddr("fe80::1"), 255, advertisement(many(rdnss, 80)...))
	if err != nil || len(a.Resolvers) != maxOptions {
		t.Errorf("%d options are kept of 80, %v", len(a.Resolvers), err)
	}
}

func many(b []byte, n int) (all [][]byte) {
	for range n {
		all = append(all, b)
	}
	return all
}

func wantOptions(t *testing.T, a Advertisement, want []string) {
	t.Helper()
	if len(a.Options) != len(want) {
		t.Fatalf("%+v, want %q", a.Options, want)
	}
	for i, o := range a.Options {
		if o.Prefix.String() != want[i] {
			t.Errorf("option %d is %s, want %s", i, o.Prefix, want[i])
		}
	}
}

func TestUserOptions(t *testing.T) {
	edit := func(f func(b []byte)) []byte {
		b := userOption(3, "fe80::1", goodOption)
		f(b)
		return b
	}
	good := userOption(3, "fe80::1", goodOption)
	for _, c := range []struct {
		name string
		b    []byte
		want int
	}{
		{"one", good, 1},
		{"two", append(append([]byte{}, good...), userOption(4, "fe80::2", nspOption)...), 2},
		{"no-source", userOption(3, "", goodOption), 1},
		{"another-message", edit(func(b []byte) { b[4], b[5] = 3, 3 }), 0},
		{"another-family", edit(func(b []byte) { b[16] = 2 }), 0},
		{"another-icmp-type", edit(func(b []byte) { b[24] = 136 }), 0},
		{"options-beyond-the-end", edit(func(b []byte) { binary.NativeEndian.PutUint16(b[18:], 200) }), 0},
		{"message-beyond-the-end", edit(func(b []byte) { binary.NativeEndian.PutUint32(b, 200) }), 0},
		{"message-of-4-GiB", edit(func(b []byte) { binary.NativeEndian.PutUint32(b, 0xffffffff) }), 0},
		{"message-without-length", edit(func(b []byte) { binary.NativeEndian.PutUint32(b, 0) }), 0},
		{"cut", good[:40], 0},
		{"attribute-without-length", edit(func(b []byte) { b[48], b[49] = 0, 0 }), 1},
		{"malformed-before", append(userOption(3, "fe80::1", badCode), good...), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := ParseUserOptions(c.b)
			if len(all) != c.want {
				t.Fatalf("%+v", all)
			}
			if c.name == "one" {
				wantOptions(t, all[0], []string{"64:ff9b::/96"})
				if all[0].Index != 3 || all[0].Router != netip.MustParseAddr("fe80::1") {
					t.Errorf("%+v", all[0])
				}
			}
			if c.name == "malformed-before" && (len(all[0].Options) != 0 || len(all[1].Options) != 1) {
				t.Errorf("%+v", all)
			}
		})
	}
}

// TestOptionsOfAnotherEncoder: what mdlayher/ndp writes is read as it was meant.
func TestOptionsOfAnotherEncoder(t *testing.T) {
	for _, bits := range prefixBits {
		p := netip.PrefixFrom(netip.MustParseAddr("2001:db8:102:304:506:708::"), bits).Masked()
		m := &ndp.RouterAdvertisement{Options: []ndp.Option{
			&ndp.PREF64{Prefix: p, Lifetime: 1800 * time.Second},
			&ndp.RecursiveDNSServer{Lifetime: 600 * time.Second, Servers: []netip.Addr{netip.MustParseAddr("2001:db8::53")}},
		}}
		b, err := ndp.MarshalMessage(m)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ParseAdvertisement(1, netip.MustParseAddr("fe80::1"), 255, b)
		if err != nil || len(a.Options) != 1 || a.Options[0] != (Option{p, 1800 * time.Second}) {
			t.Errorf("%s: %+v, %v", p, a, err)
		}
		if len(a.Resolvers) != 1 || a.Resolvers[0].Lifetime != 600*time.Second || a.Resolvers[0].Addrs[0] != netip.MustParseAddr("2001:db8::53") {
			t.Errorf("resolvers: %+v", a.Resolvers)
		}
	}
}
