package pref64

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// A history calls an Uplink as a test says, at the second it says.
type history struct {
	t *testing.T
	*Uplink
	now time.Duration
}

func newHistory(t *testing.T) *history { return &history{t: t, Uplink: NewUplink(0)} }

// at sets the time in seconds.
func (h *history) at(s float64) *history {
	h.now = time.Duration(s * float64(time.Second))
	return h
}

// ra takes an advertisement of a router: "PREFIX SECONDS" for each option.
func (h *history) ra(router string, options ...string) {
	a := Advertisement{Index: 1, Router: netip.MustParseAddr(router)}
	for _, o := range options {
		var prefix string
		var seconds int
		if _, err := fmt.Sscan(o, &prefix, &seconds); err != nil {
			h.t.Fatal(err)
		}
		a.Options = append(a.Options, Option{netip.MustParsePrefix(prefix), time.Duration(seconds) * time.Second})
	}
	h.Learn(h.now, a)
}

// dns takes an answer.
func (h *history) dns(ttl int, list ...string) {
	a := Answer{TTL: time.Duration(ttl) * time.Second}
	for _, p := range list {
		a.Prefixes = append(a.Prefixes, netip.MustParsePrefix(p))
	}
	h.Answered(h.now, a)
}

// has fails the test unless these prefixes can be used, in this order; the source is that of
// all, and has no meaning without one.
func (h *history) has(source Source, list ...string) {
	h.t.Helper()
	var got []string
	for _, f := range h.Prefixes(h.now) {
		got = append(got, f.Prefix.String())
		if f.Source != source || f.Until <= h.now {
			h.t.Errorf("at %s: %+v, want it from %s", h.now, f, source)
		}
	}
	if !slices.Equal(got, list) {
		h.t.Errorf("at %s: %q, want %q", h.now, got, list)
	}
	if f := h.Prefix(h.now); f.Prefix.IsValid() != (len(list) > 0) || len(list) > 0 && f.Prefix.String() != list[0] {
		h.t.Errorf("at %s: %s counts", h.now, f.Prefix)
	}
}

const (
	pa, pb, pc = "2001:db8:a::/96", "2001:db8:b::/96", "64:ff9b::/96"
	r1, r2     = "fe80::1", "fe80::2"
)

func TestUplinkLifetime(t *testing.T) {
	h := newHistory(t)
	h.has(0)
	h.at(1).ra(r1, pa+" 16")
	h.has(FromAdvertisement, pa)
	h.at(16.9).has(FromAdvertisement, pa)
	h.at(17).has(0)
	h.at(20).ra(r1, pa+" 16")
	h.at(30).ra(r1, pa+" 16") // again: the new lifetime counts
	h.at(45).has(FromAdvertisement, pa)
	h.ra(r1, pa+" 8") // also if it is shorter
	h.at(53).has(0)
}

func TestUplinkWithdrawal(t *testing.T) {
	h := newHistory(t)
	h.ra(r1, pa+" 600", pb+" 600")
	h.at(1).ra(r1, pa+" 0")
	h.has(FromAdvertisement, pb)
	h.at(2).ra(r1, pb+" 0", pa+" 600") // renumbered in one advertisement
	h.has(FromAdvertisement, pa)
	h.at(3).ra(r1, pa+" 0")
	h.has(0)
	h.ra(r1, pc+" 0") // was never there
	h.has(0)
}

// TestUplinkOrder: the first that was received counts, and stays first.
func TestUplinkOrder(t *testing.T) {
	h := newHistory(t)
	h.ra(r1, pb+" 600", pa+" 600")
	h.has(FromAdvertisement, pb, pa)
	h.at(1).ra(r1, pa+" 600", pb+" 600", pc+" 600")
	h.has(FromAdvertisement, pb, pa, pc)
	h.at(2).ra(r1, pb+" 0")
	h.at(3).ra(r1, pb+" 600")
	h.has(FromAdvertisement, pa, pc, pb) // a prefix that comes back is the last
}

// TestUplinkRouters: a router withdraws only what it has advertised.
func TestUplinkRouters(t *testing.T) {
	h := newHistory(t)
	h.ra(r1, pa+" 600")
	h.ra(r2, pa+" 100")
	h.at(1).ra("fe80::bad", pa+" 0")
	h.has(FromAdvertisement, pa)
	if f := h.Prefix(h.now); f.Router != netip.MustParseAddr(r1) || f.Until != 600*time.Second {
		t.Errorf("%+v", f)
	}
	h.ra(r1, pa+" 0")
	h.has(FromAdvertisement, pa)
	if f := h.Prefix(h.now); f.Router != netip.MustParseAddr(r2) {
		t.Errorf("%+v", f)
	}
	h.at(100).has(0)
}

