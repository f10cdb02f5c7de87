package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// Blocks of a pcapng file, draft-ietf-opsawg-pcapng §4. The first number reads
// the same in both byte orders.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // no longer written
	blockSimple    = 3
	blockEnhanced  = 6
)

// Options of an interface.
const (
	optEnd      = 0
	optTSResol  = 9
	optTSOffset = 14
)

const byteOrderMagic uint32 = 0x1a2b3c4d

// An iface is what the packets of an interface have in common.
type iface struct {
	link    linkType
	snapLen uint32 // 0: none
	units   uint64 // per second
	offset  int64  // seconds
}

// time turns a time stamp into a time. Nonsense in it gives another time.
func (i *iface) time(stamp uint64) time.Time {
	sec, frac := stamp/i.units, stamp%i.units
	hi, lo := bits.Mul64(frac, uint64(time.Second)) // hi < units, since frac is
	nsec, _ := bits.Div64(hi, lo, i.units)
	return time.Unix(int64(sec)+i.offset, int64(nsec))
}

// An ngReader reads pcapng: blocks of any number of interfaces, in sections
// that may differ in byte order.
type ngReader struct {
	r      *bufio.Reader
	order  binary.ByteOrder
	ifaces []iface // of this section
	buf    []byte
}

func newNGReader(r *bufio.Reader) (*ngReader, error) {
	n := &ngReader{r: r, order: binary.LittleEndian}
	return n, n.section()
}

// maxBlock is the largest block that is read into memory: a packet with much to
// say about it, or an interface. Others are skipped, whatever their size.
const maxBlock = maxFrame + 1<<16

func (n *ngReader) next() (frame, error) {
	for {
		head, err := n.r.Peek(8)
		if len(head) == 0 {
			return frame{}, err // the only place where a file may end
		}
		if len(head) < 8 {
			return frame{}, errTruncated
		}
		typ, size := n.order.Uint32(head), n.order.Uint32(head[4:])
		switch typ {
		case blockSection:
			if err := n.section(); err != nil {
				return frame{}, err
			}
			continue
		case blockInterface, blockPacket, blockSimple, blockEnhanced:
		default:
			if err := n.skip(size); err != nil {
				return frame{}, err
			}
			continue
		}
		b, err := n.block(size)
		if err != nil {
			return frame{}, err
		}
		switch typ {
		case blockInterface:
			if err := n.addInterface(b); err != nil {
				return frame{}, err
			}
		case blockEnhanced:
			return n.enhanced(b)
		case blockSimple:
			return n.simple(b)
		case blockPacket:
			return n.packet(b)
		}
	}
}

// Around the body of a block are its type, its size and its size again.
const blockFrame = 12

func checkSize(size uint32) error {
	if size < blockFrame || size%4 != 0 {
		return fmt.Errorf("pcapng: a block of %d bytes", size)
	}
	return nil
}

// block reads a block and returns its body, which is valid until the next call.
func (n *ngReader) block(size uint32) ([]byte, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	if size > maxBlock {
		return nil, tooLong(size)
	}
	n.buf = grow(n.buf, int(size))
	if err := read(n.r, n.buf); err != nil {
		return nil, err
	}
	return n.buf[8 : size-4], nil
}

func (n *ngReader) skip(size uint32) error {
	if err := checkSize(size); err != nil {
		return err
	}
	return skip(n.r, int64(size))
}

// section reads a section header, which says what the byte order is, and
// forgets the interfaces of the section before it.
func (n *ngReader) section() error {
	var h [16]byte // type, size, byte order, version
	if err := read(n.r, h[:]); err != nil {
		return err
	}
	switch byteOrderMagic {
	case binary.LittleEndian.Uint32(h[8:]):
		n.order = binary.LittleEndian
	case binary.BigEndian.Uint32(h[8:]):
		n.order = binary.BigEndian
	default:
		return errors.New("pcapng: a section without byte order")
	}
	if major := n.order.Uint16(h[12:]); major != 1 {
		return fmt.Errorf("pcapng version %d not known", major)
	}
	n.ifaces = n.ifaces[:0]
	size := n.order.Uint32(h[4:])
	if err := checkSize(size); err != nil {
		return err
	}
	if size < uint32(len(h)) {
		return fmt.Errorf("pcapng: a block of %d bytes", size)
	}
	return skip(n.r, int64(size)-int64(len(h)))
}

