package hostnet

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// every is one valid change of each kind and place that the policy of a CLAT allows.
var every = []Change{
	{Sysctl: &Sysctl{"net/ipv6/conf/all/forwarding", "1"}},
	{Sysctl: &Sysctl{"net/ipv4/ip_forward", "1"}},
	{Sysctl: &Sysctl{"net/ipv6/conf/eth0.5/accept_ra", "2"}},
	{Sysctl: &Sysctl{"net/ipv6/conf/wlan é/accept_ra", "2"}},
	{Link: &Link{"clat", 1480}},
	{Address: &Address{"clat", prefix("192.0.0.1/29")}},
	{Route: &Route{Device: "clat", Dst: prefix("0.0.0.0/0"), Src: netip.MustParseAddr("192.0.0.1"), MTU: 1472, Metric: 2048}},
	{Route: &Route{Device: "clat", Dst: prefix("fd00::1/128")}},
	{Route: &Route{Device: "eth0", Dst: prefix("64:ff9b::/96"), Via: netip.MustParseAddr("fe80::1"), Table: 464}},
	{Rule: &Rule{Six: true, Priority: 464, Table: 464, To: prefix("64:ff9b::/96"), In: "clat"}},
	{NAT: &NAT{Table: "tayga-clat-nat", In: "clat", Out: "eth0", Sources: []netip.Prefix{prefix("fd00::1/128")}}},
	{Guard: &Guard{Table: "tayga-clat-guard", Device: "clat"}},
	{Accept: &Accept{Device: "clat", Src: prefix("fd00::1/128")}},
}

