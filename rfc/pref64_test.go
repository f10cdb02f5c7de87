package rfc

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/steppe-nat64/steppe/internal/pref64"
	"github.com/steppe-nat64/steppe/internal/test/dnstest"
)

// asked asks a server that answers with these records, and returns the answer and the
// query that the server has received, as bytes.
func asked(t *testing.T, answers func(q dnsmessage.Message) []dnsmessage.Resource) (pref64.Answer, []byte) {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close(); there.Close() })
	var query []byte
	var done sync.WaitGroup
	done.Go(func() {
		b := make([]byte, 512)
		n, err := there.Read(b)
		if err != nil {
			return
		}
		query = b[:n]
		var q dnsmessage.Message
		if q.Unpack(query) != nil {
			return
		}
		r := dnstest.Reply(q)
		r.Answers = answers(q)
		there.Write(dnstest.Pack(r))
	})
	dial := func(context.Context, string, netip.AddrPort) (net.Conn, error) { return here, nil }
	a, err := pref64.Ask(t.Context(), dial, make([]netip.AddrPort, 1))
	if err != nil {
		t.Fatal(err)
	}
	done.Wait()
	return a, query
}

// records are addresses of ipv4only.arpa.
func records(ttl uint32, addrs ...string) func(q dnsmessage.Message) []dnsmessage.Resource {
	return func(q dnsmessage.Message) []dnsmessage.Resource { return dnstest.AAAA(q, ttl, addrs...) }
}

// listed returns prefixes as text.
func listed(list []netip.Prefix) (text string) {
	for _, p := range list {
		text += p.String() + " "
	}
	return text
}

// usable returns the prefixes of an uplink as text, with their source.
func usable(u *pref64.Uplink, now time.Duration) (text string) {
	for _, f := range u.Prefixes(now) {
		text += f.Prefix.String() + " by " + f.Source.String() + " "
	}
	return text
}

// dueAsk returns when the next query is due, and makes it. The uplink has no prefix of routers.
func dueAsk(t *testing.T, u *pref64.Uplink, now time.Duration) time.Duration {
	t.Helper()
	for range 100 {
		do, next := u.Poll(now)
		if do.Ask {
			return now
		}
		now = next
	}
	t.Fatal("no query is ever due")
	return 0
}

func dnsAnswer(ttl time.Duration, list ...string) pref64.Answer {
	return pref64.Answer{Prefixes: prefixes(list...), TTL: ttl}
}

