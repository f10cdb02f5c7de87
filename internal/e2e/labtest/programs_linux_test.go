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
		// One probe at a time, as otherwise many hops answer at once; extensions
		// are shown.
		args := []string{"-n", "-q", "1", "-N", "1", "-w", "5", "-e"}
		hops, objects := readTraceroute(t, output(t, x.near6, traceroute, append(args, near4.v6.String())...))
		assert.Equal(t, route6, hops)
		assert.Equal(t, make([]string, len(route6)), objects)

		hops, objects = readTraceroute(t, output(t, x.near4, traceroute, append(args, near6.v4.String())...))
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

var traceLine = regexp.MustCompile(`(?m)^ *(\d+) +([0-9a-f.:]+) +(?:(<\S+>) +)?[0-9.]+ ms`)

// readTraceroute returns the addresses that traceroute(8) printed, and the ICMP
// extension objects that it printed after them.
func readTraceroute(t *testing.T, out string) (hops []netip.Addr, objects []string) {
	t.Helper()
	for i, m := range traceLine.FindAllStringSubmatch(out, -1) {
		require.Equal(t, fmt.Sprint(i+1), m[1], "hops in order:\n%s", out)
		hops = append(hops, addr(m[2]))
		objects = append(objects, m[3])
	}
	return hops, objects
}
