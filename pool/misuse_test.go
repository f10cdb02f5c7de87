package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestClockAnyTime: a clock that was set from before 1734, or 68 years ahead at
// once or little by little, went past the end of the pool's seconds and began
// anew. For two weeks every upkeep pass then ended all leases, also those in use.
func TestClockAnyTime(t *testing.T) {
	times := map[string]time.Time{
		"zero": {},
		"1":    time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC),
		"1900": time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC),
		"1970": time.Unix(0, 0),
		"now":  start,
		"2106": time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC),
		"9999": time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		"last": time.Unix(math.MaxInt64, 0),
	}
	for from, begin := range times {
		for to, then := range times {
			t.Run(from+"-to-"+to, func(t *testing.T) {
				p, err := New(Config{Prefixes: prefixes("10.0.0.0/28")}, begin)
				require.NoError(t, err)
				for range 20 { // there and back
					p.Expire(begin)
					p.Expire(then)
					staysHeld(t, p, then)
				}
			})
		}
	}
	t.Run("step-by-step", func(t *testing.T) {
		p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/28")})
		now := start
		for range 40 {
			now = now.Add(3 * 365 * 24 * time.Hour)
			p.Expire(now)
			staysHeld(t, p, now)
		}
		require.Equal(t, uint32(math.MaxUint32), p.now.Load(), "stands still at its end")
	})
	t.Run("ten-years", func(t *testing.T) {
		p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/28"), LeaseTime: longest, Retention: longest})
		assign(p, "2001:db8::1")
		_, forgotten := p.Expire(start.Add(longest - time.Second))
		require.Zero(t, forgotten)
		_, forgotten = p.Expire(start.Add(longest * 20))
		require.Equal(t, 1, forgotten)
	})
}

// staysHeld leases an address and fails the test if the lease does not survive the
// upkeep of the next minutes, or being saved.
func staysHeld(t *testing.T, p *Pool, now time.Time) {
	t.Helper()
	a := assign(p, "2001:db8::1")
	for range 4 {
		now = now.Add(45 * time.Second)
		dormant, forgotten := p.Expire(now)
		require.Zero(t, dormant+forgotten)
		got, ok := p.Addr(host("2001:db8::1"))
		require.True(t, ok)
		require.Equal(t, a, netip.AddrFrom4(got).String())
	}
	check(t, p)
	var b bytes.Buffer
	require.NoError(t, p.Save(&b))
	q, err := New(Config{Prefixes: prefixes("10.0.0.0/28")}, now)
	require.NoError(t, err)
	n, err := q.Load(&b, nil, func(e *LineError) { t.Error(e) })
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, 1, p.Remove(func(Lease) bool { return true }))
}

// TestFarFutureBefore1970: the difference of a time in the far future and a clock
// before 1970 overflowed, and the lease was taken for one that is long over.
func TestFarFutureBefore1970(t *testing.T) {
	now := time.Unix(-1000, 0)
	p, err := New(Config{Prefixes: prefixes("10.0.0.0/28")}, now)
	require.NoError(t, err)
	n, err := p.Load(strings.NewReader(fmt.Sprintf("10.0.0.1 2001:db8::1 %d\n", int64(math.MaxInt64))), nil, nil)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, forgotten := p.Expire(now)
	require.Zero(t, forgotten)
	require.Equal(t, Stats{Size: 15, Dormant: 1}, p.Stats())
}

// TestHostsThatCannotBe: Assign leased to hosts that Load rejects, so that the file
// that Save wrote was not taken as it is.
func TestHostsThatCannotBe(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/28")})
	for i, h := range []string{"::", "::1", "::ffff:1.2.3.4", "fe80::1", "febf::1", "ff02::1"} {
		require.Equal(t, "denied", assign(p, h), h)
		require.Equal(t, uint64(i+1), p.Stats().Denied)
	}
	for _, h := range []string{"::2", "::fffe:1.2.3.4", "fec0::1", "fd00::1", "64:ff9b::1.2.3.4"} {
		require.NotEqual(t, "denied", assign(p, h), h)
	}
	restarted(t, p)
}

// restarted saves the leases of p, a pool like that of TestHostsThatCannotBe, and
// fails the test if not all of them are loaded.
func restarted(t *testing.T, p *Pool) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, p.Save(&b))
	q := newPool(t, Config{Prefixes: prefixes("10.0.0.0/28")})
	_, err := q.Load(&b, nil, func(e *LineError) { t.Error(e) })
	require.NoError(t, err)
	require.Equal(t, slices.Collect(p.All()), slices.Collect(q.All()))
}