// TestUplinkDNS: DNS counts while there is no advertisement.
func TestUplinkDNS(t *testing.T) {
	h := newHistory(t)
	h.dns(600, pb, pa)
	h.has(FromDNS, pb, pa)
	h.at(1).ra(r1, pc+" 100")
	h.has(FromAdvertisement, pc)
	h.at(101).has(FromDNS, pb, pa)
	h.at(600).has(0)
	h.dns(600, pa)
	h.at(700).dns(600, pb) // replaces the one before
	h.has(FromDNS, pb)
	h.at(710).dns(60)
	h.has(0)
	h.dns(600, pa)
	h.at(720).Failed(h.now) // no answer is not the answer that there is none
	h.has(FromDNS, pa)
}

// TestUplinkDNSOrder: BIND has the records in another order in each answer. With two prefixes
// the one that counts would have changed with each refresh, and all connections with it.
func TestUplinkDNSOrder(t *testing.T) {
	h := newHistory(t)
	h.dns(600, pb, pa)
	h.at(590).dns(600, pa, pb)
	h.has(FromDNS, pb, pa)
	h.at(1180).dns(600, pc, pa, pb)
	h.has(FromDNS, pb, pa, pc)
	h.at(1770).dns(600, pc, pa)
	h.has(FromDNS, pa, pc)
	h.at(2370).dns(600, pc, pa) // those before have ended
	h.has(FromDNS, pc, pa)
}

func TestUplinkRefused(t *testing.T) {
	h := newHistory(t)
	h.SetOwn([]netip.Prefix{netip.MustParsePrefix("2001:db8:a::/64")})
	h.ra(r1, "ff0e::/96 600", pa+" 600", "64:ff9b::/32 32", pb+" 600")
	h.dns(600, "fe80::/96")
	h.has(FromAdvertisement, pb)
	var text []string
	for _, r := range h.Refused(h.now) {
		text = append(text, r.Source.String()+": "+r.Err.Error())
	}
	if got, want := strings.Join(text, "\n"), `router advertisement: pref64: translate: prefix ff0e::/96: not a unicast prefix
router advertisement: pref64: prefix 2001:db8:a::/96: overlaps 2001:db8:a::/64, a network of this machine
router advertisement: pref64: prefix 64:ff9b::/32: the well-known prefix has length 96
DNS: pref64: translate: prefix fe80::/96: not a unicast prefix`; got != want {
		t.Errorf("%s", got)
	}
	h.SetOwn(nil) // renumbered: the prefix was received first
	h.has(FromAdvertisement, pa, pb)
	h.SetOwn([]netip.Prefix{netip.MustParsePrefix("2001:db8::/32")})
	h.has(0)
	if do, _ := h.at(590).Poll(h.now); !do.Ask {
		t.Error("DNS is not asked although no prefix of the router can be used")
	}
}

// TestUplinkBounds: a router that invents prefixes displaces none, and takes no memory.
func TestUplinkBounds(t *testing.T) {
	h := newHistory(t)
	h.ra(r1, pa+" 600")
	for i := range 1000 {
		h.ra("fe80::bad", fmt.Sprintf("2001:db8:%x::/96 65528", 0x1000+i), fmt.Sprintf("ff0e:%x::/96 65528", i))
		h.ra(fmt.Sprintf("fe80::%x", 0x1000+i), pa+" 65528")
		h.Learn(h.now, Advertisement{Resolvers: []Resolvers{{[]netip.Addr{netip.AddrFrom16([16]byte{0x20, 1, 14: byte(i >> 8), 15: byte(i)})}, forever}}})
	}
	if f := h.Prefix(h.now); f.Prefix.String() != pa || f.Router != netip.MustParseAddr(r1) {
		t.Errorf("%+v", f)
	}
	if len(h.learned) != maxPrefixes || len(h.learned[0].routers) != maxRouters || len(h.resolvers) != maxResolvers {
		t.Errorf("%d prefixes, %d routers, %d resolvers", len(h.learned), len(h.learned[0].routers), len(h.resolvers))
	}
	// Prefixes that are refused make room for one that is not.
	h = newHistory(t)
	for i := range maxPrefixes {
		h.ra("fe80::bad", fmt.Sprintf("ff0e:%x::/96 65528", i))
	}
	h.ra(r1, pa+" 600")
	h.has(FromAdvertisement, pa)
}

