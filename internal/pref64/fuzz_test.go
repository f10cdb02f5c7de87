package pref64

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/steppe-nat64/steppe/internal/test/dnstest"
	"github.com/steppe-nat64/steppe/translate"
)

// checkOption fails the test if an option is not one that RFC 8781 allows.
func checkOption(t *testing.T, o Option) {
	t.Helper()
	if !slices.Contains(prefixBits[:], o.Prefix.Bits()) || o.Prefix != o.Prefix.Masked() || !o.Prefix.Addr().Is6() {
		t.Errorf("prefix %s", o.Prefix)
	}
	if o.Lifetime < 0 || o.Lifetime > 65528*time.Second || o.Lifetime%(8*time.Second) != 0 {
		t.Errorf("lifetime %s", o.Lifetime)
	}
}

// FuzzOption: an option is read as mdlayher/ndp reads it, or by neither.
func FuzzOption(f *testing.F) {
	f.Add(goodOption)
	f.Add(badCode)
	f.Add(shortOption)
	f.Add([]byte{38, 2, 0, 0, 0x20, 1, 0xd, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}) // withdrawn, byte 8 not zero
	f.Add([]byte{38, 3, 7, 8, 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{25, 3, 0, 0, 0, 0, 7, 8, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53}) // RDNSS
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		o, ok := ParseOption(b)
		parseRDNSS(b)
		if !slices.Equal(b, before) {
			t.Error("the option was changed")
		}
		if ok {
			checkOption(t, o)
		}
		if len(b) != 16 || b[0] != 38 {
			if ok {
				t.Errorf("%x is an option", b)
			}
			return
		}
		m, err := ndp.ParseMessage(advertisement(b))
		if (err == nil) != ok {
			t.Fatalf("%+v, %v; mdlayher/ndp: %v", o, ok, err)
		}
		if !ok {
			return
		}
		p := m.(*ndp.RouterAdvertisement).Options[0].(*ndp.PREF64)
		if p.Lifetime != o.Lifetime || p.Prefix.Masked() != o.Prefix {
			t.Errorf("%+v, mdlayher/ndp: %+v", o, p)
		}
	})
}

// FuzzAdvertisement: what comes of an advertisement and of netlink messages is bounded, the
// same when read again, and does not upset an Uplink.
func FuzzAdvertisement(f *testing.F) {
	f.Add(advertisement(goodOption, nspOption))
	f.Add(advertisement(badCode, mtuOption, shortOption, goodOption))
	f.Add(advertisement(many(goodOption, 20)...))
	f.Add(userOption(3, "fe80::1", goodOption))
	f.Add(append(userOption(3, "", badCode), userOption(4, "fe80::2", nspOption)...))
	f.Add(userOption(3, "fe80::1", []byte{25, 3, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53}))
	f.Fuzz(func(t *testing.T, b []byte) {
		router := netip.MustParseAddr("fe80::1")
		all := ParseUserOptions(b)
		if a, err := ParseAdvertisement(3, router, 255, b); err == nil {
			if b[0] != routerAdvertisement || a.Router != router {
				t.Errorf("%+v", a)
			}
			all = append(all, a)
		}
		// As the only option of another advertisement, where it is one.
		if len(b) >= 2 && int(b[1])*8 == len(b) && len(b) > 0 {
			a, err := ParseAdvertisement(3, router, 255, advertisement(b, goodOption))
			if err != nil || len(a.Options) == 0 || a.Options[len(a.Options)-1].Prefix != wellKnown {
				t.Errorf("the option after it is lost: %+v, %v", a, err)
			}
		}
		if len(all) > len(b)/netlinkHeader+1 {
			t.Errorf("%d of %d bytes", len(all), len(b))
		}
		u := NewUplink(0)
		now := time.Duration(0)
		for _, a := range all {
			if len(a.Options) > maxOptions || len(a.Resolvers) > maxOptions {
				t.Errorf("%+v", a)
			}
			for _, o := range a.Options {
				checkOption(t, o)
			}
			for _, r := range a.Resolvers {
				if len(r.Addrs) == 0 || len(r.Addrs) > maxOptions || r.Lifetime < 0 {
					t.Errorf("%+v", r)
				}
			}
			now += time.Second
			u.Learn(now, a)
			checkUplink(t, u, now)
		}
	})
}