// addInterface reads an Interface Description Block, §4.2.
func (n *ngReader) addInterface(b []byte) error {
	if len(b) < 8 {
		return errShortBlock
	}
	i := iface{link: linkType(n.order.Uint16(b)), snapLen: n.order.Uint32(b[4:]), units: 1e6}
	for b = b[8:]; len(b) >= 4; {
		code, size := n.order.Uint16(b), int(n.order.Uint16(b[2:]))
		if code == optEnd {
			break
		}
		end := 4 + (size+3)&^3
		if end > len(b) {
			return errShortBlock
		}
		value := b[4 : 4+size]
		switch {
		case code == optTSResol && size == 1:
			var err error
			if i.units, err = units(value[0]); err != nil {
				return err
			}
		case code == optTSOffset && size == 8:
			i.offset = int64(n.order.Uint64(value))
		}
		b = b[end:]
	}
	n.ifaces = append(n.ifaces, i)
	return nil
}

// units returns how many units of a time stamp make a second: a power of 2 if
// the highest bit of resol is set, else a power of 10. It fits 64 bits.
func units(resol byte) (uint64, error) {
	exp := resol & 0x7f
	switch {
	case resol&0x80 != 0 && exp < 64:
		return 1 << exp, nil
	case resol&0x80 == 0 && exp < 20:
		u := uint64(1)
		for range exp {
			u *= 10
		}
		return u, nil
	}
	return 0, fmt.Errorf("pcapng: time resolution %#02x", resol)
}

var errShortBlock = errors.New("pcapng: a block that is too short for what it holds")

// enhanced reads an Enhanced Packet Block, §4.3.
func (n *ngReader) enhanced(b []byte) (frame, error) {
	if len(b) < 20 {
		return frame{}, errShortBlock
	}
	return n.frame(n.order.Uint32(b), b[4:])
}

// packet reads a Packet Block, appendix A: the interface has 16 bits, beside a
// count of drops.
func (n *ngReader) packet(b []byte) (frame, error) {
	if len(b) < 20 {
		return frame{}, errShortBlock
	}
	return n.frame(uint32(n.order.Uint16(b)), b[4:])
}

// frame reads what both have in common: time, sizes, data.
func (n *ngReader) frame(id uint32, b []byte) (frame, error) {
	if int64(id) >= int64(len(n.ifaces)) {
		return frame{}, fmt.Errorf("pcapng: a packet of interface %d, which is not described", id)
	}
	i := &n.ifaces[id]
	stamp := uint64(n.order.Uint32(b))<<32 | uint64(n.order.Uint32(b[4:]))
	size, wire := n.order.Uint32(b[8:]), n.order.Uint32(b[12:])
	b = b[16:]
	if int64(size) > int64(len(b)) {
		return frame{}, errShortBlock
	}
	return frame{time: i.time(stamp), link: i.link, data: b[:size], cut: size < wire}, i.link.check()
}

// simple reads a Simple Packet Block, §4.4: the first interface, no time.
func (n *ngReader) simple(b []byte) (frame, error) {
	if len(n.ifaces) == 0 {
		return frame{}, errors.New("pcapng: a packet of interface 0, which is not described")
	}
	if len(b) < 4 {
		return frame{}, errShortBlock
	}
	i := &n.ifaces[0]
	wire := n.order.Uint32(b)
	size := wire
	if i.snapLen != 0 {
		size = min(size, i.snapLen)
	}
	b = b[4:]
	if int64(size) > int64(len(b)) {
		return frame{}, errShortBlock
	}
	return frame{time: time.Unix(0, 0), link: i.link, data: b[:size], cut: size < wire}, i.link.check()
}