func TestUplinkResolvers(t *testing.T) {
	h := newHistory(t)
	learn := func(seconds int, addrs ...string) {
		r := Resolvers{Lifetime: time.Duration(seconds) * time.Second}
		for _, a := range addrs {
			r.Addrs = append(r.Addrs, netip.MustParseAddr(a))
		}
		h.Learn(h.now, Advertisement{Resolvers: []Resolvers{r}})
	}
	want := func(addrs ...string) {
		t.Helper()
		var got []string
		for _, a := range h.Resolvers(h.now) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, addrs) {
			t.Errorf("at %s: %q, want %q", h.now, got, addrs)
		}
	}
	want()
	learn(100, "2001:db8::53", "2001:db8::54")
	want("2001:db8::53", "2001:db8::54")
	h.at(1)
	learn(0, "2001:db8::53")
	want("2001:db8::54")
	h.at(100)
	want()
	h.Learn(h.now, Advertisement{Resolvers: []Resolvers{{[]netip.Addr{netip.MustParseAddr("2001:db8::55")}, forever}}})
	h.at(1e9)
	want("2001:db8::55")
}

// TestUplinkRestart: nothing is left of before.
func TestUplinkRestart(t *testing.T) {
	h := newHistory(t)
	own := []netip.Prefix{netip.MustParsePrefix("2001:db8:b::/64")}
	h.SetOwn(own)
	h.ra(r1, pa+" 600")
	h.dns(600, pc)
	h.Poll(h.now)
	h.at(7).Restart(h.now)
	h.has(0)
	if do, _ := h.Poll(h.now); !do.Solicit {
		t.Error("no solicitation")
	}
	h.ra(r1, pb+" 600")
	h.has(0) // still a network of the machine
}

// due returns what is due until a time, each with its second.
func (h *history) due(until float64) string {
	var all []string
	for range 1000 {
		do, next := h.Poll(h.now)
		if do.Solicit {
			all = append(all, fmt.Sprintf("solicit@%g", h.now.Seconds()))
		}
		if do.Ask {
			all = append(all, fmt.Sprintf("ask@%g", h.now.Seconds()))
		}
		if do, _ := h.Poll(h.now); do != (Actions{}) {
			h.t.Fatalf("at %s: %+v twice", h.now, do)
		}
		if next <= h.now {
			h.t.Fatalf("at %s: the next is at %s", h.now, next)
		}
		if next > time.Duration(until*float64(time.Second)) {
			break
		}
		h.now = next
	}
	h.at(until)
	return strings.Join(all, " ")
}

func (h *history) wantDue(until float64, want string) {
	h.t.Helper()
	from := h.now
	if got := h.due(until); got != want {
		h.t.Errorf("%s to %g s: %q, want %q", from, until, got, want)
	}
}

func TestScheduleWithoutAnswer(t *testing.T) {
	h := newHistory(t)
	h.wantDue(3, "solicit@0 ask@1")
	h.wantDue(30, "solicit@4 solicit@8") // one query at a time
	h.Failed(h.now)
	h.wantDue(31, "ask@31")
	h.Failed(h.now)
	h.wantDue(33, "ask@33")
	h.Failed(h.now)
	h.wantDue(37, "ask@37")
	n := 0
	for ; h.now < 24*time.Hour; n++ {
		h.Failed(h.now)
		h.due(h.now.Seconds() + maxPause.Seconds())
	}
	if n < 24*60/5 || n > 24*60/5+10 {
		t.Errorf("%d queries a day", n)
	}
	// After an answer the pauses begin anew.
	h.dns(600, pa)
	h.at(h.now.Seconds() + 600)
	for _, pause := range []time.Duration{firstPause, 2 * firstPause} {
		h.Poll(h.now)
		h.Failed(h.now)
		if _, next := h.Poll(h.now); next != h.now+pause {
			t.Errorf("the next is after %s, want %s", next-h.now, pause)
		}
		h.now += pause
	}
}