func TestRFC7050(t *testing.T) {
	row(t, "7050-3-01", func(t *testing.T) {
		_, q := asked(t, records(60, "64:ff9b::c000:aa"))
		// After the id: flags RD alone, one question, no other record.
		wantBytes(t, "query", q[2:], []byte("\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"+"\x08ipv4only\x04arpa\x00"+"\x00\x1c\x00\x01"))
	})
	row(t, "7050-3-02", func(t *testing.T) {
		for addr, want := range map[string]string{
			"64:ff9b::c000:aa":          "64:ff9b::/96 ",
			"64:ff9b::c000:ab":          "64:ff9b::/96 ",
			"2001:db8:1:2:c0:0:aa00:0":  "2001:db8:1:2::/64 ",
			"2001:db8:1:2c0:0:aa::":     "2001:db8:1:200::/56 ",
			"2001:db8:1:c000:0:ab00::":  "2001:db8:1::/48 ",
			"2001:db8:1c0:0:ab::":       "2001:db8:100::/40 ",
			"2001:db8:c000:aa::":        "2001:db8::/32 ",
			"2001:db8:c000:aa::c000:aa": "", // twice
			"2001:db8:c000:aa::c000:ab": "2001:db8:c000:aa::/96 ",
			"2001:c000:aa:db8::c000:aa": "", // once in a place, once on another byte boundary
			"2001:c000:aa:db8::":        "",
			"2001:db8::c000:ac":         "",
		} {
			a, _ := asked(t, records(60, addr))
			is(t, addr, listed(a.Prefixes), want)
		}
	})
	row(t, "7050-3-03", func(t *testing.T) {
		a, _ := asked(t, records(60, "2001:db8:43::c000:aa", "64:ff9b::c000:aa", "2001:db8::1", "2001:db8:42::c000:ab", "2001:db8:43::c000:ab"))
		is(t, "prefixes", listed(a.Prefixes), "2001:db8:43::/96 64:ff9b::/96 2001:db8:42::/96 ")
		u := pref64.NewUplink(0)
		u.Answered(0, a)
		is(t, "usable", usable(u, 0), "2001:db8:43::/96 by DNS 64:ff9b::/96 by DNS 2001:db8:42::/96 by DNS ")
		is(t, "first", u.Prefix(0).Prefix.String(), "2001:db8:43::/96")
	})
	row(t, "7050-3-04", func(t *testing.T) {
		u := pref64.NewUplink(0)
		now := dueAsk(t, u, 0)
		a, _ := asked(t, records(600, "64:ff9b::c000:aa"))
		u.Answered(now, a)
		is(t, "next query", dueAsk(t, u, now)-now, 590*time.Second)
		u.Failed(now + 595*time.Second)
		is(t, "before the end", usable(u, now+599*time.Second), "64:ff9b::/96 by DNS ")
		is(t, "at the end", usable(u, now+600*time.Second), "")
	})
	row(t, "7050-3-05", func(t *testing.T) {
		u := pref64.NewUplink(0)
		now := dueAsk(t, u, 0)
		u.Answered(now, dnsAnswer(900*time.Second))
		is(t, "next query", dueAsk(t, u, now)-now, 900*time.Second)
	})
	row(t, "7050-3-06", func(t *testing.T) {
		u := pref64.NewUplink(0)
		now := dueAsk(t, u, 0)
		for pause := time.Second; pause <= 4*time.Second; pause *= 2 {
			u.Failed(now)
			next := dueAsk(t, u, now)
			is(t, "next query", next-now, pause)
			now = next
		}
	})
	row(t, "7050-3.2.1-01", noConnectivityCheck)
}

// option is a PREF64 option with this length, scaled lifetime and prefix length code.
func option(length byte, scaled uint16, code byte, prefix string) []byte {
	b := []byte{38, length, byte(scaled >> 5), byte(scaled<<3) | code}
	p := addr(prefix).As16()
	return append(b, p[:12]...)
}

