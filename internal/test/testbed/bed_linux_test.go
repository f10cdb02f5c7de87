package testbed

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestBed goes once through what a Bed offers.
func TestBed(t *testing.T) {
	netlab.New(t) // skips where there is no laboratory
	tayga, err := Build(t.TempDir())
	require.NoError(t, err)
	b, err := Open(tayga, "203.0.113.0/24", "workers 2", "offload no")
	require.NoError(t, err)
	defer b.Close()
	require.NoError(t, b.Start())
	require.NoError(t, b.Settle())
	require.NoError(t, b.Check())

	first, err := b.SeenAs(Host(1))
	require.NoError(t, err)
	assert.True(t, netip.MustParsePrefix("203.0.113.0/24").Contains(first), first)
	require.NoError(t, b.Speak(Host(2)))
	echoed, lost, err := b.EchoUDP(10*time.Second, 0, 1000, 4000)
	require.NoError(t, err)
	assert.Equal(t, []int{6, 0}, []int{echoed, lost})

	tr := b.StartTraffic(1 << 20)
	require.NoError(t, tr.AwaitTransfers(8))
	require.NoError(t, tr.Stop())
	assert.GreaterOrEqual(t, tr.Bytes.Load(), int64(8<<20))

	c, err := b.AddUp()
	require.NoError(t, err)
	assert.Positive(t, c.Sum("6to4", "forward"))
	assert.Equal(t, uint64(3), c.Held)
	u, err := b.Usage()
	require.NoError(t, err)
	assert.Positive(t, u.CPU)
	assert.LessOrEqual(t, u.Memory, u.Peak)
	assert.Greater(t, u.Files, 3)

	// A packet that is handed over more or less is noticed.
	b.settled.in++
	_, err = b.AddUp()
	assert.ErrorContains(t, err, "-1 more handed over by nat64")
	b.settled.in--
	b.settled.out += 1000 // how many pieces there are is not known exactly
	_, err = b.AddUp()
	assert.ErrorContains(t, err, "packets more written than forwarded and replied")

	require.NoError(t, b.Reload())
	saved, err := b.Saved()
	require.NoError(t, err)
	assert.Len(t, saved, 3)
	assert.Equal(t, first, saved[Host(1)])
	require.NoError(t, b.Stop())
	assert.ErrorContains(t, b.Alive(), "tayga has ended: ")
	require.NoError(t, b.Start())
	again, err := b.SeenAs(Host(1))
	require.NoError(t, err)
	assert.Equal(t, first, again)
	require.NoError(t, b.Stop())
}

// TestParse reads what the binary says and writes.
func TestParse(t *testing.T) {
	c := parseCounts("6to4 forward translated: 12 packets, 1200 octets\n" +
		"REJECT: [v6] 6to4 drop no-source: 1 packets\n" +
		"6to4 drop no-source: 3 packets, 9 octets\n4to6 reply too-big: 4 packets, 5 octets\nnone drop bad-header: 1 packets, 0 octets\n" +
		"ICMP errors held back by the rate limit: 7\nrefused by the kernel: 8 packets\n" +
		"fast path: off: a (strange) reason; 0 packets, 0 bytes translated by the kernel (-); 1 packets, 2 bytes by this process\n" +
		"fast path: on; 9 packets, 900 bytes translated by the kernel (90.0 %); 1 packets, 100 bytes by this process\n" +
		"fast path: 6to4 translated by-host: 7 packets, 7 segments, 700 bytes\nfast path: 6to4 translated by-host: 9 packets, 9 segments, 900 bytes\nfast path: none left to this process other-family: 2 packets, 2 segments, 7 bytes\n" +
		"dynamic pool: 254 addresses, 3 held, 4 dormant, 5 requests refused\n")
	assert.Equal(t, Counts{
		By:       map[string]uint64{"6to4 forward translated": 12, "6to4 drop no-source": 3, "4to6 reply too-big": 4, "none drop bad-header": 1},
		ByKernel: 9, LeftByKernel: 2, Fast: Fast{true, 900, 100}, HeldBack: 7, NotTaken: 8, Size: 254, Held: 3, Dormant: 4, Refused: 5,
	}, c)
	assert.Equal(t, uint64(20), c.Sum())
	assert.Equal(t, uint64(4), c.Sum("drop"))
	assert.Equal(t, uint64(3), c.Sum("6to4", "drop"))

	assert.InDelta(t, 0.9, c.Fast.Share(), 1e-9)
	assert.ErrorContains(t, c.Fast.Awake(1000), "asleep (on: true): 900 bytes")
	assert.ErrorContains(t, c.Fast.Asleep(1), "not off (on: true): 900 bytes")
	f := Fast{true, 1900, 101}.Since(c.Fast)
	assert.Equal(t, Fast{true, 1000, 1}, f)
	assert.NoError(t, f.Awake(1001))
	assert.Error(t, f.Awake(1002))
	assert.Error(t, Fast{false, 1000, 1}.Awake(1))
	assert.NoError(t, Fast{true, 950, 1000}.Carried(1000))
	assert.Error(t, Fast{true, 949, 0}.Carried(1000))
	assert.Error(t, Fast{false, 1000, 0}.Carried(1000))
	assert.NoError(t, Fast{false, 0, 1}.Asleep(1))
	assert.Error(t, Fast{false, 0, 1}.Asleep(2))
	assert.Zero(t, Fast{}.Share())
	_, found := ParseFast("fast path: on\n")
	assert.False(t, found)

	l, err := parseLeases("### comment\n\n192.0.2.1\t2001:db8::1\t17\n192.0.2.2\t2001:db8::2\t18\n")
	require.NoError(t, err)
	assert.Len(t, l, 2)
	assert.Zero(t, l.Lost(l))
	assert.Equal(t, 1, l.Lost(Leases{netip.MustParseAddr("2001:db8::1"): netip.MustParseAddr("192.0.2.1")}))
	for _, bad := range []string{
		"", "192.0.2.1\t2001:db8::1\t17", "192.0.2.1 2001:db8::1 17\n", "192.0.2.1\t2001:db8::1\n", "x\ty\t1\n",
		"192.0.2.1\t2001:db8::1\t17\n192.0.2.1\t2001:db8::2\t17\n", "192.0.2.1\t2001:db8::1\t17\n192.0.2.2\t2001:db8::1\t17\n",
	} {
		_, err := parseLeases(bad)
		assert.Error(t, err, "%q", bad)
	}
}