// checkUplink fails the test if an uplink names a prefix that can't be used, has more than
// it may have, or wants to be called at once, always.
func checkUplink(t *testing.T, u *Uplink, now time.Duration) {
	t.Helper()
	for _, f := range u.Prefixes(now) {
		if err := Check(f.Prefix); err != nil || f.Until <= now {
			t.Errorf("%+v: %v", f, err)
		}
	}
	if len(u.learned) > maxPrefixes || len(u.resolvers) > maxResolvers || len(u.answer.Prefixes) > maxPrefixes {
		t.Errorf("%d prefixes, %d resolvers, %d prefixes of DNS", len(u.learned), len(u.resolvers), len(u.answer.Prefixes))
	}
	u.Poll(now)
	if do, next := u.Poll(now); do != (Actions{}) || next <= now {
		t.Errorf("at %s: %+v, and again at %s", now, do, next)
	}
}

// FuzzAnswer: an answer is bounded; each prefix is in one of its addresses, with a
// well-known address after it. Its id and question are corrected where the fuzzer says so.
func FuzzAnswer(f *testing.F) {
	add := func(edit func(m *dnsmessage.Message), addrs ...string) {
		m := dnstest.Reply(question(f))
		m.Answers = dnstest.AAAA(m, 60, addrs...)
		edit(&m)
		f.Add(dnstest.Pack(m)[12:], uint16(0x8180), uint16(len(m.Answers)), uint16(len(m.Authorities)))
	}
	none := func(*dnsmessage.Message) {}
	add(none, "64:ff9b::c000:aa", "64:ff9b::c000:ab")
	add(none, "2001:db8:c000:aa::c000:aa", "2001:db8:c000:aa::c000:ab") // ambiguous
	add(none, "2001:db8:1:2c0:0:aa::", "2001:db8::1")
	add(func(m *dnsmessage.Message) { m.Authorities = dnstest.SOA(3600, 300) })
	add(func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("IPv4Only.ARPA.") }, "64:ff9b::c000:aa")
	f.Fuzz(func(t *testing.T, body []byte, flags, answers, authorities uint16) {
		b := make([]byte, 12, 12+len(body))
		for i, x := range []uint16{4711, flags, 1, answers, authorities, 0} {
			binary.BigEndian.PutUint16(b[2*i:], x)
		}
		b = append(b, body...)
		a, err := ParseAnswer(4711, b)
		if err != nil {
			if len(a.Prefixes) > 0 {
				t.Errorf("%+v, %v", a, err)
			}
			return
		}
		checkAnswer(t, a)
		for _, p := range a.Prefixes {
			if !contained(b, p) {
				t.Errorf("%s is not in %x", p, b)
			}
		}
		if _, err := ParseAnswer(4712, b); err == nil {
			t.Error("an answer to another query, too")
		}
		u := NewUplink(0)
		u.Poll(time.Second)
		u.Answered(time.Second, a)
		checkUplink(t, u, time.Second)
	})
}

// contained reports whether an address that translate extracts a well-known address from is
// among the bytes of an answer.
func contained(b []byte, p netip.Prefix) bool {
	for i := 0; i+16 <= len(b); i++ {
		a := netip.AddrFrom16([16]byte(b[i : i+16]))
		if !p.Contains(a) {
			continue
		}
		// translate.Extract does not take a prefix that it could not use, such as fe80::/96.
		v4, err := translate.Extract(p, a)
		if err != nil || slices.Contains(wellKnown4[:], v4.As4()) {
			return true
		}
	}
	return false
}
