package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/translate"
)

// A converter is the gateway of a tayga.conf without its device. Its clock is that of
// the capture.
type converter struct {
	gateway *gateway.Gateway
	worker  *translate.Worker
	packets []translate.Packet // one
	pieces  []translate.Packet

	begin   time.Time     // of the first packet
	elapsed time.Duration // since then
	second  time.Duration // of it, in seconds
	next    time.Duration // when the worker may have packets of its own

	in, out    int
	notIP, cut translate.Count
}

// maxPacket is the largest IP packet: 65535 bytes after an IPv6 header.
const maxPacket = 40 + 65535

func newConverter(conf string, mtu int, warnings io.Writer) (*converter, error) {
	c, maps, err := readConfig(conf, warnings)
	if err != nil {
		return nil, err
	}
	x := &converter{packets: translate.NewPackets(1, maxPacket)}
	x.gateway, err = gateway.Install(gateway.Config{Conf: c, MapFile: maps, MTU: mtu, Now: time.Unix(0, 0)})
	if err != nil {
		return nil, err
	}
	x.worker = x.gateway.Worker(0).Worker
	x.pieces = translate.NewPackets(translate.MaxPieces, mtu)
	return x, nil
}

// A writer takes packets without link header. Both kinds in pcapgo are one.
type writer interface {
	WritePacket(gopacket.CaptureInfo, []byte) error
}

// newWriter writes the head of a capture file whose kind goes by its name.
func newWriter(w io.Writer, name string) (writer, error) {
	if strings.HasSuffix(name, ".pcapng") {
		return pcapgo.NewNgWriter(w, layers.LinkTypeRaw)
	}
	p := pcapgo.NewWriterNanos(w)
	return p, p.WriteFileHeader(maxFrame, layers.LinkTypeRaw)
}

// copy translates what r gives to out. After an error, out holds what came
// before it.
func (x *converter) copy(r reader, name string, out io.Writer) (err error) {
	buffer := bufio.NewWriter(out)
	w, err := newWriter(buffer, name)
	if err != nil {
		return err
	}
	defer func() {
		if ng, ok := w.(*pcapgo.NgWriter); ok {
			err = firstOf(err, ng.Flush())
		}
		err = firstOf(err, buffer.Flush())
	}()
	for {
		f, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("packet %d: %w", x.in+1, err)
		}
		x.in++
		if err := x.frame(f, w); err != nil {
			return err
		}
	}
}

// frame translates the packet in a frame and writes what comes of it.
func (x *converter) frame(f frame, w writer) error {
	b, ok := f.link.ip(f.data)
	switch {
	case !ok:
		count(&x.notIP, f.data)
		return nil
	case f.cut:
		count(&x.cut, f.data)
		return nil
	}
	x.tick(f.time)
	if err := x.emit(w); err != nil {
		return err
	}
	p := &x.packets[0]
	p.Set(b[:min(len(b), maxPacket)])
	x.worker.Translate(x.elapsed, p)
	if err := x.finish(w, f.time, p); err != nil {
		return err
	}
	x.next = x.elapsed // the packet may have brought others
	return x.emit(w)
}

// finish writes what a packet has become.
func (x *converter) finish(w writer, t time.Time, p *translate.Packet) error {
	for p.Result.Verdict == translate.Split {
		n := x.worker.Fragment(p, x.pieces)
		for i := range x.pieces[:n] {
			if err := x.write(w, t, &x.pieces[i]); err != nil {
				return err
			}
		}
	}
	if p.Result.Verdict == translate.Drop {
		return nil
	}
	return x.write(w, t, p)
}

// emit writes the packets that are due by now and come from none of the capture, each at
// its time. What is due after the last packet of the capture is not written.
func (x *converter) emit(w writer) error {
	for x.next <= x.elapsed {
		t := x.begin.Add(x.next)
		n, next := x.worker.Emit(x.next, x.packets)
		for i := range x.packets[:n] {
			if err := x.finish(w, t, &x.packets[i]); err != nil {
				return err
			}
		}
		x.next = next
	}
	return nil
}

func (x *converter) write(w writer, t time.Time, p *translate.Packet) error {
	x.out++
	return w.WritePacket(gopacket.CaptureInfo{Timestamp: t, CaptureLength: p.Len, Length: p.Len}, p.Bytes())
}

func count(c *translate.Count, b []byte) {
	c.Packets++
	c.Bytes += uint64(len(b))
}

// maxElapsed bounds the time: times in a capture may be anything; a clock goes forward
// only, and not for more years than the pool counts.
const maxElapsed = 60 * 365 * 24 * time.Hour

// tick takes the time of a packet, and passes it to the pools.
func (x *converter) tick(t time.Time) {
	if x.begin.IsZero() {
		x.begin = t
	}
	x.elapsed = min(max(x.elapsed, t.Sub(x.begin)), maxElapsed)
	x.gateway.Upkeep(time.Unix(0, 0).Add(x.elapsed))
	if second := x.elapsed / time.Second; second > x.second {
		x.second = second
		x.gateway.Expire(x.elapsed)
	}
}
