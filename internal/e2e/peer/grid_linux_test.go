package peer

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// TestGrid: configurations that Debian's tayga accepted did not start here: an
// ipv4-addr of 100.64.0.0/10 beside 64:ff9b::/96, maps and pools with 0.0.0.0 or other
// addresses that no host can have among others. Own addresses, prefixes, maps and pools
// of every kind are tried together on both programs: what Debian's accepts is accepted,
// and where it refuses what is accepted here, the reason is known.
func TestGrid(t *testing.T) {
	host := newLab(t).Host("theirs")
	conf := filepath.Join(t.TempDir(), "tayga.conf")
	// Both programs check the whole file before they remove a device.
	theirs := func(text string) bool {
		require.NoError(t, os.WriteFile(conf, []byte(text), 0o644))
		return host.Command(debian.path, "-c", conf, "--rmtun").Run() == nil
	}
	because := make(map[string]int)
	for _, text := range grid() {
		c, problems := taygaconf.Read(strings.NewReader(text), "tayga.conf", nil)
		ours := !problems.Failed()
		if ours {
			starts(t, c, text)
		}
		switch their := theirs(text); {
		case their == ours:
			because["the same"]++
		case their:
			t.Errorf("Debian's tayga accepts\n%s%v", text, problems)
		default:
			why := whyAccepted(text)
			assert.NotEmpty(t, why, "Debian's tayga does not accept\n%s", text)
			because[why]++
		}
	}
	for why, n := range because {
		t.Logf("%4d: %s", n, why)
	}
}

// starts checks that a gateway can be made of a configuration.
func starts(t *testing.T, c *taygaconf.Config, text string) {
	t.Helper()
	_, err := gateway.Install(gateway.Config{Conf: c, Now: time.Now()})
	require.NoError(t, err, text)
}

var (
	classE4      = netip.MustParsePrefix("240.0.0.0/4")
	linkLocal4   = netip.MustParsePrefix("169.254.0.0/16")
	translators6 = netip.MustParsePrefix("64:ff9b::/32") // TAYGA 0.9.2 takes the /96 alone
)

// whyAccepted says why a configuration is accepted here, but not by Debian's tayga.
func whyAccepted(text string) string {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if words[0] == "map" && words[1] == "0.0.0.0/0" {
			return requested // a second prefix, as 0.9.2 writes it
		}
		for _, w := range words[1:] {
			a, _, _ := strings.Cut(w, "/")
			if addr, err := netip.ParseAddr(a); err == nil &&
				(classE4.Contains(addr) || linkLocal4.Contains(addr) || translators6.Contains(addr) && line != "prefix 64:ff9b::/96\n") {
				return laterAddress
			}
		}
	}
	return ""
}

// grid returns the configurations.
func grid() (all []string) {
	conf := func(own4, own6, prefix string, more ...string) {
		lines := []string{"tun-device nat64", "ipv4-addr " + own4}
		if prefix != "" {
			lines = append(lines, "prefix "+prefix)
		}
		if own6 != "" {
			lines = append(lines, "ipv6-addr "+own6)
		}
		all = append(all, strings.Join(append(lines, more...), "\n")+"\n")
	}
	for _, own4 := range []string{
		"192.168.255.1", "10.0.0.1", "172.16.0.1", "100.64.0.1", "100.127.255.255", "169.254.1.1", "192.0.0.2",
		"192.0.2.1", "192.88.99.1", "198.18.0.1", "45.67.89.1", "0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255",
	} {
		for _, own6 := range []string{"", "2001:db8::1", "64:ff9b::1", "64:ff9b:1::1", "fe80::1", "2001:db8:64::5"} {
			for _, p := range []string{"64:ff9b::/96", "64:ff9b:1::/48", "2001:db8:64::/96", "2001:db8:64::/64", "2001:db8:0:0:100::/96", "::/96"} {
				conf(own4, own6, p)
			}
		}
	}
	for _, p := range []string{"2001:db8:64::/96", "64:ff9b::/96", ""} {
		for _, n := range []string{
			"0.0.0.0/32", "0.0.0.0/8", "0.0.0.0/7", "0.0.0.0/1", "0.0.0.0/0", "0.1.0.0/16", "64.0.0.0/2", "126.0.0.0/7",
			"127.0.0.0/8", "112.0.0.0/4", "128.0.0.0/1", "128.0.0.0/2", "168.0.0.0/7", "169.254.0.0/16", "192.0.0.0/2", "192.0.0.0/4",
			"10.0.0.0/8", "10.0.0.0/31", "10.0.0.5/24", "100.64.0.0/10", "192.168.255.1/32", "192.168.255.0/24",
			"222.0.0.0/7", "224.0.0.0/4", "224.0.0.0/3", "239.1.1.1/32", "240.0.0.0/4", "255.255.255.255/32",
		} {
			for _, to := range []string{"2001:db8:7::", "64:ff9b::", "64:ff9b:1::", "fe80::", "ff00::", "::", "2001:db8:64::", "fe00::"} {
				conf("192.168.255.1", "2001:db8:f::1", p, "map "+n+" "+to+"/"+plus96(n))
			}
			if p != "" {
				conf("192.168.255.1", "2001:db8:f::1", p, "dynamic-pool "+n)
			}
		}
	}
	return all
}

// plus96 returns the IPv6 length that goes with that of an IPv4 prefix.
func plus96(prefix string) string {
	return strconv.Itoa(netip.MustParsePrefix(prefix).Bits() + 96)
}