func TestScheduleRouter(t *testing.T) {
	// A router that is there after the first solicitation: no more of them, no query.
	h := newHistory(t)
	h.wantDue(0.5, "solicit@0")
	h.ra(r1, pa+" 1800")
	h.wantDue(1799, "")
	h.wantDue(1801, "ask@1800.5")
	// A router without prefix: no more solicitations, a query.
	h = newHistory(t)
	h.wantDue(0.5, "solicit@0")
	h.ra(r1)
	h.wantDue(60, "ask@1")
	// A router that was there first: one solicitation, since its answer may have more.
	h = newHistory(t)
	h.ra(r1, pa+" 1800")
	h.wantDue(60, "solicit@0")
	// Withdrawn: a query at once.
	h.ra(r1, pa+" 0")
	h.wantDue(60, "ask@60")
}

func TestScheduleAnswer(t *testing.T) {
	for _, c := range []struct {
		name string
		ttl  int
		want string // the next query, and how long the prefix is valid
	}{
		{"ttl-600", 600, "ask@591 601"},
		{"ttl-86400", 86400, "ask@86391 86401"},
		{"ttl-0", 0, "ask@21 31"},
		{"ttl-15", 15, "ask@21 31"},
		{"ttl-68-years", 1<<31 - 1, "ask@604791 604801"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory(t)
			h.ra(r1) // no more solicitations than one
			h.wantDue(1, "solicit@0 ask@1")
			h.dns(c.ttl, pa)
			until := h.Prefix(h.now).Until
			if got := fmt.Sprintf("%s %g", h.due(until.Seconds()-1), until.Seconds()); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			h.has(FromDNS, pa)
			h.at(until.Seconds()).has(0)
		})
	}
	for _, c := range []struct {
		name string
		ttl  int
		want string
	}{
		{"negative-300", 300, "ask@301"},
		{"negative-0", 0, "ask@11"},
		{"negative-a-day", 86400, "ask@10801"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory(t)
			h.ra(r1)
			h.wantDue(1, "solicit@0 ask@1")
			h.dns(c.ttl)
			if got := h.due(20000); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestScheduleNegativePauses: a resolver that has no prefix and says 0 seconds is asked
// less and less.
func TestScheduleNegativePauses(t *testing.T) {
	h := newHistory(t)
	n := 0
	for h.now < 24*time.Hour {
		if do, next := h.Poll(h.now); do.Ask {
			n++
			h.dns(0)
		} else {
			h.now = next
		}
	}
	if n > 24*60/5+20 {
		t.Errorf("%d queries a day", n)
	}
}

// TestScheduleResolver: a new resolver is asked at once, and one that comes and goes once a
// second at most.
func TestScheduleResolver(t *testing.T) {
	h := newHistory(t)
	learn := func(seconds int) {
		h.Learn(h.now, Advertisement{Resolvers: []Resolvers{{[]netip.Addr{netip.MustParseAddr("2001:db8::53")}, time.Duration(seconds) * time.Second}}})
	}
	h.ra(r1)
	h.wantDue(1, "solicit@0 ask@1")
	h.dns(3600)
	h.wantDue(60, "")
	learn(600)
	h.wantDue(60, "ask@60")
	learn(0)
	learn(600) // while it is being asked
	h.dns(3600)
	h.wantDue(62, "ask@61")
	h.dns(3600)
	for range 1000 {
		learn(0)
		learn(600)
	}
	h.wantDue(100, "ask@62")
}

// TestUplinkModel: histories of random events, against a list of all that was said.
func TestUplinkModel(t *testing.T) {
	list, routers := []string{pa, pb, pc, "2001:db8:c::/64"}, []string{r1, r2}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 64))
		h := newHistory(t)
		said := map[string]map[string]time.Duration{} // end by router, by prefix
		var order []string
		forget := func() {
			order = slices.DeleteFunc(order, func(p string) bool {
				for r, end := range said[p] {
					if end <= h.now {
						delete(said[p], r)
					}
				}
				return len(said[p]) == 0
			})
		}
		for range 200 {
			h.now += time.Duration(rnd.IntN(20)) * time.Second
			p, r, s := list[rnd.IntN(len(list))], routers[rnd.IntN(len(routers))], rnd.IntN(5)*8
			forget()
			h.ra(r, fmt.Sprintf("%s %d", p, s))
			if said[p] == nil {
				said[p] = map[string]time.Duration{}
			}
			said[p][r] = h.now + time.Duration(s)*time.Second
			if s > 0 && !slices.Contains(order, p) {
				order = append(order, p)
			}
			forget()
			h.has(FromAdvertisement, order...)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}
