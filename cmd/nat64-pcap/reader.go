package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// A frame is one packet of a capture, from its link header on.
type frame struct {
	time time.Time
	link linkType
	data []byte // valid until the next frame is read
	cut  bool   // the capture holds less than there was on the wire
}

// A reader gives the frames of a capture one by one. Its error is io.EOF only
// where a file may end.
type reader interface {
	next() (frame, error)
}

// The readers are our own: pcapgo's panics for a time resolution that no clock
// has, allocates what a file of thirty bytes asks for, and keeps 8 of the 16
// bits of a link type, of which Linux cooked mode 2 needs 9.

// maxFrame is the largest frame that is believed in: libpcap's own limit for a
// packet.
const maxFrame = 1 << 18

var errTruncated = errors.New("the file ends in the middle of a packet")

// newReader finds out by its first four bytes what kind of capture b is.
func newReader(b *bufio.Reader) (reader, error) {
	magic, err := b.Peek(4)
	if err == io.EOF {
		return nil, errors.New("not a capture file: too short")
	}
	if err != nil {
		return nil, err
	}
	switch {
	case magic[0] == 0x1f && magic[1] == 0x8b:
		return nil, errors.New("compressed by gzip: unpack it first")
	case binary.BigEndian.Uint32(magic) == blockSection:
		return newNGReader(b)
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(magic) {
		case magicMicro:
			return newPcapReader(b, order, time.Microsecond)
		case magicNano:
			return newPcapReader(b, order, time.Nanosecond)
		}
	}
	return nil, errors.New("not a capture file: neither pcap nor pcapng")
}

// read fills b from r. The end of the file is not one that is allowed.
func read(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errTruncated
	}
	return err
}

// skip reads n bytes and forgets them.
func skip(r io.Reader, n int64) error {
	_, err := io.CopyN(io.Discard, r, n)
	if err == io.EOF {
		return errTruncated
	}
	return err
}

// grow returns b with a length of n bytes, in the same memory if that is large
// enough. n must have been checked against maxFrame.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

func tooLong(n uint32) error {
	return fmt.Errorf("a packet of %d bytes, more than the %d that a capture can hold", n, maxFrame)
}
