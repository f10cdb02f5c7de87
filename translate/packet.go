package translate

import "sync"

// Room that a packet's buffer has around the packet, in bytes.
//
// Headroom is what a packet can grow to the left: 20 for the outer header
// (40−20) and 28 for the header of a packet quoted in an ICMPv4 error (40−20
// and a Fragment Header of 8). An ICMPv6 error that we originate needs the
// same 48: an IPv6 header of 40 and an ICMPv6 header of 8.
//
// Tailroom is what an ICMP error with an extension can grow to the right.
// RFC 4884 pads the quote to 128 bytes, of which the quoted header is at least
// 20, and an RFC 5837 object with its structure header takes 28.
const (
	Headroom = 20 + 28
	Tailroom = 128 - 20 + 28
)

// A Packet is one IP packet in a buffer that the caller owns: Buf[Off:Off+Len],
// from the first byte of the IP header. Buf has at least Headroom bytes before that
// window and Tailroom bytes after it. Translate moves the window inside Buf; it
// neither keeps nor replaces Buf.
type Packet struct {
	Buf      []byte
	Off, Len int

	// Offload describes work that the kernel left to the device. Its zero value is a
	// plain packet: one packet on the wire, checksums complete. It is still valid after
	// Forward: the sender has to segment such a packet and to complete its checksum, or
	// to pass Offload to the kernel. A Reply and the pieces of Fragment are plain. So is a
	// packet whose incomplete checksum was inside a tunnel: Translate completes it.
	Offload Offload

	// Result is the last verdict on the packet, set by Translate, TranslateBatch
	// and Fragment.
	Result Result
}

// NewPackets returns n packets whose buffers hold a packet of size bytes each, with
// Headroom before it and Tailroom after it. It makes one allocation for all buffers,
// and panics if n or size is negative.
func NewPackets(n, size int) []Packet {
	size += Headroom + Tailroom
	ps, buf := make([]Packet, n), make([]byte, n*size)
	for i := range ps {
		ps[i].Buf = buf[i*size : (i+1)*size : (i+1)*size]
	}
	return ps
}

// Set makes p the plain packet b, which is copied to Buf after Headroom. It reports
// false and changes nothing if Buf is too small for b with the room around it.
func (p *Packet) Set(b []byte) bool {
	if len(b) > len(p.Buf)-Headroom-Tailroom {
		return false
	}
	p.Off, p.Len = Headroom, copy(p.Buf[Headroom:], b)
	p.Offload, p.Result = Offload{}, Result{}
	return true
}

// Bytes returns the packet's window. It aliases p.Buf.
func (p *Packet) Bytes() []byte { return p.Buf[p.Off : p.Off+p.Len] }

// Offload flags and GSO types, as in the kernel's struct virtio_net_hdr.
const (
	OffloadNeedsCsum = 1 // Flags: checksum at CsumStart+CsumOffset is a pseudo-header sum only

	GSONone  = 0
	GSOTCPv4 = 1
	GSOTCPv6 = 4
	GSOUDPL4 = 5
	GSOECN   = 0x80 // beside GSOTCPv4 or GSOTCPv6: the first segment carries CWR
)

// Offload is a virtio-net header in host byte order (struct virtio_net_hdr).
// Lengths and offsets are in bytes; CsumStart counts from the first byte of
// the IP header, CsumOffset from CsumStart.
type Offload struct {
	Flags      uint8
	GSOType    uint8
	HdrLen     uint16
	GSOSize    uint16
	CsumStart  uint16
	CsumOffset uint16
}

// A Verdict says what the caller has to do with a packet. The zero value is Drop.
type Verdict uint8

const (
	// Drop: send nothing. The packet is unchanged.
	Drop Verdict = iota
	// Forward: send the window. Its version field is that of its family.
	Forward
	// Reply: the window is an answer (an ICMP error or an Echo Reply). Send it to the
	// side from which the packet came.
	Reply
	// Split: the window is a translated packet that is too large; call
	// Worker.Fragment.
	Split
)

// numVerdicts is the number of verdicts.
const numVerdicts = 4

// String returns the verdict's name in lower case.
func (v Verdict) String() string {
	return [...]string{"drop", "forward", "reply", "split"}[v&3]
}

// A Result is a verdict and its reason.
type Result struct {
	Verdict Verdict
	Reason  Reason
}

// noCopy makes vet report copies of the struct that holds it.
type noCopy [0]sync.Mutex
