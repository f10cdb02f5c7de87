package pref64

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/steppe-nat64/steppe/internal/test/dnstest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestSearch(t *testing.T) {
	for _, c := range []struct{ name, addr, want string }{
		{"well-known", "64:ff9b::192.0.0.170", "64:ff9b::/96"},
		{"the-other", "64:ff9b::192.0.0.171", "64:ff9b::/96"},
		{"length-64", "2001:db8:1:2:c0:0:aa00:0", "2001:db8:1:2::/64"},
		{"length-56", "2001:db8:1:2c0:0:aa::", "2001:db8:1:200::/56"},
		{"length-48", "2001:db8:1:c000:0:aa00::", "2001:db8:1::/48"},
		{"length-40", "2001:db8:1c0:0:aa::", "2001:db8:100::/40"},
		{"length-32", "2001:db8:c000:aa::", "2001:db8::/32"},
		{"suffix", "2001:db8:c000:aa::1", "2001:db8::/32"},
		{"no-address-of-these", "2001:db8::192.0.0.172", ""},
		{"a-public-address", "2001:db8::1", ""},
		{"IPv4-mapped", "::ffff:192.0.0.170", ""},
		{"IPv4", "192.0.0.170", ""},
		// RFC 7050 §3: the value occurs twice.
		{"170-in-the-prefix", "2001:db8:c000:aa::c000:aa", ""},
		{"170-in-the-prefix-171", "2001:db8:c000:aa::c000:ab", "2001:db8:c000:aa::/96"},
		{"171-in-the-prefix-170", "2001:db8:c000:ab::c000:aa", "2001:db8:c000:ab::/96"},
		{"171-in-the-prefix", "2001:db8:c000:ab::c000:ab", ""},
		{"170-off-the-places", "2001:c000:aa:db8::c000:aa", ""},
		{"170-off-the-places-171", "2001:c000:aa:db8::c000:ab", "2001:c000:aa:db8::/96"},
		{"170-off-the-places-alone", "2001:c000:aa:db8::", ""},
		{"both-with-a-suffix", "2001:db8:c000:aa:c0:0:ab00:1", ""},
		{"170-twice-171-with-a-suffix", "c000:aa:c000:ab::c000:aa", ""},
		{"170-around-byte-8-twice", "2001:db8:1c0:0:aa:0:c000:aa", ""},
		{"byte-8-not-zero", "2001:db8:1:2c0:100:aa::", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, ok := search(netip.MustParseAddr(c.addr))
			if ok != (c.want != "") || ok && p != netip.MustParsePrefix(c.want) {
				t.Errorf("%s, %v, want %q", p, ok, c.want)
			}
		})
	}
}

// TestSearchWhatTranslateComposes: all lengths, by the package that will use the prefix.
func TestSearchWhatTranslateComposes(t *testing.T) {
	for _, bits := range prefixBits {
		p := netip.PrefixFrom(netip.MustParseAddr("2001:db8:102:304:5:708::"), bits).Masked()
		for _, w := range wellKnown4 {
			a, err := translate.Embed(p, netip.AddrFrom4(w))
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := search(a); !ok || got != p {
				t.Errorf("%s: %s, %v", a, got, ok)
			}
		}
	}
}

// question is the query that the answers of a test are for.
func question(t testing.TB) dnsmessage.Message {
	t.Helper()
	b, err := query(4711)
	if err != nil {
		t.Fatal(err)
	}
	var q dnsmessage.Message
	if err := q.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return q
}

func TestQuery(t *testing.T) {
	q := question(t)
	if h := q.Header; h != (dnsmessage.Header{ID: 4711, RecursionDesired: true}) || h.CheckingDisabled {
		t.Errorf("%+v", h)
	}
	if len(q.Questions) != 1 || q.Questions[0].Name.String() != Name || q.Questions[0].Type != dnsmessage.TypeAAAA {
		t.Errorf("%+v", q.Questions)
	}
}