// advertised reads an advertisement with these options.
func advertised(t *testing.T, options ...[]byte) pref64.Advertisement {
	t.Helper()
	b := []byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	for _, o := range options {
		b = append(b, o...)
	}
	a, err := pref64.ParseAdvertisement(1, addr("fe80::1"), 255, b)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRFC8781(t *testing.T) {
	good := option(2, 225, 0, "64:ff9b::")
	read := func(options ...[]byte) (text string) {
		for _, o := range advertised(t, options...).Options {
			text += o.Prefix.String() + " for " + o.Lifetime.String() + " "
		}
		return text
	}
	row(t, "8781-4-01", func(t *testing.T) {
		is(t, "length 2", read(good), "64:ff9b::/96 for 30m0s ")
		is(t, "length 1", read(option(1, 225, 0, "2001:db8::")[:8], good), "64:ff9b::/96 for 30m0s ")
		is(t, "length 3", read(append(option(3, 225, 0, "2001:db8::"), make([]byte, 8)...), good), "64:ff9b::/96 for 30m0s ")
	})
	row(t, "8781-4-02", func(t *testing.T) {
		for code, want := range []string{
			"2001:db8:102:304:5:607::/96", "2001:db8:102:304::/64", "2001:db8:102:300::/56", "2001:db8:102::/48", "2001:db8:100::/40", "2001:db8::/32",
		} {
			is(t, "prefix", read(option(2, 1, byte(code), "2001:db8:102:304:5:607::")), want+" for 8s ")
		}
		is(t, "codes 6 and 7", read(option(2, 225, 6, "2001:db8::"), option(2, 225, 7, "2001:db8::"), good), "64:ff9b::/96 for 30m0s ")
	})
	row(t, "8781-4.1-01", func(t *testing.T) {
		is(t, "1", read(option(2, 1, 0, "64:ff9b::")), "64:ff9b::/96 for 8s ")
		is(t, "8191", read(option(2, 8191, 0, "64:ff9b::")), "64:ff9b::/96 for 18h12m8s ")
		u := pref64.NewUplink(0)
		u.Learn(0, advertised(t, option(2, 2, 0, "64:ff9b::")))
		is(t, "before 16 s", usable(u, 16*time.Second-1), "64:ff9b::/96 by router advertisement ")
		is(t, "after 16 s", usable(u, 16*time.Second), "")
	})
	row(t, "8781-4.1-02", func(t *testing.T) {
		u := pref64.NewUplink(0)
		u.Learn(0, advertised(t, good))
		u.Learn(time.Second, advertised(t, option(2, 0, 0, "64:ff9b::")))
		is(t, "withdrawn", usable(u, time.Second), "")
	})
	row(t, "8781-5.1-01", func(t *testing.T) {
		u := pref64.NewUplink(0)
		u.Learn(0, advertised(t, option(2, 225, 0, "2001:db8:43::"), option(2, 0, 0, "2001:db8:44::"), option(2, 225, 0, "2001:db8:42::")))
		u.Learn(0, advertised(t, good))
		is(t, "usable", usable(u, 0), "2001:db8:43::/96 by router advertisement 2001:db8:42::/96 by router advertisement 64:ff9b::/96 by router advertisement ")
	})
	row(t, "8781-5.1-02", func(t *testing.T) {
		u := pref64.NewUplink(0)
		u.Answered(0, dnsAnswer(time.Hour, "2001:db8:53::/96"))
		u.Learn(0, advertised(t, good))
		is(t, "both", usable(u, 0), "64:ff9b::/96 by router advertisement ")
		is(t, "after its end", usable(u, 1800*time.Second), "2001:db8:53::/96 by DNS ")
	})
	row(t, "8781-5.1-03", prefixOfInterface)
}

func TestRFC8880(t *testing.T) {
	row(t, "8880-7.1-01", resolverOfInterface)
	row(t, "8880-7.1-02", func(t *testing.T) {
		// No bit AD, no record OPT with the bit DO in the query; none in the answer either.
		a, q := asked(t, records(60, "64:ff9b::c000:aa"))
		is(t, "bit AD", q[3]&0x20, 0)
		is(t, "additional records", int(q[10])<<8|int(q[11]), 0)
		is(t, "prefixes", listed(a.Prefixes), "64:ff9b::/96 ")
	})
}

func TestRFC9872(t *testing.T) {
	row(t, "9872-3.1-01", func(t *testing.T) {
		u := pref64.NewUplink(0)
		u.Learn(0, advertised(t, option(2, 225, 0, "64:ff9b::")))
		for now := time.Duration(0); now < 1800*time.Second; now += time.Second {
			if do, _ := u.Poll(now); do.Ask {
				t.Fatalf("DNS is asked after %s", now)
			}
		}
		u.Answered(0, dnsAnswer(time.Hour, "2001:db8:53::/96"))
		is(t, "usable", usable(u, 0), "64:ff9b::/96 by router advertisement ")
	})
	row(t, "9872-3.1-02", func(t *testing.T) {
		u := pref64.NewUplink(0)
		u.Learn(0, advertised(t))
		is(t, "first query", dueAsk(t, u, 0), time.Second)
		u.Answered(time.Second, dnsAnswer(time.Hour, "2001:db8:53::/96"))
		is(t, "usable", usable(u, time.Second), "2001:db8:53::/96 by DNS ")
	})
}
