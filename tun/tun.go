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
// Open does not set the device up, and adds no addresses or routes to it: see
// [Device.SetUp]. [Device.Watch] reports changes of the MTU; pass them to
// translate.Translator.Update.
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
	// Name is the name of the device, 1 to 15 bytes. Open attaches to an existing device
	// of that name; if there is none, it creates one, which Close removes.
	Name string
	// Queues is the number of queues to open, 1 to 64; 0 means 1. A device that was
	// created with a single queue has one, whatever Queues is.
	Queues int
	// Plain asks for plain packets: no offload.
	Plain bool
	// NoTSO, NoUSO leave out an offload: TCP or UDP segmentation.
	NoTSO, NoUSO bool
	// Owner is the owner of a device that Open creates; nil means the effective user and
	// group of this process. An existing device keeps its owner, or has none: see
	// Inspect.
	Owner *Owner
}

// MaxQueues is the largest number of queues of a device.
const MaxQueues = 64

// Attached are the open queues of a device: see Attach and OpenAttached.
type Attached struct {
	FDs      []int    // a descriptor for each queue
	Features Features // what the kernel has granted
}

// An Owner says which users may attach to a device without CAP_NET_ADMIN:
//   - the user UID, if GID is negative;
//   - the members of the group GID, if UID is negative;
//   - the user UID as a member of the group GID, if neither is negative;
//   - any local user that can open /dev/net/tun, if both are negative and the device has
//     several queues, as all devices that Open creates have.
//
// A program that attaches gets a share of the packets, and can send any packet.
type Owner struct{ UID, GID int }

// Info is what the kernel reports about a TUN device.
type Info struct {
	Index      int
	MultiQueue bool
	Queues     int // of a device with several: the queues that programs have open, detached ones included
	Persistent bool
	UID, GID   int // of the owner and the group, −1 for none
}

// Ownerless reports whether any local user may attach to the device, also while other
// programs use it.
func (i Info) Ownerless() bool { return i.MultiQueue && i.UID < 0 && i.GID < 0 }

// Errors that callers branch on. They come wrapped.
var (
	// ErrGone: the device was deleted.
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
	Gone bool // deleted; the other fields are not valid
	// Foreign is how many queues other programs have open, detached ones included.
	// They get a share of the packets, and may change settings of the device. A program
	// needs privilege to attach, or has to run as the owner, unless the device is
	// ownerless.
	Foreign int
	// Ownerless: any local user may attach. See Info.
	Ownerless bool
	// Owner is that of a device with several queues; see Info for negative numbers.
	// Zero for other devices, and for one without an owner.
	Owner Owner
	// Repaired counts how often Watch has restored settings that another program had
	// changed and that a reader depends on, such as the size of the virtio-net header.
	// Packets in between were lost.
	Repaired int
}

// Headroom is the offset at which Read stores packets: room for translation, and for the
// virtio-net header before the translated packet.
const Headroom = translate.Headroom + virtioLen

// maxPacket is the size of the largest packet that a device delivers.
const maxPacket = 65535

// NewPackets returns n packets with buffers for Read: Headroom, the largest
// packet, translate.Tailroom. It panics if n is negative.
func NewPackets(n int) []translate.Packet {
	return translate.NewPackets(n, virtioLen+maxPacket)
}
