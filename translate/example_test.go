package translate_test

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// dnsQuery is an IPv6 packet: a UDP datagram from 2001:db8::2 to port 53 of
// 64:ff9b::8.8.8.8.
var dnsQuery = []byte{
	0x60, 0, 0, 0, 0, 12, 17, 64, // version 6, payload 12, UDP, hop limit 64
	0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // source
	0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, // destination
	0x30, 0x39, 0, 53, 0, 12, 0x2d, 0x50, // UDP header
	'p', 'i', 'n', 'g',
}

// packet puts raw into a buffer with the room that Translate asks for.
func packet(raw []byte) translate.Packet {
	p := translate.Packet{
		Buf: make([]byte, translate.Headroom+len(raw)+translate.Tailroom),
		Off: translate.Headroom,
		Len: len(raw),
	}
	copy(p.Bytes(), raw)
	return p
}

func newTranslator(host string) *translate.Translator {
	tab, err := translate.NewTable(translate.TableConfig{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")},
		Maps:     []translate.Map{{IPv4: netip.MustParsePrefix(host), IPv6: netip.MustParsePrefix("2001:db8::2/128")}},
	})
	if err != nil {
		panic(err)
	}
	t, err := translate.New(translate.Config{
		IPv4: netip.MustParseAddr("192.0.0.2"),
		IPv6: netip.MustParseAddr("2001:db8::1"),
	}, tab)
	if err != nil {
		panic(err)
	}
	return t
}

// One packet through a translator.
func ExampleWorker_Translate() {
	w := newTranslator("203.0.113.7/32").NewWorker()
	p := packet(dnsQuery)
	res := w.Translate(0, &p)

	b := p.Bytes()
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	fmt.Println(res.Verdict, res.Reason)
	fmt.Printf("IPv%d, %s to %s, TTL %d, %q\n", b[0]>>4, src, dst, b[8], b[28:])
	// Output:
	// forward translated
	// IPv4, 203.0.113.7 to 8.8.8.8, TTL 63, "ping"
}

// A worker's loop: read a batch, translate it, send what came of it.
func ExampleWorker_TranslateBatch() {
	device := make(chan []byte, 3) // stands for a TUN device
	for range cap(device) {
		device <- dnsQuery
	}
	close(device)
	read := func(ps []translate.Packet) (n int, open bool) {
		for n < len(ps) {
			raw, open := <-device
			if !open {
				return n, false
			}
			ps[n].Set(raw)
			n++
		}
		return n, true
	}
	send := func(p *translate.Packet) { fmt.Println("sent", p.Len, "bytes") }

	w := newTranslator("203.0.113.7/32").NewWorker()
	batch, pieces := translate.NewPackets(2, 1500), translate.NewPackets(8, 1500)
	finish := func(ps []translate.Packet) {
		for i := range ps {
			p := &ps[i]
			for p.Result.Verdict == translate.Split {
				for j := range w.Fragment(p, pieces) {
					send(&pieces[j])
				}
			}
			if p.Result.Verdict != translate.Drop {
				send(p)
			}
		}
	}
	start := time.Now()
	for n, open := 0, true; open; {
		n, open = read(batch) // and until the time that Emit returned, at most
		now := time.Since(start)
		w.TranslateBatch(now, batch[:n])
		finish(batch[:n])
		n, _ = w.Emit(now, batch) // packets that come from none of the batch
		finish(batch[:n])
	}
	// Output:
	// sent 32 bytes
	// sent 32 bytes
	// sent 32 bytes
}

// Tables are swapped while workers run; no packet sees half of each.
func ExampleTranslator_Update() {
	t := newTranslator("203.0.113.7/32")
	var running, done sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		running.Add(1)
		done.Go(func() {
			w := t.NewWorker()
			for first := true; ; first = false {
				p := packet(dnsQuery)
				if res := w.Translate(0, &p); res.Verdict != translate.Forward {
					fmt.Println("lost a packet:", res.Reason)
				}
				if first {
					running.Done()
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	running.Wait()
	moved, err := translate.NewTable(translate.TableConfig{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")},
		Maps: []translate.Map{{
			IPv4: netip.MustParsePrefix("203.0.113.99/32"),
			IPv6: netip.MustParsePrefix("2001:db8::2/128"),
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := t.Update(func(s *translate.Settings) { s.Table = moved }); err != nil {
		fmt.Println(err)
	}
	p := packet(dnsQuery)
	t.NewWorker().Translate(0, &p)
	close(stop)
	done.Wait()
	fmt.Println(netip.AddrFrom4([4]byte(p.Bytes()[12:16])))
	// Output: 203.0.113.99
}