// What the policies allow, and what they do not.
func TestPolicy(t *testing.T) {
	clat, gateway := Policy{Device: "clat"}, Policy{Device: "clat", Gateway: true}
	for _, c := range every {
		if c.Sysctl != nil && strings.Contains(c.Sysctl.Name, " ") {
			assert.ErrorContains(t, clat.Allows(c), "sysctl name")
			continue
		}
		assert.NoError(t, clat.Allows(c))
		back, err := json.Marshal(c)
		require.NoError(t, err)
		var again Change
		require.NoError(t, json.Unmarshal(back, &again))
		assert.Equal(t, c, again)
	}
	for _, test := range []struct {
		change  Change
		gateway bool // allowed there
		want    string
	}{
		{Change{}, false, "exactly one"},
		{Change{Link: &Link{"clat", 0}, Guard: &Guard{Table: "tayga-clat-guard", Device: "clat"}}, false, "exactly one"},
		{Change{Sysctl: &Sysctl{"net/ipv4/ip_forward", "3"}}, false, "the value is not"},
		{Change{Sysctl: &Sysctl{"net/ipv4/ip_forward", "0"}}, false, "the value is not 1"},
		{Change{Sysctl: &Sysctl{"net/ipv6/conf/eth0/accept_ra", "0"}}, false, "the value is not 2"},
		{Change{Sysctl: &Sysctl{"net/ipv4/conf/all/accept_redirects", "1"}}, false, "not one of the names"},
		{Change{Sysctl: &Sysctl{"net/ipv4/tcp_rmem", "1"}}, false, "not one of the names"},
		{Change{Sysctl: &Sysctl{"net/ipv6/conf/eth0/disable_ipv6", "1"}}, false, "not one of the names"},
		{Change{Sysctl: &Sysctl{"net/ipv4/conf/eth0/rp_filter", "0"}}, false, "not one of the names"},
		{Change{Sysctl: &Sysctl{"kernel/core_pattern", "1"}}, false, "sysctl name"},
		{Change{Sysctl: &Sysctl{"net/../kernel/core_pattern", "1"}}, false, "sysctl name"},
		{Change{Sysctl: &Sysctl{"/net/ipv4/ip_forward", "1"}}, false, "sysctl name"},
		{Change{Sysctl: &Sysctl{"net/ipv6/conf/a/b/forwarding", "1"}}, false, "not one of the names"},
		{Change{Link: &Link{"eth0", 0}}, false, "the device is not clat"},
		{Change{Link: &Link{"clat", 1000}}, false, "1280"},
		{Change{Link: &Link{"clat; reboot", 0}}, false, "device name"},
		{Change{Link: &Link{"all", 0}}, false, "device name"},
		{Change{Address: &Address{"eth0", prefix("192.0.0.1/29")}}, false, "the device is not clat"},
		{Change{Address: &Address{"clat", prefix("10.0.0.1/8")}}, true, "no address of a CLAT"},
		{Change{Address: &Address{"clat", prefix("192.0.0.1/24")}}, true, "no address of a CLAT"},
		{Change{Address: &Address{"clat", prefix("2001:db8::1/64")}}, true, "no address of a CLAT"},
		{Change{Address: &Address{"clat", prefix("127.0.0.2/8")}}, false, "address"},
		{Change{Address: &Address{"clat", prefix("ff02::1/128")}}, false, "address"},
		{Change{Route: &Route{Device: "eth0", Dst: prefix("0.0.0.0/0"), Metric: 4096}}, false, "the device is not clat"},
		{Change{Route: &Route{Device: "clat", Dst: prefix("0.0.0.0/0")}}, false, ""},
		{Change{Route: &Route{Device: "clat", Dst: prefix("::/0"), Metric: 4096}}, false, ""},
		{Change{Route: &Route{Device: "clat", Dst: prefix("8.8.8.0/24"), Metric: 4096}}, true, "no default route"},
		{Change{Route: &Route{Device: "clat", Dst: prefix("2001:db8::/32")}}, true, "more than one IPv6 address"},
		{Change{Route: &Route{Device: "clat", Dst: prefix("10.0.0.0/8"), Table: 255}}, false, "the table is neither main nor 464"},
		{Change{Route: &Route{Device: "clat", Dst: netip.MustParsePrefix("10.0.0.1/8"), Table: 464}}, false, "host bits"},
		{Change{Rule: &Rule{Priority: 464, Table: 464}}, false, "about all packets"},
		{Change{Rule: &Rule{Priority: 464, Table: 464, To: prefix("0.0.0.0/0")}}, false, "about all packets"},
		{Change{Rule: &Rule{Priority: 464, Table: 464, In: "eth0"}}, true, "neither about packets from clat"},
		{Change{Rule: &Rule{Priority: 464, Table: 464, From: prefix("192.0.0.0/24")}}, true, "nor from 192.0.0.0/29"},
		{Change{Rule: &Rule{Six: true, Priority: 464, Table: 464, To: prefix("64:ff9b::/96")}}, true, "neither"},
		{Change{Rule: &Rule{Priority: 1, Table: 464, In: "clat"}}, false, "not 464"},
		{Change{Rule: &Rule{Priority: 464, Table: 254, In: "clat"}}, false, "not 464"},
		{Change{NAT: &NAT{Table: "filter", Sources: []netip.Prefix{prefix("10.0.0.0/8")}}}, false, "the table is not tayga-clat-"},
		{Change{NAT: &NAT{Table: "tayga-clat-2-nat", Sources: []netip.Prefix{prefix("10.0.0.0/8")}}}, false, "the table is not tayga-clat-"},
		{Change{NAT: &NAT{Table: "tayga-clat-nat", In: "clat", Sources: []netip.Prefix{prefix("::/0")}}}, false, "all sources"},
		{Change{NAT: &NAT{Table: "tayga-clat-nat", Out: "eth0", Sources: []netip.Prefix{prefix("10.0.0.0/8")}}}, true, "neither about packets from clat"},
		{Change{NAT: &NAT{Table: "tayga-clat-nat"}}, false, "0 sources"},
		{Change{NAT: &NAT{Table: "tayga-clat-nat", Sources: []netip.Prefix{prefix("10.0.0.0/8")}, To: netip.MustParseAddr("::1")}}, false, "to ::1"},
		{Change{Guard: &Guard{Table: "tayga-clat-guard", Device: "eth0"}}, false, "the device is not clat"},
		{Change{Accept: &Accept{Device: "eth0"}}, false, "the device is not clat"},
		{Change{Accept: &Accept{Device: "clat", Src: prefix("10.0.0.0/8"), Dst: prefix("::/0")}}, false, "two families"},
	} {
		assert.ErrorContains(t, clat.Allows(test.change), test.want, test.change.String())
		assert.Error(t, clat.Allows(test.change), test.change.String())
		if err := gateway.Allows(test.change); test.gateway {
			assert.NoError(t, err)
		} else {
			assert.Error(t, err, test.change.String())
		}
	}
}

// Two values for one place contradict each other.
func TestCompact(t *testing.T) {
	list, err := compact([]Change{every[0], every[1], every[0]})
	assert.NoError(t, err)
	assert.Len(t, list, 2)
	_, err = compact([]Change{every[0], {Sysctl: &Sysctl{every[0].Sysctl.Name, "0"}}})
	assert.EqualError(t, err, "two values for sysctl net/ipv6/conf/all/forwarding")
	_, err = compact(make([]Change, mostChanges+1))
	assert.Error(t, err)
}

