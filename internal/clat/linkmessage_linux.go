package clat

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"
)

// inet6MTU is the place of the MTU in IFLA_INET6_CONF: DEVCONF_MTU6 of linux/ipv6.h.
const inet6MTU = 2

// parseLink reads the body of RTM_NEWLINK.
func parseLink(b []byte) (l linkState, ok bool) {
	if len(b) < unix.SizeofIfInfomsg {
		return l, false
	}
	l.index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	flags := binary.NativeEndian.Uint32(b[8:])
	l.up, l.running = flags&unix.IFF_UP != 0, flags&unix.IFF_RUNNING != 0
	l.loopback = flags&unix.IFF_LOOPBACK != 0
	l.direct = flags&(unix.IFF_NOARP|unix.IFF_POINTOPOINT) != 0
	attributes(b[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.name = text(v)
		case unix.IFLA_MTU:
			l.mtu = number(v)
		case unix.IFLA_MASTER:
			l.port = number(v) != 0
		case unix.IFLA_LINKINFO:
			attributes(v, func(kind uint16, v []byte) {
				if kind == unix.IFLA_INFO_KIND {
					l.kind = text(v)
				}
			})
		case unix.IFLA_AF_SPEC:
			attributes(v, func(kind uint16, v []byte) {
				if kind == unix.AF_INET6 {
					l.mtu6 = parseMTU6(v)
				}
			})
		}
	})
	return l, l.index > 0 && l.name != ""
}

func parseMTU6(b []byte) (mtu int) {
	attributes(b, func(kind uint16, v []byte) {
		if kind == unix.IFLA_INET6_CONF && len(v) >= 4*(inet6MTU+1) {
			mtu = number(v[4*inet6MTU:])
		}
	})
	return max(mtu, 0)
}

// attributes calls f with the attributes of a netlink message, up to one that is cut short.
func attributes(b []byte, f func(kind uint16, v []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// text returns a string that a zero ends.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

func number(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(b)))
}
