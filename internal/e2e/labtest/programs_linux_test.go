package labtest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// testPrograms runs the programs that everybody uses, where they are installed.
// Without them it skips, also where a laboratory is required: the other tests
// show the same with clients of their own.
func (x *lab) testPrograms(t *testing.T) {
	t.Run("ping", func(t *testing.T) {
		ping := program(t, "ping", "-V", "iputils")
		for _, size := range []string{"56", "4000"} {
			for _, c := range []struct {
				host *netlab.Host
				dst  netip.Addr
			}{{x.host6, host4.v6}, {x.host4, host6.v4}} {
				out := output(t, c.host, ping, "-n", "-c", "1", "-W", "5", "-s", size, c.dst.String())
				assert.Contains(t, out, "1 packets transmitted, 1 received, 0% packet loss")
			}
		}
	})
	t.Run("traceroute", func(t *testing.T) {
		traceroute := program(t, "traceroute", "--version", "Modern traceroute")
		// Extensions are shown.
		hops, objects := trace(t, x.near6, traceroute, near4.v6, "-e")
		assert.Equal(t, route6, hops)
		assert.Equal(t, make([]string, len(route6)), objects)

		hops, objects = trace(t, x.near4, traceroute, near6.v4, "-e")
		x.checkHops4(t, hops)
		want := make([]string, len(hops))
		for i, node := range nodes4 {
			if !x.mode.plainErrors {
				want[len(route4)+i] = shown(node)
			}
		}
		assert.Equal(t, want, objects)
	})
}

// shown is what traceroute(8) prints about an Interface Information Object with
// an IPv6 address: class and C-Type, then words.
func shown(node netip.Addr) string {
	b := node.As16()
	s := "<2/4:00020000"
	for i := 0; i < len(b); i += 4 {
		s += fmt.Sprintf(",%08x", binary.BigEndian.Uint32(b[i:]))
	}
	return s + ">"
}

// program finds a program of the right make: others know other options.
func program(t *testing.T, name, versionOption, isMake string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%v: install it to see what it shows", err)
	}
	if out, _ := exec.Command(path, versionOption).CombinedOutput(); !strings.Contains(string(out), isMake) {
		t.Skipf("%s is not that of %s: %s", path, isMake, out)
	}
	return path
}

// output runs a program and returns what it printed.
func output(t *testing.T, h *netlab.Host, path string, args ...string) string {
	t.Helper()
	out, err := h.Command(path, args...).CombinedOutput()
	require.NoError(t, err, "%s %s:\n%s", path, strings.Join(args, " "), out)
	return string(out)
}

// trace runs traceroute(8), one probe at a time, as otherwise many hops answer at once.
//
// It may have to run again: the kernel queues an error before it sets sk_err (rawv6_err and
// its like), and traceroute, if it takes the error in between, sees POLLERR from then on and
// reads the empty error queue in place of answers until its time is over. Nothing is wrong
// with the packets then, and hops that netlab asks for must all answer at the first try.
func trace(t *testing.T, h *netlab.Host, traceroute string, dst netip.Addr, options ...string) (hops []netip.Addr, objects []string) {
	t.Helper()
	args := append([]string{"-n", "-q", "1", "-N", "1", "-w", "2", "-m", "12"}, options...)
	for range 10 {
		out := output(t, h, traceroute, append(args, dst.String())...)
		if hops, objects = readTraceroute(out); len(hops) != 0 && hops[len(hops)-1] == dst {
			return hops, objects
		}
		t.Logf("traceroute did not get to %v:\n%s", dst, out)
	}
	t.Fatal("traceroute never got there")
	return nil, nil
}

var traceLine = regexp.MustCompile(`(?m)^ *(\d+) +([0-9a-f.:]+) +(?:(<\S+>) +)?[0-9.]+ ms`)

// readTraceroute returns the addresses that traceroute(8) printed, up to the first hop
// without an answer, and the ICMP extension objects that it printed after them.
func readTraceroute(out string) (hops []netip.Addr, objects []string) {
	for i, m := range traceLine.FindAllStringSubmatch(out, -1) {
		if m[1] != fmt.Sprint(i+1) {
			break
		}
		hops = append(hops, addr(m[2]))
		objects = append(objects, m[3])
	}
	return hops, objects
}
