package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"time"
)

// Magic numbers of a pcap file, by the unit of its fractions of seconds.
const (
	magicMicro = 0xa1b2c3d4
	magicNano  = 0xa1b23c4d
)

// A pcapReader reads the format of draft-ietf-opsawg-pcap: a header of 24 bytes,
// then a header of 16 before each packet.
type pcapReader struct {
	r     *bufio.Reader
	order binary.ByteOrder
	unit  time.Duration // of fractions of seconds
	link  linkType
	buf   []byte
}

func newPcapReader(r *bufio.Reader, order binary.ByteOrder, unit time.Duration) (*pcapReader, error) {
	var h [24]byte
	if err := read(r, h[:]); err != nil {
		return nil, err
	}
	if major := order.Uint16(h[4:]); major != 2 {
		return nil, fmt.Errorf("pcap version %d not known", major)
	}
	// Above the link type are 6 bits about a frame check sequence, which lies
	// after the packet and so does not matter here.
	link := linkType(order.Uint32(h[20:]))
	return &pcapReader{r: r, order: order, unit: unit, link: link}, link.check()
}

func (p *pcapReader) next() (frame, error) {
	if _, err := p.r.Peek(1); err != nil {
		return frame{}, err // the only place where a file may end
	}
	var h [16]byte
	if err := read(p.r, h[:]); err != nil {
		return frame{}, err
	}
	sec, frac := p.order.Uint32(h[0:]), p.order.Uint32(h[4:])
	size, wire := p.order.Uint32(h[8:]), p.order.Uint32(h[12:])
	if size > maxFrame {
		return frame{}, tooLong(size)
	}
	p.buf = grow(p.buf, int(size))
	if err := read(p.r, p.buf); err != nil {
		return frame{}, err
	}
	return frame{
		time: time.Unix(int64(sec), int64(frac)*int64(p.unit)),
		link: p.link,
		data: p.buf,
		cut:  size < wire,
	}, nil
}
