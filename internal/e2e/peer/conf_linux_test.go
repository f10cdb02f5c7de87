package peer

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/taygaconf/vectors"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// Why one of the two programs takes a configuration that the other refuses.
const (
	laterDirective = "the directive came after 0.9.2"
	ourDirective   = "the directive is ours"
	laterAddress   = "later versions of TAYGA take such addresses"
	requested      = "its users have asked for it"
	lineLength     = "a long remark does no harm"
	halfNumber     = "0.9.2 reads a length as far as it is a number, and means something else than what is written"
	unequal        = "RFC 7757 §3.2 has maps with more IPv6 suffix bits"
	nestedMaps     = "RFC 7757 §5 has overlapping maps: the longest match counts"
	ownInMap       = "an example of TAYGA's documentation, and clear: the own address comes first"
	relativeState  = "0.9.2 does not know STATE_DIRECTORY; later versions refuse a relative one"
)

// disputed are the vectors about which the programs disagree.
var disputed = map[string]string{
	"line-of-510":              lineLength,
	"ipv4-addr-class-e":        laterAddress,
	"ipv4-addr-link-local":     laterAddress,
	"wkp-not-strict":           laterDirective,
	"local-use-prefix":         laterAddress,
	"prefix-second":            requested,
	"map-unequal-suffixes":     unequal,
	"map-trailing-text":        halfNumber,
	"map-link-local":           laterAddress,
	"map-local-use":            laterAddress,
	"map-nested-ipv6":          nestedMaps,
	"ipv6-addr-in-map":         ownInMap,
	"pool-second":              requested,
	"pool-link-local":          laterAddress,
	"wkpf-strict-off":          laterDirective,
	"wkpf-strict-last-wins":    laterDirective,
	"udp-cksum-mode":           laterDirective,
	"log":                      laterDirective,
	"offlink-mtu":              laterDirective,
	"workers-0":                laterDirective,
	"workers-64":               laterDirective,
	"tun-up":                   laterDirective,
	"tun-up-up":                laterDirective,
	"tun-addresses-and-routes": laterDirective,
	"tun-ip-without-tun-up":    laterDirective,
	"map-file":                 laterDirective,
	"map-file-bad-lines":       laterDirective,
	"map-file-alone":           laterDirective,
	"state-directory-relative": relativeState,
	"icmp-rate":                ourDirective,
	"icmp-mtu-rate-off":        ourDirective,
	"sandbox-no":               ourDirective,
	"sandbox-auto":             ourDirective,
	"fast-path":                ourDirective,
	"fast-path-off":            ourDirective,
	"pool-via":                 ourDirective,
	"pool-via-before-prefix":   ourDirective,

	"embedded-source":             ourDirective,
	"embedded-source-of-a-prefix": ourDirective,
	"loop-check":                  ourDirective,
	"loop-check-of-a-prefix":      ourDirective,
	"pool-refresh":                ourDirective,
	"pool-refresh-without-pool":   ourDirective,
	"tos":                         ourDirective,
	"flow-labels":                 ourDirective,
	"tcp-mss-clamp":               ourDirective,
	"stateful-pool":               ourDirective,
	"stateful-pool-own-address":   ourDirective,
	"stateful-pool-via":           ourDirective,
	"stateful-pool-no-client":     ourDirective,
	"stateful-map":                ourDirective,
	"stateful-limits":             ourDirective,
	"clat":                        ourDirective,
	"clat-all":                    ourDirective,
	"clat-no":                     ourDirective,
	"clat-without":                ourDirective,
}

// refusedBySystem are vectors that hold nothing wrong, but nothing that the
// kernel does either.
var refusedBySystem = map[string]bool{"tun-route-without-tun-up": true}

// TestConfigurations starts both programs with the same configurations, each in
// a namespace of its own, and sees whether they run.
func TestConfigurations(t *testing.T) {
	newLab(t)
	because := make(map[string]int)
	known := make(map[string]bool)
	for _, v := range vectors.All {
		known[v.Name] = true
		t.Run(v.Name, func(t *testing.T) {
			lab := newLab(t)
			dir := t.TempDir()
			theirs := accepts(t, debian, lab.Host("theirs"), &v, dir)
			ours := accepts(t, steppe, lab.Host("ours"), &v, dir)
			if v.Old != "" {
				assert.Equal(t, v.Old.Accepted(), theirs, "Debian's tayga")
			}
			assert.Equal(t, v.Want.Accepted() && !refusedBySystem[v.Name], ours, "this tayga")
			why := disputed[v.Name]
			assert.Equal(t, why == "", theirs == ours, "Debian's tayga runs: %t, this one: %t, reason: %q", theirs, ours, why)
			because[why]++
		})
	}
	for name := range disputed {
		assert.True(t, known[name], name)
	}
	t.Logf("%d configurations, %d with the same outcome", len(vectors.All), because[""])
	delete(because, "")
	for _, why := range slices.Sorted(maps.Keys(because)) {
		t.Logf("%3d: %s", because[why], why)
	}
}

// accepts reports whether a program runs with a configuration. It must end well
// then, and leave no device behind in any case.
func accepts(t *testing.T, prog *program, host *netlab.Host, v *vectors.Vector, dir string) bool {
	t.Helper()
	empty, bad, conf := filepath.Join(dir, "empty"), filepath.Join(dir, "bad"), filepath.Join(dir, "tayga.conf")
	text, env := v.File(dir, empty, bad)
	for path, text := range map[string]string{empty: "", bad: vectors.BadMaps, conf: text, filepath.Join(dir, "dynamic.map"): ""} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	args := []string{"-i"}
	for _, key := range slices.Sorted(maps.Keys(env)) {
		args = append(args, key+"="+env[key])
	}
	p, err := host.Launch("env", append(args, prog.path, "-d", "-c", conf)...)
	require.NoError(t, err)
	running, err := verdict(prog, p)
	require.NoError(t, err, p.Output())
	if running {
		stop(t, prog, p)
	}
	require.NoError(t, host.Do(func() error {
		left, err := net.Interfaces()
		assert.Len(t, left, 1, "devices are left behind")
		return err
	}))
	return running
}