// hostile are journals that no Manager has written.
var hostile = map[string]string{
	"empty":          ``,
	"cut":            `{"Version":1,"Entries":[{"Change":{"Link":{"Device":"cl`,
	"no-object":      `[1]`,
	"version":        `{"Version":7}`,
	"unknown-field":  `{"Version":1,"Run":"reboot"}`,
	"more":           `{"Version":1}{"Version":1}`,
	"null-entry":     `{"Version":1,"Entries":[null]}`,
	"no-change":      `{"Version":1,"Entries":[{}]}`,
	"foreign-device": `{"Version":1,"Entries":[{"Change":{"Link":{"Device":"eth0","MTU":0}},"Down":true}]}`,
	"foreign-route":  `{"Version":1,"Entries":[{"Change":{"Route":{"Device":"eth0","Dst":"2001:db8::/64","Metric":256}}}]}`,
	"foreign-table":  `{"Version":1,"Entries":[{"Change":{"NAT":{"Table":"filter","Sources":["10.0.0.0/8"]}}}]}`,
	"foreign-before": `{"Version":1,"Entries":[{"Change":{"Link":{"Device":"clat"}},"Before":{"Link":{"Device":"eth0"}}}]}`,
	"saved-path":     `{"Version":1,"Entries":[{"Change":{"Sysctl":{"Name":"net/ipv4/ip_forward","Value":"1"}},"Saved":[{"Name":"net/ipv4/../../kernel/core_pattern","Old":"1","New":"0"}]}]}`,
	"saved-name":     `{"Version":1,"Entries":[{"Change":{"Sysctl":{"Name":"net/ipv4/ip_forward","Value":"1"}},"Saved":[{"Name":"net/ipv4/tcp_syncookies","Old":"0","New":"1"}]}]}`,
	"saved-value":    `{"Version":1,"Entries":[{"Change":{"Sysctl":{"Name":"net/ipv4/ip_forward","Value":"1"}},"Saved":[{"Name":"net/ipv4/ip_forward","Old":"7","New":"0"}]}]}`,
	"long":           `{"Version":1}` + strings.Repeat(" ", mostJournal),
}

func TestHostileText(t *testing.T) {
	for name, text := range hostile {
		_, err := decode([]byte(text), Policy{Device: "clat"})
		assert.Error(t, err, name)
	}
}

// full is the journal of a Manager that has made all of them.
func full() *journal {
	j := &journal{}
	for i, c := range every {
		if c.Check() != nil {
			continue
		}
		e := &entry{Change: c, Made: i%2 == 0, Found: i%3 == 0}
		if c.Sysctl != nil {
			e.Saved = []saved{{Name: "net/ipv6/conf/eth0/accept_ra", Old: "1", New: "2"}, {c.Sysctl.Name, "0", c.Sysctl.Value, false}}
		}
		j.Entries = append(j.Entries, e)
	}
	return j
}

// FuzzJournal: what is read is what a Manager may have written, and nothing else.
func FuzzJournal(f *testing.F) {
	for _, text := range hostile {
		f.Add([]byte(text)[:min(len(text), 4096)], false)
	}
	text, err := full().encode()
	require.NoError(f, err)
	f.Add(text, false)
	f.Add(text, true)
	f.Fuzz(func(t *testing.T, text []byte, gateway bool) {
		p := Policy{Device: "clat", Gateway: gateway}
		j, err := decode(text, p)
		if err != nil {
			return
		}
		for _, e := range j.Entries {
			if p.Allows(e.Change) != nil && p.other().Allows(e.Change) != nil {
				t.Fatalf("%v is not allowed", e.Change)
			}
			if e.Change.kind().place() == "" || e.Change.Command() == "" {
				t.Fatal("no command")
			}
			for _, s := range e.Saved {
				if !strings.HasPrefix(s.Name, "net/") || strings.Contains(s.Name, "..") || len(s.Old) > 1 {
					t.Fatalf("sysctl %+v", s)
				}
			}
		}
		again, err := j.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode(again, p)
		if err != nil {
			t.Fatalf("%v in %s", err, again)
		}
		if fmt.Sprint(len(back.Entries)) != fmt.Sprint(len(j.Entries)) {
			t.Fatal("another journal")
		}
	})
}
