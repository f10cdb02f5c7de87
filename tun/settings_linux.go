package tun

import (
	"encoding/binary"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Any program with a queue of a device may change what holds for all of them:
// drivers/net/tun.c, __tun_chr_ioctl. What is changed survives that program and, on
// a persistent device, ours.

// repair sets settings back, and with all those, too, that cannot be read. mu is
// held.
func (d *Device) repair(all bool) {
	fd := d.queues[0].fd
	changed, _ := restore(fd)
	if changed {
		d.repaired++
	}
	if all || changed {
		reset(fd)
		bits := 0
		if d.features != (Features{}) {
			bits = d.features.bits()
		}
		_ = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, bits)
	}
}

// restore sets the virtio-net header to the size and the byte order that we use,
// and takes away the limit on packets that were written and are not processed yet.
// It reports whether one of them was different.
func restore(fd int) (changed bool, err error) {
	for _, x := range settings() {
		is, err := unix.IoctlGetUint32(fd, x.get)
		if err != nil && x.optional || err == nil && is == x.want {
			continue
		}
		if err := unix.IoctlSetPointerInt(fd, x.set, int(x.want)); err != nil {
			return changed, fmt.Errorf("tun: set %s: %w", x.name, err)
		}
		changed = true
	}
	return changed, nil
}

// A setting is one that can be read.
type setting struct {
	name     string
	get, set uint
	want     uint32
	optional bool // kernels may lack it: then it has the right value
}

func settings() [3]setting {
	order := setting{"byte order", unix.TUNGETVNETBE, unix.TUNSETVNETBE, 0, true}
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		order.get, order.set = unix.TUNGETVNETLE, unix.TUNSETVNETLE
	}
	return [...]setting{
		{"header size", unix.TUNGETVNETHDRSZ, unix.TUNSETVNETHDRSZ, virtioLen, false},
		{"send buffer", unix.TUNGETSNDBUF, unix.TUNSETSNDBUF, math.MaxInt32, true},
		order,
	}
}

// reset sets what cannot be read to what a new device has: the carrier, and no
// programs that choose queues and drop packets. Old kernels lack some of them.
func reset(fd int) {
	_ = unix.IoctlSetPointerInt(fd, unix.TUNSETCARRIER, 1)
	_ = unix.IoctlSetPointerInt(fd, unix.TUNSETSTEERINGEBPF, -1)
	_ = unix.IoctlSetPointerInt(fd, unix.TUNSETFILTEREBPF, -1)
}
