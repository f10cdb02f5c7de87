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

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/translate"
)

// A gateway is the translator of a tayga.conf without its device. Its clock is
// that of the capture.
type gateway struct {
	translator *translate.Translator
	worker     *translate.Worker
	pools      taygaconf.Pools
	packet     translate.Packet
	pieces     []translate.Packet

	begin   time.Time     // of the first packet
	elapsed time.Duration // since then
	upkeep  time.Duration // when the pools were looked after

	in, out    int
	notIP, cut translate.Count
}

// maxPacket is the largest IP packet: 65535 octets behind an IPv6 header.
const maxPacket = 40 + 65535

func newGateway(conf string, mtu int, warnings io.Writer) (*gateway, error) {
	c, maps, err := readConfig(conf, warnings)
	if err != nil {
		return nil, err
	}
	g := &gateway{packet: translate.NewPackets(1, maxPacket)[0]}
	if g.pools, err = c.NewPools(maps, nil, time.Unix(0, 0)); err != nil {
		return nil, err
	}
	mappings := c.Table(maps, g.pools)
	tab, err := translate.NewTable(mappings)
	if err != nil {
		return nil, err
	}
	if g.translator, err = translate.New(c.Translator(mtu), tab); err != nil {
		return nil, err
	}
	g.worker = g.translator.NewWorker()
	g.pieces = translate.NewPackets(translate.MaxPieces, mtu)
	return g, nil
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
func (g *gateway) copy(r reader, name string, out io.Writer) (err error) {
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
			return fmt.Errorf("packet %d: %w", g.in+1, err)
		}
		g.in++
		if err := g.frame(f, w); err != nil {
			return err
		}
	}
}

// frame translates the packet in a frame and writes what comes of it.
func (g *gateway) frame(f frame, w writer) error {
	b, ok := f.link.ip(f.data)
	switch {
	case !ok:
		count(&g.notIP, f.data)
		return nil
	case f.cut:
		count(&g.cut, f.data)
		return nil
	}
	g.tick(f.time)
	p := &g.packet
	p.Set(b[:min(len(b), maxPacket)])
	g.worker.Translate(g.elapsed, p)
	for p.Result.Verdict == translate.Split {
		n := g.worker.Fragment(p, g.pieces)
		for i := range g.pieces[:n] {
			if err := g.write(w, f.time, &g.pieces[i]); err != nil {
				return err
			}
		}
	}
	if p.Result.Verdict == translate.Drop {
		return nil
	}
	return g.write(w, f.time, p)
}

func (g *gateway) write(w writer, t time.Time, p *translate.Packet) error {
	g.out++
	return w.WritePacket(gopacket.CaptureInfo{Timestamp: t, CaptureLength: p.Len, Length: p.Len}, p.Bytes())
}

func count(c *translate.Count, b []byte) {
	c.Packets++
	c.Octets += uint64(len(b))
}

// Times in a capture may be anything; a clock goes forward only, and not for
// more years than the pool counts.
const (
	maxElapsed     = 60 * 365 * 24 * time.Hour
	upkeepInterval = 45 * time.Second
)

// tick takes the time of a packet, and tells it to the pools.
func (g *gateway) tick(t time.Time) {
	if g.begin.IsZero() {
		g.begin = t
	}
	g.elapsed = min(max(g.elapsed, t.Sub(g.begin)), maxElapsed)
	now := time.Unix(0, 0).Add(g.elapsed)
	expire := g.elapsed >= g.upkeep+upkeepInterval
	if expire {
		g.upkeep = g.elapsed
	}
	for _, p := range g.pools {
		if expire {
			p.Expire(now)
		} else {
			p.Tick(now)
		}
	}
}
