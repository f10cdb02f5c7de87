// Package tun moves packets between the kernel and translate.Packet buffers
// through a TUN device.
//
//	d, err := tun.Open(tun.Config{Name: "nat64", Queues: 2})
//	…
//	for _, q := range d.Queues() {
//		go func() {
//			w := t.NewWorker() // of a translate.Translator
//			ps, more := tun.NewPackets(64), tun.NewPackets(translate.MaxPieces)
//			for next := translate.Never; ; {
//				n, err := q.ReadTimeout(ps, next-time.Since(start)) // blocks for the first, drains the rest
//				…
//				now := time.Since(start)
//				w.TranslateBatch(now, ps[:n])
//				finish(ps[:n])
//				n, next = w.Emit(now, ps)
//				finish(ps[:n])
//			}
//		}()
//	}
//
// where finish does for each packet of ps
//
//	for ps[i].Result.Verdict == translate.Split {
//		_, err = q.Write(more[:w.Fragment(&ps[i], more)])
//	}
//	if ps[i].Result.Verdict != translate.Drop {
//		_, err = q.Write(ps[i : i+1])
//	}
//
// At most one goroutine at a time may read from a Queue, and one may write to it. If
// the kernel grants offloads, packets arrive as super-packets of up to 64 KiB with
// partial checksums, described by Packet.Offload (struct virtio_net_hdr). A reader has
// to handle them, unless the Config asks for plain packets.
//
// On Linux there are several queues and offloads; on macOS one queue of plain packets;
// on other systems Open returns errors.ErrUnsupported.
package tun

import (
	"errors"

	"github.com/steppe-nat64/steppe/translate"
)

// Config says which device to open, and how.
type Config struct {
	// Name of the device, 1 to 15 bytes. A device of that name is attached to,
	// however it was made; else one is made, which is gone again after Close.
	Name string
	// Queues is how many queues to open, 1 to 64; 0 means 1. A device that was
	// made for a single queue gives one, whatever is asked.
	Queues int
	// Plain asks for plain packets: no offload.
	Plain bool
	// NoTSO, NoUSO leave out an offload: TCP or UDP segmentation.
	NoTSO, NoUSO bool
	// Owner of a device that Open makes; nil means the effective user and group of
	// this process. A device that is attached to keeps the owner that it has, or has
	// not: see Inspect.
	Owner *Owner
}

// MaxQueues is how many queues a device has at most.
const MaxQueues = 64

// Attached are the open queues of a device: see Attach and OpenAttached.
type Attached struct {
	FDs      []int    // a descriptor for each queue
	Features Features // what the kernel has granted
}

// An Owner says who may attach to a device without CAP_NET_ADMIN: the user, if
// GID is negative; a member of the group, if UID is; who is both, if neither is;
// and any local user that can open /dev/net/tun if both are negative and the device
// has several queues, as those that Open makes have. Such a program gets packets
// that others should get, and sends what it likes.
type Owner struct{ UID, GID int }

// Info is what the kernel says of a TUN device.
type Info struct {
	Index      int
	MultiQueue bool
	Queues     int // of a device with several: open in programs, detached ones included
	Persistent bool
	UID, GID   int // of the owner and the group, −1 for none
}

// Ownerless reports whether any local user may attach to the device, and to one
// that others have open.
func (i Info) Ownerless() bool { return i.MultiQueue && i.UID < 0 && i.GID < 0 }

// Errors that callers branch on. They come wrapped.
var (
	// ErrGone: somebody deleted the device.
	ErrGone = errors.New("device is gone")
	// ErrClosed: Stop or Close was called.
	ErrClosed = errors.New("device is closed")
	// ErrBusy: another process has the device.
	ErrBusy = errors.New("device is in use")
)

// Features are the offloads that the kernel has granted. The zero value is plain
// packets.
type Features struct {
	Checksum bool // checksums may be partial
	TSO      bool // TCP super-packets
	USO      bool // UDP super-packets
}

// String lists the features, "none" if there are none.
func (f Features) String() string {
	s := ""
	for _, x := range []struct {
		on   bool
		name string
	}{{f.Checksum, "checksum"}, {f.TSO, "tso"}, {f.USO, "uso"}} {
		if x.on {
			if s != "" {
				s += " "
			}
			s += x.name
		}
	}
	if s == "" {
		return "none"
	}
	return s
}

// Link is the state of a device.
type Link struct {
	MTU  int
	Up   bool
	Gone bool // deleted; the rest is void
	// Foreign is how many queues other programs have open, detached ones included.
	// They get a share of the packets, and may change settings of the device. To
	// attach takes privilege, or being the owner, unless the device is ownerless.
	Foreign int
	// Ownerless: any local user may attach. See Info.
	Ownerless bool
	// Owner is that of a device with several queues; see Info for negative numbers.
	// Zero for other devices, and for one without an owner.
	Owner Owner
	// Repaired counts how often Watch has found settings changed that belong to
	// the reader of a queue, such as the size of the virtio-net header, and has set
	// them back. Packets in between were lost.
	Repaired int
}

// Headroom is the offset at which Read puts packets: room for translation, and
// for the virtio-net header before the packet that translation leaves.
const Headroom = translate.Headroom + virtioLen

// maxPacket is the size of the largest packet that a device hands over.
const maxPacket = 65535

// NewPackets returns n packets with buffers for Read: Headroom, the largest
// packet, translate.Tailroom. It panics if n is negative.
func NewPackets(n int) []translate.Packet {
	return translate.NewPackets(n, virtioLen+maxPacket)
}
