package status

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/clat"
)

// sampleCLAT has something in every field.
var sampleCLAT = CLAT{
	State: "on", Since: time.Date(2026, 11, 1, 12, 0, 0, 0, time.Local), Carrier: "native", NativeDevice: "wlan0", Uplink: "eth0",
	Prefix: "64:ff9b::/96", Source: "router-advertisement", Router: "fe80::1",
	IPv4: "192.0.0.1", IPv6: "2001:db8:1::464", Address: "own", Why: "eth0 has 2001:db8:1::/64", MTU: 1472,
	LastError: "no answer", ErrorTime: time.Date(2026, 11, 1, 11, 59, 0, 0, time.Local),
	PrefixChanges: 3, Conflicts: 1, RefusedPrefixes: 2,
}

// clatTable returns the lines of a report about its CLAT.
func clatTable(t *testing.T, c *CLAT) string {
	t.Helper()
	var with, without strings.Builder
	require.NoError(t, (&Report{CLAT: c}).WriteTable(&with))
	require.NoError(t, new(Report).WriteTable(&without))
	before, after, found := strings.Cut(without.String(), "maps: ")
	require.True(t, found)
	lines, found := strings.CutPrefix(with.String(), before)
	require.True(t, found)
	lines, found = strings.CutSuffix(lines, "maps: "+after)
	require.True(t, found)
	return lines
}

func TestTableOfCLAT(t *testing.T) {
	assert.Equal(t, `CLAT: on since 2026-11-01 12:00:00, IPv4 is carried by: native (wlan0 has native IPv4)
uplink: eth0, prefix: 64:ff9b::/96 by router-advertisement of fe80::1
programs: 192.0.0.1 as 2001:db8:1::464, address own (eth0 has 2001:db8:1::/64), MTU 1472
prefix changes: 3, address conflicts: 1, prefixes refused: 2
last error of the CLAT, at 2026-11-01 11:59:00: no answer
`, clatTable(t, &sampleCLAT))
	assert.Equal(t, `CLAT: searching since 2026-11-01 12:00:00, IPv4 is carried by: none
uplink: none, prefix: none yet
prefix changes: 0, address conflicts: 0, prefixes refused: 0
`, clatTable(t, &CLAT{State: "searching", Since: sampleCLAT.Since, Carrier: "none"}))
	assert.Empty(t, clatTable(t, nil))
}

// TestCLATForTerminals: names of interfaces and texts of errors are bytes from elsewhere.
func TestCLATForTerminals(t *testing.T) {
	bad := "\x1b[2J\n"
	c := CLAT{bad, time.Time{}, bad, bad, bad, bad, bad, bad, bad, bad, bad, bad, 0, bad, time.Time{}, 0, 0, 0}
	lines := clatTable(t, &c)
	assert.NotContains(t, lines, "\x1b")
	assert.Equal(t, 5, strings.Count(lines, "\n"))
}

// TestCLATInJSON: a daemon that is no CLAT has no such field, and a client reads what a daemon
// writes.
func TestCLATInJSON(t *testing.T) {
	b, err := json.Marshal(Report{})
	require.NoError(t, err)
	assert.NotContains(t, string(b), `"clat"`)
	b, err = json.Marshal(Report{CLAT: &sampleCLAT})
	require.NoError(t, err)
	var got Report
	require.NoError(t, json.Unmarshal(b, &got))
	assert.True(t, got.CLAT.Since.Equal(sampleCLAT.Since))
	assert.True(t, got.CLAT.ErrorTime.Equal(sampleCLAT.ErrorTime))
	got.CLAT.Since, got.CLAT.ErrorTime = sampleCLAT.Since, sampleCLAT.ErrorTime
	assert.Equal(t, &sampleCLAT, got.CLAT)
	b, err = json.Marshal(CLAT{State: "searching"})
	require.NoError(t, err)
	assert.NotContains(t, string(b), "last_error")
}

// TestCLATWords: the words that the manual page explains are those of a CLAT that reports.
func TestCLATWords(t *testing.T) {
	assert.ElementsMatch(t, CLATStates, []string{string(clat.Off), string(clat.Searching), string(clat.Checking), string(clat.On)})
	assert.ElementsMatch(t, CLATCarriers, []string{string(clat.ByCLAT), string(clat.ByNative), string(clat.ByNone)})
	assert.ElementsMatch(t, CLATSources, []string{clat.SourceAdvertisement, clat.SourceDNS, clat.SourceConfiguration})
	assert.ElementsMatch(t, CLATModes, []string{clat.Own.String(), clat.Shared.String(), clat.Fixed.String()})
}
