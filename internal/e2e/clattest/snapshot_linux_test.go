package clattest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// A snapshot is what a host's network is like, a line for each thing.
type snapshot []string

// looks are the commands that show it.
var looks = []struct{ name, command string }{
	{"link", "ip -o link show"},
	{"address", "ip -o address show"},
	{"route4", "ip -4 route show table all"},
	{"route6", "ip -6 route show table all"},
	{"rule4", "ip -4 rule show"},
	{"rule6", "ip -6 rule show"},
	{"proxy4", "ip -4 neighbour show proxy"},
	{"proxy6", "ip -6 neighbour show proxy"},
	{"neighbour", "ip neighbour show nud permanent"},
	{"group", "ip -o maddress show"},
	{"nftables", "nft list ruleset"},
	{"tc", "tc qdisc show"},
}

// passing matches what changes by itself, or with each start: an interface's number, the
// link-local address that the kernel makes up for a TUN device.
var passing = regexp.MustCompile(`^\d+:\s+|valid_lft \S+ preferred_lft \S+|expires \S+|# handle \d+|link-netns(id)? \S+|` +
	` packets \d+ bytes \d+| state [A-Z]+|(?:local )?fe80::[0-9a-f:]+(/64 scope link stable-privacy| dev clat)`)

// take looks at the host's network, and at the files that tayga keeps in its /run.
func (x *lab) take(h *netlab.Host) snapshot {
	x.t.Helper()
	var s snapshot
	for _, look := range looks {
		words := strings.Fields(look.command)
		out, err := h.Command(program(x.t, words[0]), words[1:]...).Output()
		require.NoError(x.t, err, look.command)
		s = append(s, lines(look.name, string(out))...)
	}
	s = append(s, x.sysctls(h)...)
	if dir, ok := x.dirs[h]; ok {
		filepath.WalkDir(filepath.Join(dir, "run"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				s = append(s, "file: "+strings.TrimPrefix(path, dir))
			}
			return nil
		})
	}
	return s
}

// lines puts the name of a look before each line of what it has shown. A chain of nftables
// stands in the name, since the same rule may be in several.
func lines(name, out string) (s snapshot) {
	var within []string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(passing.ReplaceAllString(line, ""))
		switch {
		case line == "":
		case line == "}":
			within = within[:max(0, len(within)-1)]
		case strings.HasSuffix(line, "{"):
			within = append(within, strings.TrimSpace(strings.TrimSuffix(line, "{")))
			s = append(s, name+": "+strings.Join(within, ", "))
		default:
			s = append(s, strings.Join(append([]string{name + ":"}, append(slices.Clone(within), line)...), " "))
		}
	}
	return s
}

// sysctls reads all that there are.
func (x *lab) sysctls(h *netlab.Host) (s snapshot) {
	x.t.Helper()
	const root = "/proc/sys/net/"
	require.NoError(x.t, h.Do(func() error {
		for _, family := range []string{"ipv4", "ipv6"} {
			err := filepath.WalkDir(root+family, func(path string, d fs.DirEntry, err error) error {
				if errors.Is(err, os.ErrNotExist) || err == nil && d.IsDir() { // of an interface that has gone meanwhile
					return nil
				}
				if err != nil {
					return err
				}
				b, err := os.ReadFile(path)
				if err == nil && d.Name() != "stable_secret" { // else it can't be read at all, or not yet
					s = append(s, "sysctl: "+strings.TrimPrefix(path, root)+" = "+strings.TrimSpace(string(b)))
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	return s
}

// diff returns what is in only one of two snapshots: "- " what is gone, "+ " what is new.
func (s snapshot) diff(now snapshot) (all []string) {
	count := map[string]int{}
	for _, line := range now {
		count[line]++
	}
	for _, line := range s {
		if count[line]--; count[line] < 0 {
			all = append(all, "- "+line)
		}
	}
	clear(count)
	for _, line := range s {
		count[line]++
	}
	for _, line := range now {
		if count[line]--; count[line] < 0 {
			all = append(all, "+ "+line)
		}
	}
	return all
}

// same requires that the host's network is as it was. The kernel removes some things later
// than the program that made them has ended.
func (x *lab) same(h *netlab.Host, before snapshot) {
	x.t.Helper()
	var diff []string
	begin := time.Now()
	ok := eventually(x.t, nil, func() bool {
		now := before.diff(x.take(h))
		if len(now) == 0 && time.Since(begin) > promised {
			x.t.Logf("as before after %v, at last without\n%s", time.Since(begin), strings.Join(diff, "\n"))
		}
		diff = now
		return len(diff) == 0
	})
	require.True(x.t, ok, "the host's network is not as it was:\n%s", strings.Join(diff, "\n"))
}

// TestSnapshot compares snapshots that are known.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := lines("nftables", "table ip t {\n\tchain a {\n\t\taccept\n\t}\n\tchain b {\n\t\taccept\n\t}\n}\n")
	want := snapshot{"nftables: table ip t", "nftables: table ip t, chain a", "nftables: table ip t chain a accept",
		"nftables: table ip t, chain b", "nftables: table ip t chain b accept"}
	assert.Equal(t, want, s)
	assert.Empty(t, s.diff(slices.Clone(s)))
	assert.Equal(t, []string{"- nftables: table ip t, chain b", "- nftables: table ip t chain b accept"}, s.diff(s[:3]))
	assert.Equal(t, []string{"+ nftables: table ip t"}, s.diff(append(slices.Clone(s), s[0])))
	assert.Equal(t, snapshot{"address: eth0 inet6 fe80::1/64"}, lines("address", "eth0 inet6 fe80::1/64 valid_lft 12sec preferred_lft 3sec\n"))
}
