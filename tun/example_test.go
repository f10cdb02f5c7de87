package tun_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
	"github.com/steppe-nat64/steppe/tun/tuntest"
)

// A queue is what a worker moves packets through: *tun.Queue, or a
// *tuntest.Queue where there is no device.
type queue interface {
	ReadTimeout([]translate.Packet, time.Duration) (int, error)
	Write([]translate.Packet) (int, error)
}

// pump translates what comes from q and sends it back, until q is closed.
func pump(q queue, w *translate.Worker) error {
	begin, ps := time.Now(), tun.NewPackets(64)
	pieces := tun.NewPackets(translate.MaxPieces) // of packets that are too large
	finish := func(ps []translate.Packet) error {
		for i := range ps {
			for ps[i].Result.Verdict == translate.Split { // until the rest fits
				if _, err := q.Write(pieces[:w.Fragment(&ps[i], pieces)]); err != nil {
					return err
				}
			}
			if ps[i].Result.Verdict == translate.Drop {
				continue
			}
			if _, err := q.Write(ps[i : i+1]); err != nil { // translated, or our answer
				return err
			}
		}
		return nil
	}
	for next := translate.Never; ; {
		n, err := q.ReadTimeout(ps, next-time.Since(begin))
		if errors.Is(err, tun.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Since(begin)
		w.TranslateBatch(now, ps[:n])
		if err := finish(ps[:n]); err != nil {
			return err
		}
		n, next = w.Emit(now, ps) // what the worker has to send of its own
		if err := finish(ps[:n]); err != nil {
			return err
		}
	}
}

func newTranslator() *translate.Translator {
	tab, err := translate.NewTable(translate.TableConfig{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")},
		Maps:     []translate.Map{{IPv4: netip.MustParsePrefix("203.0.113.7/32"), IPv6: netip.MustParsePrefix("2001:db8::2/128")}},
	})
	if err != nil {
		panic(err)
	}
	t, err := translate.New(translate.Config{IPv4: netip.MustParseAddr("192.0.0.2")}, tab)
	if err != nil {
		panic(err)
	}
	return t
}

// A gateway: a worker for each queue of a device. It needs privilege and
// /dev/net/tun.
func ExampleOpen() {
	d, err := tun.Open(tun.Config{Name: "nat64", Queues: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	if err := d.SetUp(true); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("offloads granted:", d.Features())

	t := newTranslator()
	go d.Watch(func(l tun.Link) {
		if !l.Gone {
			_ = t.Update(func(s *translate.Settings) { s.MTU4, s.MTU6 = l.MTU, l.MTU })
		}
	})
	var all sync.WaitGroup
	for _, q := range d.Queues() {
		all.Go(func() {
			if err := pump(q, t.NewWorker()); err != nil {
				fmt.Println(err) // tun.ErrGone, if the device was deleted
			}
		})
	}
	all.Wait()
}

// The same worker on a queue in memory.
func ExampleQueue() {
	kernel, device := tuntest.Pair(0)
	done := make(chan error)
	go func() { done <- pump(device, newTranslator().NewWorker()) }()

	ps := tun.NewPackets(1)
	ps[0].Off = tun.Headroom
	ps[0].Len = copy(ps[0].Buf[ps[0].Off:], []byte{
		0x60, 0, 0, 0, 0, 12, 17, 64, // IPv6, payload 12, UDP, hop limit 64
		0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // from 2001:db8::2
		0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, // to 64:ff9b::8.8.8.8
		0x30, 0x39, 0, 53, 0, 12, 0x2d, 0x50, 'p', 'i', 'n', 'g',
	})
	if _, err := kernel.Write(ps); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := kernel.Read(ps); err != nil {
		fmt.Println(err)
		return
	}
	b := ps[0].Bytes()
	fmt.Printf("IPv%d from %s to %s: %q\n", b[0]>>4, netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[28:])

	device.Close()
	fmt.Println(<-done)
	// Output:
	// IPv4 from 203.0.113.7 to 8.8.8.8: "ping"
	// <nil>
}
