//go:build linux

package fastpath

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf/asm"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestChangeUnderLoad: while rules change and packets run, each packet is translated by the
// rules and the hosts of one generation, or left alone.
func TestChangeUnderLoad(t *testing.T) {
	c := newTestComparer(t, Sizes{})
	var sets [2]*Rules
	var hosts [2][16]byte
	for i := range sets {
		cfg, table := packettest.Config(), packettest.TableConfig()
		cfg.TOS4to6 = translate.TOS{Override: true, Value: uint8(0x11 * (i + 1))}
		rules, err := NewRules(cfg, table)
		if err != nil {
			t.Fatal(err)
		}
		sets[i], hosts[i] = rules, [16]byte{0x20, 1, 0xd, 0xb8, 15: uint8(i + 1)}
	}
	var stop atomic.Bool
	done := make(chan error, 1)
	go func() {
		for i := 0; !stop.Load(); i++ {
			g := c.path.SetRules(sets[i%2], 0)
			if err := c.path.PutHost4(g, packettest.M4.As4(), hosts[i%2], 1); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	translated := map[uint8]int{}
	for range 20_000 {
		verdict, got, err := c.run(plain4, 0)
		if err != nil {
			t.Fatal(err)
		}
		if verdict == tcxNext {
			continue
		}
		tos, host := got[0]<<4|got[1]>>4, got[39]
		translated[tos]++
		if tos != 0x11*host {
			t.Fatalf("traffic class %#x of one generation, host %d of another", tos, host)
		}
	}
	stop.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if translated[0x11] == 0 || translated[0x22] == 0 {
		t.Errorf("translated by traffic class: %v", translated)
	}
}

// TestCompareFinds: the comparison finds a program that goes by other rules.
func TestCompareFinds(t *testing.T) {
	for name, change := range map[string]func(*translate.Config){
		"a larger IPv4 MTU": func(c *translate.Config) { c.MTU4 = 1501 },
		"a larger IPv6 MTU": func(c *translate.Config) { c.MTU6 = 1501 },
		"another TOS":       func(c *translate.Config) { c.TOS4to6.Override = true },
	} {
		c := newTestComparer(t, Sizes{})
		cfg := packettest.Config()
		change(&cfg)
		rules, err := NewRules(cfg, packettest.TableConfig())
		if err != nil {
			t.Fatal(err)
		}
		c.path.SetRules(rules, 0)
		right := packettest.Config()
		hosts := []sampleHost{{packettest.M6, packettest.M4, packettest.P}}
		s := newSampler(1, c.worker, &right, hosts)
		for range provePackets {
			pkt, gso := s.packet(0)
			if err = c.compare(pkt, gso); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%s: not found", name)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %v", name, err)
		}
	}
}

// TestProveNow proves the program as a daemon does.
func TestProveNow(t *testing.T) {
	loadForTest(t, Sizes{}, 0)
	cfg, table := packettest.Config(), packettest.TableConfig()
	if err := Prove(cfg, table); err != nil {
		t.Fatal(err)
	}
	cfg.FlowLabels = true
	if err := Prove(cfg, table); err == nil {
		t.Error("proved with flow labels")
	}
}

// TestRefused: what the kernel refuses is said in one line.
func TestRefused(t *testing.T) {
	loadForTest(t, Sizes{}, 0)
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	spec.Programs["steppe"].Instructions = asm.Instructions{
		asm.LoadMem(asm.R0, asm.R1, -8, asm.DWord), // not in the context
		asm.Return(),
	}
	_, err = loadSpec(spec, Sizes{}, 0)
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "the verifier refuses it: ") {
		t.Errorf("error %v", err)
	}
	if _, err := load(Sizes{Hosts: -1}, 0); err == nil {
		t.Error("room for -1 hosts")
	}
	p := loadForTest(t, Sizes{}, 0)
	if err := p.Attach(1 << 30); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("attached to no device: %v", err)
	}
	t.Log(err)
}

// TestSupported: a kernel that is too old is said to be so, by its version and the one that is
// needed, in one line, and nothing is loaded.
func TestSupported(t *testing.T) {
	major, minor, err := release()
	if err != nil {
		t.Fatal(err)
	}
	err = Supported()
	if major > 6 || major == 6 && minor >= 6 {
		if err != nil && unsafe.Sizeof(uintptr(0)) == 8 {
			t.Fatal(err)
		}
		return
	}
	if want := fmt.Sprintf("fastpath: it needs Linux 6.6 (tcx), not %d.%d", major, minor); err == nil || err.Error() != want {
		t.Fatalf("error %v, not %s", err, want)
	}
	if _, again := Load(Sizes{}); again == nil || again.Error() != err.Error() {
		t.Errorf("Load: %v, not %v", again, err)
	}
	if again := Prove(packettest.Config(), packettest.TableConfig()); again == nil || again.Error() != err.Error() {
		t.Errorf("Prove: %v, not %v", again, err)
	}
	t.Log(err)
}
