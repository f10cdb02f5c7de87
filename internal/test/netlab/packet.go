package netlab

import (
	"encoding/binary"
	"io"
	"time"
)

// Packet is a captured packet.
type Packet struct {
	Time     time.Time
	Data     []byte // from the IP header on
	Outgoing bool   // sent by the interface that was listened on, not received
}

// WritePcap writes packets as a pcap file of link type RAW, which tcpdump and
// Wireshark read: packets begin with an IP header of either version.
func WritePcap(w io.Writer, packets []Packet) error {
	const (
		magic     = 0xa1b23c4d // times in nanoseconds
		snapLen   = 1 << 16
		linkTypeR = 101 // LINKTYPE_RAW
	)
	le := binary.LittleEndian
	b := le.AppendUint32(nil, magic)
	b = le.AppendUint16(b, 2) // version 2.4
	b = le.AppendUint16(b, 4)
	b = le.AppendUint64(b, 0) // time zone and accuracy, unused
	b = le.AppendUint32(b, snapLen)
	b = le.AppendUint32(b, linkTypeR)
	if _, err := w.Write(b); err != nil {
		return err
	}
	for _, p := range packets {
		b = le.AppendUint32(b[:0], uint32(p.Time.Unix()))
		b = le.AppendUint32(b, uint32(p.Time.Nanosecond()))
		b = le.AppendUint32(b, uint32(len(p.Data)))
		b = le.AppendUint32(b, uint32(len(p.Data)))
		if _, err := w.Write(append(b, p.Data...)); err != nil {
			return err
		}
	}
	return nil
}
