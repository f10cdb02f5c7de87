package peer

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

// A trial is what the two programs make of some packets, in the words of
// describe. Usually that is the same, byte by byte.
type trial struct {
	name string
	in   [][]byte
	want string     // what comes out of Debian's tayga
	ours string     // what comes out of this one, if that differs
	why  difference // why it does
}

// TestTraffic gives the same packets, under the same configuration, to both
// programs and compares what comes out: byte by byte, but for what mask takes
// away, about which the programs never agree. The trials of unmasked show what
// that is.
func TestTraffic(t *testing.T) {
	lab := newLab(t)
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			theirs := newPort(t, debian, lab.Host(s.name+" theirs"), s.conf)
			ours := newPort(t, steppe, lab.Host(s.name+" ours"), s.conf)
			for _, tr := range s.trials {
				t.Run(tr.name, func(t *testing.T) { compare(t, tr, s.raw, theirs, ours) })
			}
			stop(t, debian, theirs.p)
			stop(t, steppe, ours.p)
		})
	}
	all, because := tally()
	t.Logf("%d trials, %d with the same packets", all, because[same])
	for _, d := range differences {
		t.Logf("%3d %s", because[d], d)
	}
}

// tally counts the trials, and those for each difference.
func tally() (all int, because map[difference]int) {
	because = make(map[difference]int)
	for _, s := range settings {
		for _, tr := range s.trials {
			all++
			because[tr.why]++
		}
	}
	return all, because
}

func compare(t *testing.T, tr trial, raw bool, theirs, ours *port) {
	was, is := theirs.exchange(tr.in...), ours.exchange(tr.in...)
	if !raw {
		was, is = maskAll(was), maskAll(is)
	}
	if slices.ContainsFunc(is, isOwn) {
		time.Sleep(10 * time.Millisecond) // there are a hundred errors a second, no more
	}
	assert.Equal(t, tr.want, describeAll(was), "Debian's tayga")
	if tr.why != same {
		assert.NotEqual(t, tr.want, tr.ours)
		assert.Equal(t, tr.ours, describeAll(is), "this tayga")
		return
	}
	assert.Equal(t, tr.want, describeAll(is), "this tayga")
	assert.True(t, slices.EqualFunc(was, is, bytes.Equal), "differ:\n%x\n%x", was, is)
}

// TestErrorRate sends a burst of packets that deserve an error each. Debian's
// tayga answers all of them; this one has 50 at once and 100 a second (RFC 4443
// §2.4, RFC 1812 §4.3.2.8).
func TestErrorRate(t *testing.T) {
	lab := newLab(t)
	theirs := newPort(t, debian, lab.Host("theirs"), usual)
	ours := newPort(t, steppe, lab.Host("ours"), usual)
	const burst = 200
	refused := make([][]byte, burst)
	for i := range refused {
		refused[i] = ip6from(pt.Header{TTL: 1}, udp())
	}
	assert.Len(t, theirs.exchange(refused...), burst)
	begin := time.Now()
	n := len(ours.exchange(refused...))
	assert.GreaterOrEqual(t, n, 50)
	assert.LessOrEqual(t, n, 51+int(time.Since(begin)/(10*time.Millisecond)))
	t.Logf("%d errors in answer to %d packets", n, burst)
}

// TestMTU gives the device another MTU under the running program. Debian's tayga
// does not notice.
func TestMTU(t *testing.T) {
	lab := newLab(t)
	theirs := newPort(t, debian, lab.Host("theirs"), usual)
	ours := newPort(t, steppe, lab.Host("ours"), usual)
	for _, x := range []*port{theirs, ours} {
		x.host.MTU(device, 4000)
	}
	ours.await("Tun device " + device + " has an MTU of 4000 now\n")
	for _, test := range []struct {
		name string
		in   []byte
		want string
		ours string
	}{
		{"from-ipv4", ip4(pt.UDP(1, 2, sized(3000))),
			"X4>H4 ttl=64 icmp=3/4 1480 (H4>M4 ttl=64 udp 548 of 3028) 576",
			"H4in6>M6 udp 3048"},
		{"from-ipv6", ip6(pt.UDP(1, 2, sized(3000))),
			"X6>M6 ttl=64 icmp6=2/0 1500 (M6>H4in6 ttl=64 udp 1232 of 3048) 1280",
			"M4>H4 udp 3028"},
		{"too-large-from-ipv4", ip4(pt.UDP(1, 2, sized(3960))),
			"X4>H4 ttl=64 icmp=3/4 1480 (H4>M4 ttl=64 udp 548 of 3988) 576",
			"X4>H4 ttl=64 icmp=3/4 3980 (H4>M4 ttl=64 udp 548 of 3988) 576"},
	} {
		assert.Equal(t, test.want, describeAll(maskAll(theirs.exchange(test.in))), "%s: Debian's tayga", test.name)
		assert.Equal(t, test.ours, describeAll(maskAll(ours.exchange(test.in))), "%s: this tayga", test.name)
	}
}

// isOwn reports whether a packet comes from one of the programs' own addresses.
func isOwn(b []byte) bool {
	s := describe(b)
	return strings.HasPrefix(s, "X4>") || strings.HasPrefix(s, "X6>")
}

func maskAll(pkts [][]byte) (masked [][]byte) {
	for _, b := range pkts {
		masked = append(masked, mask(b))
	}
	return masked
}
