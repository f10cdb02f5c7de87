//go:build linux

package fastpath

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// generated is how many packets are compared with translators, those of sessions beside.
var generated = flag.Int("generated", 100_000, "packets to compare")

// objectVariable is the environment variable with a file to load instead of the object of the
// package: see TestMutants.
const objectVariable = "STEPPE_FASTPATH_OBJECT"

// loadForTest loads the program for packets with l2 bytes before the IP header. Where bpf(2) is not permitted, it skips the test.
func loadForTest(t testing.TB, s Sizes, l2 int) *Path {
	t.Helper()
	spec, err := loadBpf()
	if object := os.Getenv(objectVariable); object != "" {
		spec, err = ebpf.LoadCollectionSpec(object)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := loadSpec(spec, s, l2)
	if err == nil {
		err = Supported()
	}
	if err != nil {
		if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
			t.Fatal(err)
		}
		t.Skipf("needs a program in the kernel: %v", err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// TestCompareSetups compares near-valid packets under setups that use every option.
func TestCompareSetups(t *testing.T) {
	p := loadForTest(t, Sizes{Sessions: 1 << 20}, ethernet)
	setups := packettest.Setups()
	for i, s := range setups {
		t.Run(s.Name, func(t *testing.T) {
			tab, err := translate.NewTable(s.Table)
			if err != nil {
				t.Fatal(err)
			}
			tr, err := translate.New(s.Config, tab)
			if err != nil {
				t.Fatal(err)
			}
			rules, err := NewRules(s.Config, s.Table)
			if len(s.Table.Prefixes) == 0 {
				if err == nil {
					t.Error("rules without a prefix")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p.SetRules(rules, 0)
			c := newComparer(p, tr.NewWorker())
			g := packettest.NewGen(uint64(i), s)
			n := *generated / 2 / len(setups)
			for k := range n {
				c.now += time.Millisecond
				if c.flags = 0; k%2 == 1 {
					c.flags = testFlags()
				}
				if err := c.compare(g.Packet(), 0); err != nil {
					t.Fatalf("packet %d: %v", k, err)
				}
			}
			if c.translated < n/100 {
				t.Errorf("the program translates %d of %d packets", c.translated, n)
			}
		})
	}
}

// TestCompareGolden compares the golden packets.
func TestCompareGolden(t *testing.T) {
	c := newTestComparer(t, Sizes{})
	all, err := packettest.Goldens()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		if err := c.compare(g.In, 0); err != nil {
			t.Errorf("%s %s: %v", g.ID, g.Name, err)
		}
	}
	if c.translated < 5 {
		t.Errorf("the program translates %d of %d golden packets", c.translated, len(all))
	}
}
