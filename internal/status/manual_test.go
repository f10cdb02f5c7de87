package status

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/translate"
)

// The manual page explains the words that a table has for packets and leases, all
// of them and no others.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/man/tayga.8")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(page), "\n.SH STATUS\n")
	section, _, _ = strings.Cut(section, "\n.SH ")
	var explained []string
	for _, m := range regexp.MustCompile(`(?m)^\.TP.*\n\.B (\S+)$`).FindAllStringSubmatch(section, -1) {
		explained = append(explained, strings.ReplaceAll(m[1], `\-`, "-"))
	}

	words := []string{"held", "dormant"}
	for _, v := range []translate.Verdict{translate.Drop, translate.Forward, translate.Reply, translate.Split} {
		words = append(words, v.String())
	}
	for r := range translate.NumReasons {
		if why := translate.Reason(r); why != translate.NotChecked && why != translate.Waiting { // of no packet that was counted
			words = append(words, why.String())
		}
	}
	// The states of sessions: RFC 6146 §3.5.2.
	words = append(words, "v6-init", "v4-init", "established", "v4-fin", "v6-fin", "v4-fin-v6-fin", "trans", "udp", "dns", "icmp")
	assert.ElementsMatch(t, words, explained)
}
