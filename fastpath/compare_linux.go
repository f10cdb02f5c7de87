package fastpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/cilium/ebpf"

	"github.com/steppe-nat64/steppe/translate"
)

// A comparer runs packets through the program and through a translator, and compares the
// results.
type comparer struct {
	path   *Path // for packets with an Ethernet header
	worker *translate.Worker
	now    time.Duration
	shared func([4]byte) bool // whether hosts share an address; nil: none do
	flags  uint32             // of BPF_PROG_TEST_RUN

	packets []translate.Packet
	in, out []byte
	context testContext

	translated int // how many the program translated
}

const (
	ethernet     = 14   // bytes before the IP header
	maxTestBytes = 3400 // of a packet: BPF_PROG_TEST_RUN has room for no more
	tcxNext      = 1<<32 - 1
	tcxRedirect  = 7
)

// A testContext is a struct __sk_buff. Fields without a name must be zero.
type testContext struct {
	_       [2]uint32
	Mark    uint32
	_       [37]uint32
	WireLen uint32
	GSOSegs uint32
	_       [2]uint32
	GSOSize uint32
	_       [3]uint32
}

func newComparer(p *Path, w *translate.Worker) *comparer {
	return &comparer{path: p, worker: w, packets: translate.NewPackets(2, 1<<16), in: make([]byte, ethernet+maxTestBytes), out: make([]byte, 2*maxTestBytes)}
}

// compare translates a packet both ways. The error says how the results differ. A packet with
// gso other than 0 is a super-packet with segments of that size: its checksum field holds
// the sum of the pseudo-header.
func (c *comparer) compare(pkt []byte, gso int) error {
	p := &c.packets[0]
	if !fits(pkt) || !p.Set(pkt) {
		return nil
	}
	p.Offload = superPacket(pkt, gso)
	generation := c.path.Generation()
	res := c.worker.Translate(c.now, p)
	if res == (translate.Result{Verdict: translate.Forward, Reason: translate.Translated}) {
		shared := false
		if is := p.Bytes(); c.shared != nil {
			if shared = c.shared([4]byte(pkt[16:20])); is[0]>>4 == 4 {
				shared = c.shared([4]byte(is[12:16]))
			}
		}
		if err := c.path.Learn(generation, pkt, p.Bytes(), shared); err != nil {
			return err
		}
	}
	verdict, got, err := c.run(pkt, gso)
	if err != nil {
		return err
	}
	switch verdict {
	case tcxNext:
		if !bytes.Equal(got, c.sent(pkt, gso)) {
			return fmt.Errorf("a packet that is left to the translator was changed: %s to %s", short(pkt), short(got))
		}
		return nil
	case tcxRedirect:
		c.translated++
	default:
		return fmt.Errorf("verdict %d for %s", verdict, short(pkt))
	}
	if res.Verdict != translate.Forward || res.Reason != translate.Translated {
		return fmt.Errorf("the program translates a packet that the translator does not (%v, %v): %s to %s", res.Verdict, res.Reason, short(pkt), short(got))
	}
	want := p.Bytes()
	if gso != 0 {
		flipChecksum(got)
		coverPorts(pkt, want)
		if gso2 := int(p.Offload.GSOSize); gso2 != gso {
			return fmt.Errorf("segments of %d bytes, not %d", gso2, gso)
		}
	}
	if !same(got, want, gso != 0) {
		return fmt.Errorf("the results differ: %s becomes %s, not %s", short(pkt), short(got), short(want))
	}
	return nil
}

// again runs the program for a packet of which the kernel says that the sum was not kept
// right. It says so wrongly, once in some ten thousand packets, if the sum is 0, as that of a
// whole ICMPv4 packet is: 0 and 0xffff are the same sum, but are compared as numbers. So
// the packet is tried with another last byte, and run without its sum.
func (c *comparer) again(o *ebpf.RunOptions, context testContext) (uint32, error) {
	last := &o.Data[len(o.Data)-1]
	*last ^= 0x55
	c.context, o.DataOut = context, c.out[:cap(c.out)]
	_, err := c.path.program.Run(o)
	*last ^= 0x55
	if err != nil {
		return 0, err
	}
	plain := *o
	c.context = context
	plain.Flags, plain.DataOut = 0, c.out[:cap(c.out)]
	verdict, err := c.path.program.Run(&plain)
	o.DataOut = plain.DataOut
	return verdict, err
}

// fits reports whether BPF_PROG_TEST_RUN takes a packet: it has to hold an IP header.
func fits(pkt []byte) bool {
	least := 20
	if len(pkt) > 0 && pkt[0]>>4 == 6 {
		least = 40
	}
	return len(pkt) >= least && len(pkt) <= maxTestBytes
}

// sent is what the program gets for a packet: it cannot be given a partial checksum. One that
// is the complement instead is updated in the same way.
func (c *comparer) sent(pkt []byte, gso int) []byte {
	b := c.in[ethernet : ethernet+copy(c.in[ethernet:], pkt)]
	if gso != 0 {
		flipChecksum(b)
	}
	return b
}

