//go:build linux

package fastpath

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// buildForTest returns the translator of a configuration, and the rules for the same.
func buildForTest(t testing.TB, cfg translate.Config, table translate.TableConfig) (*translate.Translator, *Rules) {
	t.Helper()
	tab, err := translate.NewTable(table)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(cfg, tab)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := NewRules(cfg, table)
	if err != nil {
		t.Fatal(err)
	}
	return tr, rules
}

// newTestComparer returns a comparer of the fixture of packettest, without any entry.
func newTestComparer(t testing.TB, s Sizes) *comparer {
	t.Helper()
	p := loadForTest(t, s, ethernet)
	cfg, table := packettest.Config(), packettest.TableConfig()
	tr, rules := buildForTest(t, cfg, table)
	p.SetRules(rules, 0)
	return newComparer(p, tr.NewWorker())
}

var (
	plain4 = packettest.IP(packettest.From4(), packettest.UDP(1, 2, []byte("data")))
	plain6 = packettest.IP(packettest.From6(), packettest.UDP(1, 2, []byte("data")))
)

// expect checks the verdict of the program for a packet.
func (c *comparer) expect(t *testing.T, why string, pkt []byte, want uint32) {
	t.Helper()
	got, _, err := c.run(pkt, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s: verdict %d, not %d", why, int32(got), int32(want))
	}
}

// TestWithoutUDP: rules leave UDP to the translator, super-packets, too, and nothing is learned
// of it; other protocols are as before.
func TestWithoutUDP(t *testing.T) {
	c := newTestComparer(t, Sizes{})
	c.path.SetRules(c.path.inForce.Load().WithoutUDP(), 0)
	segment := packettest.IP(packettest.From4(), packettest.Segment(80, 1000, packettest.FlagACK, nil))
	for _, pkt := range [][]byte{plain4, plain6} {
		if err := c.compare(pkt, 0); err != nil {
			t.Fatal(err)
		}
	}
	c.expect(t, "TCP of a host that has sent UDP alone", segment, tcxNext)
	if err := c.compare(segment, 0); err != nil {
		t.Fatal(err)
	}
	c.expect(t, "TCP", segment, tcxRedirect)
	c.expect(t, "UDP", plain4, tcxNext)
	big := packettest.IP(packettest.From4(), packettest.UDP(1, 2, make([]byte, 1000)))
	if got, _, err := c.run(big, 100); err != nil || got != tcxNext {
		t.Errorf("a super-packet: verdict %d, %v", int32(got), err)
	}
	counts, err := c.path.Counts()
	if err != nil {
		t.Fatal(err)
	}
	left := uint64(0)
	for _, n := range counts {
		if n.Reason == UDP {
			left += n.Packets
		}
	}
	if left != 4 {
		t.Errorf("%d packets counted, not 4: %+v", left, counts)
	}
}

