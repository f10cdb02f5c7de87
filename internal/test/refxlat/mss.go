package refxlat

import (
	"encoding/binary"
	"slices"

	"github.com/steppe-nat64/steppe/translate"
)

// largestMSS is the largest MSS that a SYN may keep; ok is false if any may stay.
func (x *Xlat) largestMSS() (limit int, ok bool) {
	switch x.cfg.MSSClamp {
	case 0:
		return 0, false
	case translate.MSSAuto:
		in4, in6 := x.cfg.MTU4-20-20, x.cfg.MTU6-40-20
		return max(536, min(in4, in6)), true
	}
	return x.cfg.MSSClamp, true
}

// clampMSS lowers the MSS options of a SYN. p is a packet on its way out, its checksum
// right for its addresses.
func (x *Xlat) clampMSS(p packet) {
	limit, ok := x.largestMSS()
	if !ok || p.proto != tcp || p.off8 != 0 || p.data[13]&0x02 == 0 {
		return
	}
	n := int(p.data[12]>>4) * 4
	if n < 20 || n > len(p.data) {
		return
	}
	before, header := slices.Clone(p.data[:n]), p.data[:n]
	for options := header[20:]; len(options) > 0 && options[0] != 0; {
		if options[0] == 1 {
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			break
		}
		option := options[:options[1]]
		if option[0] == 2 && len(option) == 4 && int(binary.BigEndian.Uint16(option[2:])) > limit {
			binary.BigEndian.PutUint16(option[2:], uint16(limit))
		}
		options = options[len(option):]
	}
	if !slices.Equal(before, header) {
		ck := binary.BigEndian.Uint16(header[16:])
		binary.BigEndian.PutUint16(header[16:], update(ck, before, header))
	}
}