// TestNonsense: prefixes that are none, or of another family, come back as errors
// and change nothing; addresses from elsewhere have no host.
func TestNonsense(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/28")})
	assign(p, "2001:db8::1")
	before := p.Stats()
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("::ffff:10.0.0.0"), netip.MustParseAddr("2001:db8::%1")} {
		for _, bits := range []int{math.MinInt, -1, 0, 3, 4, 31, 32, 33, 128, 129, math.MaxInt} {
			x := netip.PrefixFrom(a, bits)
			valid4 := x.IsValid() && x.Addr().Is4()
			_, err := New(Config{Prefixes: []netip.Prefix{x}}, start)
			require.Equal(t, valid4 && bits >= 4 && bits <= 31 && x == x.Masked(), err == nil, "%v", x)
			_, err = New(Config{Prefixes: prefixes("10.0.0.0/28"), Reserved: []netip.Prefix{x}}, start)
			require.Equal(t, valid4, err == nil, "%v", x)
			_, err = New(Config{Prefixes: prefixes("10.0.0.0/28"), Clients: []netip.Prefix{x}}, start)
			require.Equal(t, x.IsValid() && !valid4, err == nil, "%v", x)
			if !valid4 {
				ended, err := p.Reserve([]netip.Prefix{x})
				require.Error(t, err, "%v", x)
				require.Zero(t, ended)
				require.Equal(t, before, p.Stats())
			}
		}
	}
	ended, err := p.Reserve(prefixes("0.0.0.0/0", "10.0.0.0/27", "10.0.0.16/28", "192.0.2.0/24"))
	require.NoError(t, err)
	require.Zero(t, ended, "shorter, or foreign")
	require.Equal(t, before, p.Stats())
	require.Zero(t, p.Remove(func(Lease) bool { return false }))
	for _, a := range []string{"0.0.0.0", "9.255.255.255", "10.0.0.16", "255.255.255.255"} {
		_, ok := p.Host(addr(a))
		require.False(t, ok, a)
	}
	for k := range 256 {
		require.NotEmpty(t, EventKind(k).String())
	}
	require.Equal(t, "unknown", EventKind(7).String())
}

// TestLargestPool: both ends of a /4 can be leased, reserved and loaded.
func TestLargestPool(t *testing.T) {
	p := newPool(t, Config{
		Prefixes: prefixes("16.0.0.0/4"),
		Reserved: prefixes("16.0.0.0/5", "24.0.0.0/6", "28.0.0.0/7", "30.0.0.0/8", "0.0.0.0/0"),
	})
	require.Equal(t, Stats{Size: 1 << 24}, p.Stats())
	require.Equal(t, "31.", assign(p, "2001:db8::1")[:3])
	n, err := p.Load(strings.NewReader("31.255.255.255 2001:db8::2 1795193388\n31.128.0.0 2001:db8::3 1795193388\n"), nil, nil)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	more := append(prefixes("31.255.255.255/32"), prefixes("16.0.0.0/5", "24.0.0.0/6", "28.0.0.0/7", "30.0.0.0/8")...)
	ended, err := p.Reserve(more)
	require.NoError(t, err)
	require.Equal(t, 1, ended)
	require.Equal(t, Stats{Size: 1<<24 - 1, Held: 2}, p.Stats())
}

// TestLineErrors: a file may come from anywhere; what is said of a line that is
// left out is short, and printable.
func TestLineErrors(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/28")})
	var texts []string
	n, err := p.Load(io.MultiReader(
		bytes.NewReader(bytes.Repeat([]byte{'x'}, 1<<20)), strings.NewReader("\n\xff\x00\t\xfe\n10.0.0.1 2001:db8::1 7"),
	), nil, func(e *LineError) {
		texts = append(texts, e.Error())
		require.LessOrEqual(t, len(e.Text), 80)
		require.False(t, e.Lease)
	})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Len(t, texts, 2)
	require.Contains(t, texts[0], "line 1: longer than 510 bytes")
	require.Equal(t, `line 2: 2 words, want address, host and time: "\xff\x00\t\xfe"`, texts[1])
	rejected := errors.New("denied")
	n, err = p.Load(strings.NewReader("10.0.0.2 2001:db8::2 7\n"), func(Lease) error { return rejected }, func(e *LineError) { require.ErrorIs(t, e, rejected) })
	require.NoError(t, err)
	require.Zero(t, n)
}