// TestGeneration: new rules make entries void, and entries of older rules are not noted.
func TestGeneration(t *testing.T) {
	c := newTestComparer(t, Sizes{})
	both := func(why string, want uint32) {
		t.Helper()
		c.expect(t, why, plain4, want)
		c.expect(t, why, plain6, want)
	}
	learn := func() {
		t.Helper()
		for _, pkt := range [][]byte{plain4, plain6} {
			if err := c.compare(pkt, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	both("nothing is known", tcxNext)
	learn()
	both("learnt", tcxRedirect)

	rules, old := c.path.inForce.Load().Rules, c.path.Generation()
	c.path.SetRules(rules, 0)
	both("other rules", tcxNext)
	learn()
	both("learnt again", tcxRedirect)
	c.path.Off()
	both("off", tcxNext)
	if c.path.Generation() != 0 {
		t.Error("a generation without rules")
	}
	c.path.SetRules(rules, 0)
	both("on again", tcxNext)
	if err := c.path.PutHost4(old, packettest.M4.As4(), packettest.M6.As16(), 1); err != nil {
		t.Fatal(err)
	}
	both("an entry of old rules", tcxNext)
	learn()
	for range 3 {
		c.path.SetRules(rules, 0)
	}
	both("old entries in the slot of an older generation", tcxNext)
	if n, err := c.path.Sweep(0); err != nil || n != 2 {
		t.Errorf("Sweep removes %d entries, %v; not 2", n, err)
	}
	learn()
	if n, err := c.path.Sweep(0); err != nil || n != 0 {
		t.Errorf("Sweep removes %d entries in force, %v", n, err)
	}
}

// TestDelete: an entry that is removed is not used any more.
func TestDelete(t *testing.T) {
	c := newTestComparer(t, Sizes{})
	for _, pkt := range [][]byte{plain4, plain6} {
		if err := c.compare(pkt, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(c.path.DeleteHost4(packettest.M4.As4()), c.path.DeleteHost6(packettest.M6.As16(), 1)); err != nil {
		t.Fatal(err)
	}
	c.expect(t, "removed", plain4, tcxNext)
	c.expect(t, "removed", plain6, tcxNext)
	if err := errors.Join(c.path.DeleteHost4(packettest.M4.As4()), c.path.DeleteHost6(packettest.M6.As16(), 1)); err != nil {
		t.Errorf("removed twice: %v", err)
	}
}

// TestUsed: the program notes which entries are in use.
func TestUsed(t *testing.T) {
	c := newTestComparer(t, Sizes{})
	g := c.path.Generation()
	host, addr := packettest.M6.As16(), packettest.M4.As4()
	if err := errors.Join(c.path.PutHost4(g, addr, host, 1), c.path.PutHost6(g, host, 1, addr)); err != nil {
		t.Fatal(err)
	}
	t6 := translate.Tuple6{Host: translate.Addr6{Hi: 1, Lo: 2}, Remote: 3, HostPort: 4, RemotePort: 5, Proto: 17, Pref64: 1}
	t4 := translate.Tuple4{Local: 6, Remote: 3, LocalPort: 7, RemotePort: 5, Proto: 17}
	if err := c.path.PutSession(g, &t6, &t4); err != nil {
		t.Fatal(err)
	}
	if out, in := c.path.UsedSession(&t6, &t4); out != 0 || in != 0 || c.path.UsedHost4(addr, host) != 0 || c.path.UsedHost6(host, 1, addr) != 0 {
		t.Error("used before any packet")
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		t.Fatal(err)
	}
	c.expect(t, "known", plain4, tcxRedirect)
	c.expect(t, "known", plain6, tcxRedirect)
	least := Use(ts.Nano()) >> 30 << 30
	for _, used := range []Use{c.path.UsedHost4(addr, host), c.path.UsedHost6(host, 1, addr)} {
		if used < least || used > least+Use(time.Hour) {
			t.Errorf("used at %v, the clock says %v", time.Duration(used), time.Duration(ts.Nano()))
		}
	}
	if c.path.UsedHost4(addr, packettest.H4in6.As16()) != 0 {
		t.Error("used by another host")
	}
	if err := c.path.DeleteSession(&t6, &t4); err != nil {
		t.Fatal(err)
	}

	// What was used by rules that have ended was used. Sweep removes it, and what was not
	// used for long.
	now := c.path.UsedHost4(addr, host)
	if n, err := c.path.Sweep(now); err != nil || n != 0 {
		t.Errorf("swept %d in use, %v", n, err)
	}
	if n, err := c.path.Sweep(now + 1<<30); err != nil || n != 2 {
		t.Errorf("swept %d that are not in use, %v", n, err)
	}
	if c.path.UsedHost4(addr, host) != 0 || c.path.UsedHost6(host, 1, addr) != 0 {
		t.Error("used after it was swept")
	}
	g = c.path.Generation()
	if err := errors.Join(c.path.PutHost4(g, addr, host, 1), c.path.PutHost6(g, host, 1, addr)); err != nil {
		t.Fatal(err)
	}
	c.expect(t, "known again", plain4, tcxRedirect)
	c.path.Off()
	if c.path.UsedHost4(addr, host) < now {
		t.Error("not used before the rules ended")
	}
	if n, err := c.path.Sweep(0); err != nil || n != 2 {
		t.Errorf("swept %d void entries, %v", n, err)
	}
}

// TestFull: a cache without room says so, and what it has stays in use.
func TestFull(t *testing.T) {
	c := newTestComparer(t, Sizes{Hosts: 1})
	if err := c.compare(plain4, 0); err != nil {
		t.Fatal(err)
	}
	var failed error
	for i := range byte(200) { // a hash counts its entries by processor, and so a little too few
		failed = errors.Join(failed, c.path.PutHost4(c.path.Generation(), [4]byte{203, 0, 113, i}, [16]byte{1, 15: i}, 1))
	}
	if !errors.Is(failed, syscall.E2BIG) {
		t.Errorf("too many entries: %v", failed)
	}
	c.expect(t, "an entry that was there", plain4, tcxRedirect)
}

// TestOpenCache: another process fills the cache, by descriptors.
func TestOpenCache(t *testing.T) {
	c := newTestComparer(t, Sizes{})
	var descriptors []int
	for _, fd := range c.path.Descriptors() {
		fd, err := unix.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		descriptors = append(descriptors, fd)
	}
	other, err := OpenCache(descriptors)
	if err != nil {
		t.Fatal(err)
	}
	g := other.SetRules(c.path.inForce.Load().Rules, 0)
	if err := other.PutHost4(g, packettest.M4.As4(), packettest.M6.As16(), 1); err != nil {
		t.Fatal(err)
	}
	c.expect(t, "by the other", plain4, tcxRedirect)
	counts, err := other.Counts()
	if err != nil {
		t.Fatal(err)
	}
	want := Count{translate.V4ToV6, ByHost, 1, uint64(len(plain4)), 1}
	if len(counts) != 1 || counts[0] != want {
		t.Errorf("counts are %v, not %v", counts, want)
	}
	other.Off()
	c.expect(t, "switched off by the other", plain4, tcxNext)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCache([]int{}); err == nil {
		t.Error("a cache without maps")
	}
}

// TestSession: what begins or ends a connection is the translator's, which keeps the state of
// a session. A host's FIN and RST change nothing. Sessions are void and removed like hosts.
func TestSession(t *testing.T) {
	c := newTestComparer(t, Sizes{})
	cfg, table := packettest.Config(), packettest.TableConfig()
	table.Shared, table.Sessions = []netip.Prefix{sharedByProve}, &fixedSessions{}
	rules, err := NewRules(cfg, table)
	if err != nil {
		t.Fatal(err)
	}
	g := c.path.SetRules(rules, 0)
	host, local := netip.MustParseAddr("2001:db8:77::1"), sharedByProve.Addr()
	hi, lo := halves(host.As16())
	t6 := translate.Tuple6{Host: translate.Addr6{Hi: hi, Lo: lo}, Remote: v4number(packettest.H4), HostPort: 1000, RemotePort: 80, Proto: 6, Pref64: 1}
	t4 := translate.Tuple4{Local: v4number(local), Remote: t6.Remote, LocalPort: 2000, RemotePort: 80, Proto: 6}
	addr, mapped := packettest.M4.As4(), packettest.M6.As16()
	if err := errors.Join(c.path.PutSession(g, &t6, &t4), c.path.PutHost4(g, addr, mapped, 1), c.path.PutHost6(g, mapped, 1, addr)); err != nil {
		t.Fatal(err)
	}
	for flags := range uint8(64) {
		byHost, bySession := uint32(tcxRedirect), uint32(tcxRedirect)
		if flags&packettest.FlagSYN != 0 {
			byHost, bySession = tcxNext, tcxNext
		}
		if flags&(packettest.FlagFIN|packettest.FlagRST) != 0 {
			bySession = tcxNext
		}
		why := fmt.Sprintf("flags %#x", flags)
		c.expect(t, why, packettest.IP(packettest.From4(), packettest.Segment(80, 1000, flags, nil)), byHost)
		c.expect(t, why, packettest.IP(packettest.From6(), packettest.Segment(1000, 80, flags, nil)), byHost)
		c.expect(t, why, packettest.IP(packettest.Header{Src: packettest.H4, Dst: local}, packettest.Segment(80, 2000, flags, nil)), bySession)
		c.expect(t, why, packettest.IP(packettest.Header{Src: host, Dst: packettest.H4in6}, packettest.Segment(1000, 80, flags, nil)), bySession)
	}

	in := packettest.IP(packettest.Header{Src: packettest.H4, Dst: local}, packettest.TCP(80, 2000, nil))
	out := packettest.IP(packettest.Header{Src: host, Dst: packettest.H4in6}, packettest.TCP(1000, 80, nil))
	if used6, used4 := c.path.UsedSession(&t6, &t4); used6 == 0 || used4 == 0 {
		t.Errorf("a session that is in use was used at %v and %v", used6, used4)
	}
	c.path.SetRules(rules, 0)
	c.expect(t, "a session of other rules", in, tcxNext)
	c.expect(t, "a session of other rules", out, tcxNext)
	put := func() {
		t.Helper()
		if err := c.path.PutSession(c.path.Generation(), &t6, &t4); err != nil {
			t.Fatal(err)
		}
	}
	put()
	c.expect(t, "known again", in, tcxRedirect)
	c.expect(t, "known again", out, tcxRedirect)
	if err := c.path.DeleteSession(&t6, &t4); err != nil {
		t.Fatal(err)
	}
	c.expect(t, "removed", in, tcxNext)
	c.expect(t, "removed", out, tcxNext)
	put()
	c.path.Off()
	if n, err := c.path.Sweep(0); err != nil || n != 4 {
		t.Errorf("Sweep removes %d entries, %v; not 4", n, err)
	}
}

// TestReserved: what is not a host's alone is not noted as one.
func TestReserved(t *testing.T) {
	c := newTestComparer(t, Sizes{})
	cfg, table := packettest.Config(), packettest.TableConfig()
	table.Rules = []translate.PrefixRule{{Prefix: table.Prefixes[0], CheckLoops: true}}
	rules, err := NewRules(cfg, table)
	if err != nil {
		t.Fatal(err)
	}
	g := c.path.SetRules(rules, 0)
	inside, err := translate.Embed(table.Prefixes[0], netip.MustParseAddr("8.8.8.8"))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		c.path.PutHost4(g, cfg.IPv4.As4(), packettest.M6.As16(), 1),
		c.path.PutHost4(g, [4]byte{8, 8, 8, 8}, inside.As16(), 1),
		c.path.PutHost4(g, packettest.M4.As4(), packettest.M6.As16(), 7), // no prefix has this number
		c.path.PutHost6(g, inside.As16(), 1, [4]byte{8, 8, 8, 8}),
	)
	if err != nil {
		t.Fatal(err)
	}
	c.path.Off()
	if n, err := c.path.Sweep(0); err != nil || n != 0 {
		t.Errorf("%d entries, %v; none was to be noted", n, err)
	}
}
