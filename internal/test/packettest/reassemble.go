package packettest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Fragments takes a whole packet apart: each piece is at most size bytes long,
// carries id, and takes the place of the packet's own identification. A packet
// that fits comes back alone, an IPv6 one without a Fragment Header. DF is
// ignored.
func Fragments(pkt []byte, size int, id uint32) [][]byte {
	if len(pkt) <= size {
		return [][]byte{slices.Clone(pkt)}
	}
	h, proto, data := take(pkt)
	room := (size - (len(pkt) - len(data))) &^ 7
	if h.Src.Is6() {
		room = (size - 48) &^ 7
	}
	h.DF, h.ID = false, uint16(id)
	var out [][]byte
	for at := 0; at < len(data); at += room {
		piece, more := data[at:min(at+room, len(data))], at+room < len(data)
		if h.Src.Is4() {
			h.Off8, h.MF = uint16(at/8), more
			out = append(out, IP(h, Raw(proto, piece)))
		} else {
			out = append(out, IP(h, Fragment(id, uint16(at/8), more, Raw(proto, piece))))
		}
	}
	return out
}

// take reads the fixed header of a packet that is known to be well formed, and
// returns it, the number that follows it, and the bytes after it.
func take(pkt []byte) (Header, uint8, []byte) {
	if pkt[0]>>4 == 4 {
		n, word := int(pkt[0]&15)*4, binary.BigEndian.Uint16(pkt[6:])
		return Header{
			Src: netip.AddrFrom4([4]byte(pkt[12:])), Dst: netip.AddrFrom4([4]byte(pkt[16:])),
			TOS: pkt[1], TTL: pkt[8], ID: binary.BigEndian.Uint16(pkt[4:]),
			DF: word&0x4000 != 0, MF: word&0x2000 != 0, Off8: word & 0x1fff,
			Options: pkt[20:n],
		}, pkt[9], pkt[n:]
	}
	word := binary.BigEndian.Uint32(pkt)
	return Header{
		Src: netip.AddrFrom16([16]byte(pkt[8:])), Dst: netip.AddrFrom16([16]byte(pkt[24:])),
		TOS: uint8(word >> 20), TTL: pkt[7], FlowLabel: word & 0xfffff,
	}, pkt[6], pkt[40:]
}

// Reassemble puts fragments together that come in order, none missing and none
// twice, and returns the packet they were cut from: headers of the first,
// without fragmentation. It fails if they are not fragments of one packet, or
// if all but the last are not filled to multiples of 8 bytes.
func Reassemble(pieces [][]byte) ([]byte, error) {
	if len(pieces) == 0 {
		return nil, errors.New("packettest: nothing to reassemble")
	}
	var whole Header
	var proto uint8
	var id uint32
	var data []byte
	for i, b := range pieces {
		h, p, part := take(b)
		pid, off8, more := uint32(h.ID), h.Off8, h.MF
		if h.Src.Is6() {
			if p != 44 || len(part) < 8 {
				return nil, fmt.Errorf("packettest: piece %d has no Fragment Header", i)
			}
			word := binary.BigEndian.Uint16(part[2:])
			p, off8, more, pid = part[0], word>>3, word&1 != 0, binary.BigEndian.Uint32(part[4:])
			part = part[8:]
		}
		if i == 0 {
			whole, proto, id = h, p, pid
			whole.DF, whole.MF, whole.Off8 = false, false, 0
		}
		switch {
		case h.Src != whole.Src || h.Dst != whole.Dst || p != proto || pid != id:
			return nil, fmt.Errorf("packettest: piece %d belongs to another packet", i)
		case int(off8)*8 != len(data):
			return nil, fmt.Errorf("packettest: piece %d begins at %d, not at %d", i, int(off8)*8, len(data))
		case more != (i < len(pieces)-1):
			return nil, fmt.Errorf("packettest: piece %d of %d says more=%t", i, len(pieces), more)
		}
		data = append(data, part...)
	}
	return IP(whole, Raw(proto, data)), nil
}
