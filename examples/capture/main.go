// Command capture translates a pcap file of IP packets without link header, as
// "tcpdump -i nat64 -w IN" writes it on a TUN device: capture IN OUT.
package main

import (
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/steppe-nat64/steppe/translate"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: capture IN OUT")
	}
	if err := convert(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

// newTranslator returns a translator with the well-known prefix and one IPv6 host that
// has an IPv4 address.
func newTranslator() (*translate.Translator, error) {
	tab, err := translate.NewTable(translate.TableConfig{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")},
		Maps: []translate.Map{{
			IPv4: netip.MustParsePrefix("203.0.113.7/32"),
			IPv6: netip.MustParsePrefix("2001:db8::2/128"),
		}},
	})
	if err != nil {
		return nil, err
	}
	return translate.New(translate.Config{
		IPv4: netip.MustParseAddr("192.0.0.2"),
		IPv6: netip.MustParseAddr("2001:db8::1"),
	}, tab)
}

func convert(in, out string) error {
	t, err := newTranslator()
	if err != nil {
		return err
	}
	src, err := os.Open(in)
	if err != nil {
		return err
	}
	defer src.Close()
	r, err := pcapgo.NewReader(src)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	if r.LinkType() != layers.LinkTypeRaw {
		return fmt.Errorf("%s: link type %v: not raw IP", in, r.LinkType())
	}
	r.SetSnaplen(1 << 18) // larger packets are an error

	dst, err := os.Create(out)
	if err != nil {
		return err
	}
	defer dst.Close()
	w := pcapgo.NewWriterNanos(dst)
	if err := w.WriteFileHeader(1<<18, layers.LinkTypeRaw); err != nil {
		return err
	}
	if err := packets(t.NewWorker(), r, w); err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	report(t.Stats())
	return dst.Close()
}

// packets moves packets from r through the worker to w.
func packets(worker *translate.Worker, r *pcapgo.Reader, w *pcapgo.Writer) error {
	p, piece := translate.NewPackets(1, 1<<18), translate.NewPackets(1, 1500)
	var start time.Time
	for {
		data, info, err := r.ReadPacketData()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if start.IsZero() {
			start = info.Timestamp
		}
		now := info.Timestamp.Sub(start) // the time is for the rate of ICMP errors, among others
		p[0].Set(data)
		worker.TranslateBatch(now, p)
		for n := 1; n > 0; n, _ = worker.Emit(now, p) { // then the packets of Emit
			if err := finish(worker, &p[0], piece, w, info); err != nil {
				return err
			}
		}
	}
}

// finish writes the translated packet to w, in fragments if it is too large.
func finish(worker *translate.Worker, p *translate.Packet, piece []translate.Packet, w *pcapgo.Writer, info gopacket.CaptureInfo) error {
	write := func(p *translate.Packet) error {
		info.CaptureLength, info.Length = p.Len, p.Len
		return w.WritePacket(info, p.Bytes())
	}
	for p.Result.Verdict == translate.Split {
		for i := range worker.Fragment(p, piece) {
			if err := write(&piece[i]); err != nil {
				return err
			}
		}
	}
	if p.Result.Verdict == translate.Drop {
		return nil
	}
	return write(p)
}

// report prints the counters.
func report(s translate.Stats) {
	for o, c := range s.All() {
		fmt.Println(o.Direction, o.Verdict, o.Reason, c.Packets)
	}
}
