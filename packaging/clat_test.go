package packaging

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// What is shipped for a CLAT is about its device: the files for network managers, which leave
// it alone, and a configuration that is complete as it is.
func TestCLATFiles(t *testing.T) {
	c, problems := taygaconf.Load("debian/steppe-clat.conf", nil)
	require.Empty(t, problems)
	assert.Equal(t, taygaconf.CLAT{On: true}, c.CLAT)
	for name, want := range map[string]string{
		"network/NetworkManager.conf": `(?m)^\[device-.+\]\nmatch-device=interface-name:` + c.TunDevice + `\nmanaged=0$`,
		"network/clat.network":        `(?m)^\[Match\]\nName=` + c.TunDevice + `\nKind=tun\n\n\[Link\]\nUnmanaged=yes$`,
	} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.Regexp(t, want, string(text), name)
	}

	// Each line that is proposed is one that can be used.
	text, err := os.ReadFile("debian/steppe-clat.conf")
	require.NoError(t, err)
	proposed := regexp.MustCompile(`(?m)^#([a-z].*)$`).ReplaceAllString(string(text), "$1")
	c, problems = taygaconf.Read(strings.NewReader(proposed), "steppe-clat.conf", nil)
	require.Empty(t, problems)
	assert.NotEmpty(t, c.CLAT.Uplink)
	assert.Len(t, c.CLAT.Share, 2)
	assert.Len(t, c.Prefixes, 1)
}

// The unit of a CLAT has what the others have, and beyond that raw sockets and the settings
// of the network in /proc/sys, and no more.
func TestCLATUnit(t *testing.T) {
	lines := func(name string) (list []string) {
		text, err := os.ReadFile("../docs/systemd/" + name)
		require.NoError(t, err)
		_, service, _ := strings.Cut(string(text), "\n[Service]\n")
		service, _, _ = strings.Cut(service, "\n[Install]\n")
		for l := range strings.Lines(service) {
			if !strings.HasPrefix(l, "#") && strings.Contains(l, "=") {
				list = append(list, strings.TrimSpace(l))
			}
		}
		return list
	}
	less, more := diff(lines("tayga.service"), lines("steppe-clat.service"))
	assert.Equal(t, []string{
		"ExecStart=tayga --config /etc/tayga.conf --journal --nodetach", "StateDirectory=tayga",
		"CapabilityBoundingSet=CAP_NET_ADMIN CAP_BPF CAP_PERFMON", "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6",
		"ProtectProc=invisible", "ReadWritePaths=-/var/spool/tayga -/var/db/tayga",
	}, less)
	assert.Equal(t, []string{
		"ExecStart=tayga --clat --config /etc/steppe-clat.conf --journal --nodetach",
		"CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_PERFMON", "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6 AF_PACKET",
		"ReadWritePaths=/proc/sys/net",
	}, more)
}

// diff returns what only one of two lists has.
func diff(a, b []string) (onlyA, onlyB []string) {
	without := func(list, other []string) (only []string) {
		for _, l := range list {
			if !strings.Contains("\n"+strings.Join(other, "\n")+"\n", "\n"+l+"\n") {
				only = append(only, l)
			}
		}
		return only
	}
	return without(a, b), without(b, a)
}
