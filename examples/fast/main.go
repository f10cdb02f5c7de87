//go:build linux

// Command fast is a NAT64 gateway for hosts that have a map each, with the kernel's help. It
// makes the device fast0; addresses and routes are for others to set up.
package main

import (
	"fmt"
	"log"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

func main() {
	if err := run("fast0", os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

// settings maps each pair of an IPv4 and an IPv6 address.
func settings(pairs []string) (cfg translate.Config, tab translate.TableConfig, err error) {
	cfg = translate.Config{IPv4: netip.MustParseAddr("192.0.0.2"), IPv6: netip.MustParseAddr("2001:db8::1")}
	tab.Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:64::/96")}
	for len(pairs) >= 2 {
		var v4, v6 netip.Addr
		if v4, err = netip.ParseAddr(pairs[0]); err != nil {
			return cfg, tab, err
		}
		if v6, err = netip.ParseAddr(pairs[1]); err != nil {
			return cfg, tab, err
		}
		tab.Maps = append(tab.Maps, translate.Map{IPv4: netip.PrefixFrom(v4, 32), IPv6: netip.PrefixFrom(v6, 128)})
		pairs = pairs[2:]
	}
	return cfg, tab, nil
}

func run(name string, pairs []string) error {
	cfg, tab, err := settings(pairs)
	if err != nil {
		return err
	}
	table, err := translate.NewTable(tab)
	if err != nil {
		return err
	}
	t, err := translate.New(cfg, table)
	if err != nil {
		return err
	}
	dev, err := tun.Open(tun.Config{Name: name})
	if err != nil {
		return err
	}
	defer dev.Close()
	if err := dev.Probe(); err != nil { // before the program is attached, which would take its packets
		log.Print(err)
	}
	start := time.Now()
	path, err := help(t, cfg, tab, dev.Index(), start)
	if err != nil {
		log.Printf("without the kernel's help: %v", err)
	} else {
		defer path.Close()
	}
	if err := dev.SetUp(true); err != nil {
		return err
	}
	fmt.Println("ready")
	return loop(dev.Queues()[0], t.NewWorker(), path, start)
}

// help has the kernel translate what it has learned.
func help(t *translate.Translator, cfg translate.Config, tab translate.TableConfig, device int, start time.Time) (*fastpath.Path, error) {
	rules, err := fastpath.NewRules(cfg, tab)
	if err != nil {
		return nil, err
	}
	if err := fastpath.Prove(cfg, tab); err != nil { // on this kernel
		return nil, err
	}
	path, err := fastpath.Load(fastpath.Sizes{})
	if err != nil {
		return nil, err
	}
	ids, err := t.SetIdentMemory(path.IdentMemory())
	if err == nil {
		err = path.Attach(device)
	}
	if err != nil {
		path.Close()
		return nil, err
	}
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	path.SetRules(rules.WithIdents(ids), time.Duration(ts.Nano())-time.Since(start))
	return path, nil
}

// loop translates what the kernel leaves, and tells it what it could have known.
func loop(q *tun.Queue, w *translate.Worker, path *fastpath.Path, start time.Time) error {
	ps, more := tun.NewPackets(64), tun.NewPackets(translate.MaxPieces)
	was := make([][fastpath.LearnBytes]byte, len(ps))
	for next := translate.Never; ; {
		n, err := q.ReadTimeout(ps, next-time.Since(start))
		if err != nil {
			return err
		}
		generation := uint32(0)
		if path != nil {
			generation = path.Generation()
		}
		for i := range ps[:n] {
			clear(was[i][copy(was[i][:], ps[i].Bytes()):])
		}
		now := time.Since(start)
		w.TranslateBatch(now, ps[:n])
		if generation != 0 {
			for i := range ps[:n] {
				if ps[i].Result == (translate.Result{Verdict: translate.Forward, Reason: translate.Translated}) {
					path.Learn(generation, was[i][:], ps[i].Bytes(), false) // an error: there is no room
				}
			}
		}
		finish(q, w, ps[:n], more)
		n, next = w.Emit(now, ps)
		finish(q, w, ps[:n], more)
	}
}

// finish does what the verdicts say. Packets that the kernel does not take are counted by the queue.
func finish(q *tun.Queue, w *translate.Worker, ps, more []translate.Packet) {
	for i := range ps {
		for ps[i].Result.Verdict == translate.Split {
			q.Write(more[:w.Fragment(&ps[i], more)])
		}
		if ps[i].Result.Verdict != translate.Drop {
			q.Write(ps[i : i+1])
		}
	}
}