func TestAnswer(t *testing.T) {
	aaaa := func(m *dnsmessage.Message, ttl uint32, addrs ...string) {
		m.Answers = append(m.Answers, dnstest.AAAA(*m, ttl, addrs...)...)
	}
	wellKnownPair := []string{"64:ff9b::c000:aa", "64:ff9b::c000:ab"}
	const day = 24 * time.Hour
	for _, c := range []struct {
		name   string
		edit   func(m *dnsmessage.Message)
		want   string // prefixes
		ttl    time.Duration
		others int
	}{
		{"pair", func(m *dnsmessage.Message) { aaaa(m, 600, wellKnownPair...) }, "64:ff9b::/96", 600 * time.Second, 0},
		{"order", func(m *dnsmessage.Message) {
			aaaa(m, 600, "2001:db8:1::c000:ab", "64:ff9b::c000:aa", "2001:db8:1::c000:aa")
		},
			"2001:db8:1::/96 64:ff9b::/96", 600 * time.Second, 0},
		{"lowest-ttl", func(m *dnsmessage.Message) { aaaa(m, 600, wellKnownPair[0]); aaaa(m, 60, wellKnownPair[1]) }, "64:ff9b::/96", time.Minute, 0},
		{"lowest-ttl-first", func(m *dnsmessage.Message) { aaaa(m, 60, wellKnownPair[0]); aaaa(m, 600, wellKnownPair[1]) }, "64:ff9b::/96", time.Minute, 0},
		{"many-lies", func(m *dnsmessage.Message) {
			for range 200 {
				aaaa(m, 60, "2001:db8::1")
			}
			aaaa(m, 60, wellKnownPair...)
		}, "", time.Minute, maxRecords},
		{"lie-beside", func(m *dnsmessage.Message) { aaaa(m, 6, "2001:db8::1"); aaaa(m, 60, wellKnownPair[1]) }, "64:ff9b::/96", time.Minute, 1},
		{"lies", func(m *dnsmessage.Message) { aaaa(m, 60, "2001:db8::1", "2001:db8::2") }, "", time.Minute, 2},
		{"ambiguous", func(m *dnsmessage.Message) { aaaa(m, 60, "2001:db8:c000:aa::c000:aa") }, "", time.Minute, 1},
		{"ambiguous-but-for-the-other", func(m *dnsmessage.Message) {
			aaaa(m, 60, "2001:db8:c000:aa::c000:aa", "2001:db8:c000:aa::c000:ab")
		}, "2001:db8:c000:aa::/96", time.Minute, 1},
		{"ttl-of-136-years", func(m *dnsmessage.Message) { aaaa(m, 1<<32-1, wellKnownPair...) }, "64:ff9b::/96", 0, 0},
		{"nothing", func(m *dnsmessage.Message) {}, "", 0, 0},
		{"no-data", func(m *dnsmessage.Message) { m.Authorities = dnstest.SOA(3600, 300) }, "", 300 * time.Second, 0},
		{"no-data-soon-over", func(m *dnsmessage.Message) { m.Authorities = dnstest.SOA(30, 300) }, "", 30 * time.Second, 0},
		{"no-name", func(m *dnsmessage.Message) {
			m.RCode, m.Authorities = dnsmessage.RCodeNameError, dnstest.SOA(86400, 86400)
		}, "", day, 0},
		{"another-name", func(m *dnsmessage.Message) {
			aaaa(m, 60, wellKnownPair...)
			for i := range m.Answers {
				m.Answers[i].Header.Name = dnsmessage.MustNewName("example.com.")
			}
		}, "", 0, 0},
		{"capitals", func(m *dnsmessage.Message) {
			m.Questions[0].Name = dnsmessage.MustNewName("IPv4Only.ARPA.")
			aaaa(m, 60, wellKnownPair...)
		}, "64:ff9b::/96", time.Minute, 0},
		{"not-validated", func(m *dnsmessage.Message) { m.AuthenticData = false; aaaa(m, 60, wellKnownPair...) }, "64:ff9b::/96", time.Minute, 0},
		{"twenty-prefixes", func(m *dnsmessage.Message) {
			for i := range 20 {
				aaaa(m, 60, "2001:db8:"+string(rune('a'+i%6))+string(rune('0'+i/6))+"::c000:aa")
			}
		}, "2001:db8:a0::/96 2001:db8:b0::/96 2001:db8:c0::/96 2001:db8:d0::/96 2001:db8:e0::/96 2001:db8:f0::/96 2001:db8:a1::/96 2001:db8:b1::/96", time.Minute, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := dnstest.Reply(question(t))
			c.edit(&m)
			a, err := ParseAnswer(4711, dnstest.Pack(m))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range a.Prefixes {
				got = append(got, p.String())
			}
			if strings.Join(got, " ") != c.want || a.TTL != c.ttl || a.Others != c.others {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestNotAnAnswer: other messages, and errors of the resolver.
func TestNotAnAnswer(t *testing.T) {
	for _, c := range []struct {
		name  string
		edit  func(m *dnsmessage.Message)
		stray bool // to be ignored; the answer may still come
	}{
		{"another-id", func(m *dnsmessage.Message) { m.ID++ }, true},
		{"a-query", func(m *dnsmessage.Message) { m.Response = false }, true},
		{"another-operation", func(m *dnsmessage.Message) { m.OpCode = 5 }, true},
		{"no-question", func(m *dnsmessage.Message) { m.Questions = nil }, true},
		{"two-questions", func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }, true},
		{"another-name", func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("ipv4only.example.") }, true},
		{"another-type", func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeA }, true},
		{"another-class", func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }, true},
		{"truncated", func(m *dnsmessage.Message) { m.Truncated = true }, false},
		{"server-failure", func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure }, false},
		{"refused", func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeRefused }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := dnstest.Reply(question(t))
			m.Answers = dnstest.AAAA(m, 60, "64:ff9b::c000:aa")
			c.edit(&m)
			a, err := ParseAnswer(4711, dnstest.Pack(m))
			if err == nil || errors.Is(err, errNotAnswer) != c.stray || len(a.Prefixes) > 0 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

// TestMalformedAnswers: cut anywhere, and with a byte changed anywhere, an answer is an
// error or an answer with bounded contents.
func TestMalformedAnswers(t *testing.T) {
	m := dnstest.Reply(question(t))
	m.Answers = dnstest.AAAA(m, 60, "64:ff9b::c000:aa", "64:ff9b::c000:ab")
	whole := dnstest.Pack(m)
	for n := range whole {
		if a, err := ParseAnswer(4711, whole[:n]); err == nil {
			t.Errorf("%d bytes of %d: %+v", n, len(whole), a)
		}
	}
	for i := range whole {
		for _, x := range []byte{0, 0xff, 0xc0, 1} {
			b := append([]byte(nil), whole...)
			b[i] ^= x
			if a, err := ParseAnswer(4711, b); err == nil {
				checkAnswer(t, a)
			}
		}
	}
	// The length of an address says 4: the next record would be read as address.
	short := append([]byte(nil), whole...)
	short[len(short)-17] = 4
	if a, err := ParseAnswer(4711, short); err == nil {
		t.Errorf("an address of 4 bytes: %+v", a)
	}
}

// checkAnswer fails the test if an answer is not within its bounds.
func checkAnswer(t *testing.T, a Answer) {
	t.Helper()
	if len(a.Prefixes) > maxPrefixes || a.TTL < 0 || a.TTL > (1<<31-1)*time.Second || a.Others < 0 || a.Others > maxRecords {
		t.Errorf("%+v", a)
	}
	for i, p := range a.Prefixes {
		if p != p.Masked() || !p.Addr().Is6() {
			t.Errorf("prefix %s", p)
		}
		for _, q := range a.Prefixes[:i] {
			if p == q {
				t.Errorf("%s twice", p)
			}
		}
	}
}
