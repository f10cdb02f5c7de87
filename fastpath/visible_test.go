//go:build linux

package fastpath

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// Pings that are larger than what the kernel sends on its own account, such as MLD reports.
const (
	visibleData = 456
	visibleLen  = 400
)

// A counter is another program at the device, which counts packets of visibleLen and more.
type counter struct {
	m    *ebpf.Map
	link link.Link
}

// attachCounter attaches a counter to the lab's device, where the anchor says.
func (l *gatewayLab) attachCounter(t *testing.T, anchor link.Anchor) *counter {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "MIT", Instructions: asm.Instructions{
		asm.LoadMem(asm.R1, asm.R1, 0, asm.Word), // __sk_buff.len
		asm.JLT.Imm(asm.R1, visibleLen, "next"),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "next"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("next"), // TCX_NEXT
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := &counter{m: m}
	err = l.gateway.Do(func() (err error) {
		c.link, err = link.AttachTCX(link.TCXOptions{Interface: l.path.Device(), Program: p, Attach: ebpf.AttachTCXEgress, Anchor: anchor})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.link.Close(); m.Close() })
	return c
}

// count is how many packets there were.
func (c *counter) count(t *testing.T) (n uint64) {
	t.Helper()
	if err := c.m.Lookup(uint32(0), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// deviceBytes is how many bytes the kernel has counted at the device, both ways.
func (l *gatewayLab) deviceBytes(t *testing.T) (n uint64) {
	t.Helper()
	err := l.gateway.Do(func() error {
		d, err := netlink.LinkByName("nat64")
		if err == nil {
			s := d.Attrs().Statistics
			n = s.RxBytes + s.TxBytes
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestVisible: what others see of a packet at the device. A capture there has it after its
// translation alone, and the kernel does not count it. Programs before see it, and those after
// see what is left to the translator.
func TestVisible(t *testing.T) {
	l := newGatewayLab(t, false)
	ping := func() {
		t.Helper()
		if _, err := l.client.Ping(netip.MustParseAddr(labServer), netlab.Echo{Size: visibleData}); err != nil {
			t.Fatal(err)
		}
	}
	ping() // the host is known from now on
	before, after := l.attachCounter(t, link.Head()), l.attachCounter(t, link.Tail())
	capture, err := l.gateway.Capture("nat64")
	if err != nil {
		t.Fatal(err)
	}
	counted := l.deviceBytes(t)
	for range 5 {
		ping()
	}
	if n := l.deviceBytes(t) - counted; n > 5*visibleData { // of 10 packets
		t.Errorf("the kernel has counted %d bytes at the device", n)
	}
	if n := before.count(t); n != 10 {
		t.Errorf("a program before has seen %d packets, not 10", n)
	}
	if n := after.count(t); n != 0 {
		t.Errorf("a program after has seen %d packets", n)
	}
	packets, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	var four, six int
	for _, p := range packets {
		switch {
		case len(p.Data) < visibleLen:
		case p.Outgoing:
			t.Errorf("a packet was captured before its translation: %x", p.Data)
		case p.Data[0]>>4 == 4:
			four++
		default:
			six++
		}
	}
	if four != 5 || six != 5 {
		t.Errorf("captured %d translated requests and %d translated replies", four, six)
	}
}