// run runs the program once.
func (c *comparer) run(pkt []byte, gso int) (verdict uint32, got []byte, err error) {
	b := c.sent(pkt, gso)
	clear(c.in[:12])
	c.in[12], c.in[13] = 0x08, 0x00
	if pkt[0]>>4 == 6 {
		c.in[12], c.in[13] = 0x86, 0xdd
	}
	o := ebpf.RunOptions{Data: c.in[:ethernet+len(b)], DataOut: c.out, Flags: c.flags}
	const mark = 7
	context := testContext{Mark: mark, GSOSize: uint32(gso)}
	c.context = context
	o.Context, o.ContextOut = &c.context, &c.context
	o.DataOut = c.out[:cap(c.out)]
	verdict, err = c.path.program.Run(&o)
	if errors.Is(err, syscall.EBADMSG) && c.flags != 0 {
		verdict, err = c.again(&o, context)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("fastpath: test run of %s: %w", short(pkt), err)
	}
	if c.context.GSOSize != uint32(gso) {
		return 0, nil, fmt.Errorf("fastpath: the kernel has changed the size of segments from %d to %d", gso, c.context.GSOSize)
	}
	if is := c.context.Mark; is != 0 && verdict == tcxRedirect || is != mark && verdict == tcxNext {
		return 0, nil, fmt.Errorf("fastpath: verdict %d with the mark %d", int32(verdict), is)
	}
	return verdict, o.DataOut[ethernet:], nil
}

// superPacket describes pkt as a super-packet, if gso is not 0.
func superPacket(pkt []byte, gso int) (o translate.Offload) {
	hdr, proto, ok := transportOf(pkt)
	if gso == 0 || !ok {
		return o
	}
	o = translate.Offload{Flags: translate.OffloadNeedsCsum, GSOType: translate.GSOUDPL4, GSOSize: uint16(gso),
		CsumStart: uint16(hdr), CsumOffset: 6, HdrLen: uint16(hdr + 8)}
	if proto == 6 {
		o.GSOType, o.CsumOffset, o.HdrLen = translate.GSOTCPv4, 16, uint16(hdr+20)
		if pkt[0]>>4 == 6 {
			o.GSOType = translate.GSOTCPv6
		}
	}
	return o
}

// transportOf returns where the TCP or UDP header begins, of packets without options.
func transportOf(pkt []byte) (at int, proto uint8, ok bool) {
	switch {
	case len(pkt) >= 20 && pkt[0] == 0x45:
		at, proto = 20, pkt[9]
	case len(pkt) >= 40 && pkt[0]>>4 == 6:
		at, proto = 40, pkt[6]
	}
	return at, proto, at > 0 && (proto == 6 && len(pkt) >= at+20 || proto == 17 && len(pkt) >= at+8)
}

// flipChecksum complements the checksum of a TCP or UDP packet.
func flipChecksum(pkt []byte) {
	at, proto, ok := transportOf(pkt)
	if !ok {
		return
	}
	if at += 6; proto == 6 {
		at += 10
	}
	pkt[at], pkt[at+1] = ^pkt[at], ^pkt[at+1]
}

// coverPorts updates the checksum of the TCP or UDP packet is for the change of ports from was.
// A partial checksum does not cover them; the one that the program gets does.
func coverPorts(was, is []byte) {
	from, _, ok := transportOf(was)
	to, proto, ok2 := transportOf(is)
	if !ok || !ok2 || bytes.Equal(was[from:from+4], is[to:to+4]) {
		return
	}
	field := is[to+6:]
	if proto == 6 {
		field = is[to+16:]
	}
	sum := uint32(binary.BigEndian.Uint16(field))
	for i := 0; i < 4; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(is[to+i:])) + uint32(^binary.BigEndian.Uint16(was[from+i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(field, uint16(sum>>16+sum))
}

// same compares all bytes of two packets, but for the IPv4 identification. The header
// checksum, which covers it, has to be right. Of a super-packet's UDP checksum 0 and 0xffff
// are the same: they differ where a partial one is the complement.
func same(got, want []byte, super bool) bool {
	if len(got) != len(want) || len(want) < 20 {
		return false
	}
	if want[0]>>4 == 4 {
		if headerSum(got) != 0xffff {
			return false
		}
		copy(got[4:6], want[4:6])
		copy(got[10:12], want[10:12])
	}
	if at, proto, ok := transportOf(want); ok && super && proto == 17 {
		sum := binary.BigEndian.Uint16(want[at+6:])
		if is := binary.BigEndian.Uint16(got[at+6:]); (sum == 0 || sum == 0xffff) && (is == 0 || is == 0xffff) {
			copy(got[at+6:at+8], want[at+6:at+8])
		}
	}
	return bytes.Equal(got, want)
}

func headerSum(b []byte) uint32 {
	var s uint32
	for i := 0; i < 20; i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	s = s>>16 + s&0xffff
	return s>>16 + s&0xffff
}

// short is the beginning of a packet, for a line.
func short(b []byte) string { return fmt.Sprintf("%x (%d bytes)", b[:min(len(b), 80)], len(b)) }
