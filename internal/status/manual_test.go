package status

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/translate"
)

// subsections returns the words that the section STATUS of the manual page explains, by
// subsection.
func subsections(t *testing.T) map[string][]string {
	page, err := os.ReadFile("../../docs/man/tayga.8")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(page), "\n.SH STATUS\n")
	section, _, _ = strings.Cut(section, "\n.SH ")
	words := make(map[string][]string)
	for _, part := range strings.Split(section, "\n.SS ") {
		name, text, _ := strings.Cut(part, "\n")
		for _, m := range regexp.MustCompile(`(?m)^\.TP.*\n\.B (\S+)$`).FindAllStringSubmatch(text, -1) {
			words[name] = append(words[name], strings.ReplaceAll(m[1], `\-`, "-"))
		}
	}
	return words
}

// The manual page explains the words that a table has for packets, leases, sessions, the fast
// path and a CLAT, all of them and no others.
func TestManual(t *testing.T) {
	var packets []string
	for _, v := range []translate.Verdict{translate.Drop, translate.Forward, translate.Reply, translate.Split} {
		packets = append(packets, v.String())
	}
	for r := range translate.NumReasons {
		if why := translate.Reason(r); why != translate.NotChecked && why != translate.Waiting { // of no packet that was counted
			packets = append(packets, why.String())
		}
	}
	want := map[string][]string{
		"Verdicts and reasons": packets,
		"Leases":               {"held", "dormant"},
		// The states of sessions: RFC 6146 §3.5.2.
		"Sessions":  {"v6-init", "v4-init", "established", "v4-fin", "v6-fin", "v4-fin-v6-fin", "trans", "udp", "dns", "icmp"},
		"Fast path": fastReasons(),
		"CLAT":      slices.Concat(CLATStates, CLATCarriers, CLATSources, CLATModes),
	}
	explained := subsections(t)
	for name := range want {
		assert.ElementsMatch(t, want[name], explained[name], name)
	}
	for name := range explained {
		assert.Contains(t, want, name)
	}
}

// fastReasons returns the words of all values that a reason of the fast path can have. Those
// that are no reason have the word of Unknown.
func fastReasons() (words []string) {
	for r := range 256 {
		if w := fastpath.Reason(r).String(); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return words
}
