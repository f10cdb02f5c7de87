package bench

import (
	"bufio"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkMemory states the resident memory of our binary: after its start, the
// highest until then, and, of one without the fast path, after TCP has passed in both
// directions. It needs what BenchmarkE2E needs.
func BenchmarkMemory(b *testing.B) {
	needLab(b)
	binary := build(b)
	for _, n := range []int{0, million} {
		once(b, fmt.Sprintf("leases=%d", n), func(b *testing.B) sample {
			x := newLab(b)
			w := x.addWithLeases(b, "steppe", binary, n)
			time.Sleep(time.Second)
			s := sample{"rss-B": w.memory(b, "VmRSS"), "peak-rss-B": w.memory(b, "VmHWM")}
			w = x.addWithLeases(b, "daemon", binary, n, pathOff)
			for _, dir := range []string{"4to6", "6to4"} {
				if _, err := x.tcp(w, dir, 4, time.Second); err != nil {
					b.Fatal(err)
				}
			}
			s["busy-rss-B"] = w.memory(b, "VmRSS")
			return s
		})
	}
}

// addWithLeases starts our binary with n leases.
func (x *lab) addWithLeases(b *testing.B, name, binary string, n int, directives ...string) *way {
	dir := b.TempDir()
	if n > 0 {
		writeLeases(b, filepath.Join(dir, "dynamic.map"), n)
	}
	w := x.addTranslator(b, name, binary, append(directives, "dynamic-pool "+hosts4.String(), "data-dir "+dir)...)
	x.awaitEcho(b, w)
	if want := fmt.Sprintf("Loaded %d dynamic maps", n); n > 0 && !strings.Contains(w.process.Output(), want) {
		b.Fatalf("no %q in the output:\n%s", want, w.process.Output())
	}
	return w
}

var rate = flag.Int("rate", 20_000, "`datagrams` a second while BenchmarkMapFile reads its map-file again, in thousands")

// BenchmarkMapFile measures the time from the start of our binary with a large
// map-file to the first packet that it translates, and that from a SIGHUP to the
// use of the new table; small tables are read again for a second. Meanwhile pass up
// to -rate packets a second, of which none should be lost; how many get lost in a second without a SIGHUP tells
// what the machine is good for.
func BenchmarkMapFile(b *testing.B) {
	needLab(b)
	binary := build(b)
	for _, n := range []int{10, million} {
		once(b, fmt.Sprintf("lines=%d", n), func(b *testing.B) sample {
			x := newLab(b)
			file := filepath.Join(b.TempDir(), "maps")
			writeMaps(b, file, n)
			s := make(sample)
			begin := time.Now()
			w := x.addTranslator(b, "steppe", binary, "map-file "+file)
			x.awaitEcho(b, w)
			s["load-s"] = time.Since(begin).Seconds()

			s["steady-lost-packets"], _ = x.lossDuring(b, w, func() { time.Sleep(time.Second) })
			s["reload-lost-packets"], s["reload-sent-packets"] = x.lossDuring(b, w, func() {
				begin, reloads := time.Now(), 0
				for reloads == 0 || time.Since(begin) < time.Second {
					reloads++
					w.reload(b, fmt.Sprintf(": %d maps", n), reloads)
				}
				s["reload-s"] = time.Since(begin).Seconds() / float64(reloads)
			})
			return s
		})
	}
}

// once runs a benchmark that measures a single time, however often it is called
// for the sake of a better mean.
func once(b *testing.B, name string, measure func(*testing.B) sample) (s sample) {
	b.Run(name, func(b *testing.B) {
		if b.N == 1 {
			s = measure(b)
		}
		report(b, s)
	})
	return s
}

// writeLeases makes the file that our binary would have written with n leases.
func writeLeases(b *testing.B, name string, n int) {
	p, _ := leases(b, n)
	writeFile(b, name, func(w *bufio.Writer) error { return p.Save(w) })
}

// writeMaps makes a map-file.
func writeMaps(b *testing.B, name string, n int) {
	writeFile(b, name, func(w *bufio.Writer) error {
		for _, m := range maps(n) {
			fmt.Fprintf(w, "map %s %s\n", m.IPv4.Addr(), m.IPv6.Addr())
		}
		return nil
	})
}

func writeFile(b *testing.B, name string, write func(*bufio.Writer) error) {
	b.Helper()
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if err := write(w); err != nil {
		b.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
}

// memory returns a line of proc_pid_status(5) in bytes.
func (w *way) memory(b *testing.B, key string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.process.Pid()))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), key+":")
	var kib float64
	if _, err := fmt.Sscanf(rest, "%f kB", &kib); err != nil {
		b.Fatalf("%s of %s: %v", key, w.name, err)
	}
	return kib * 1024
}

// awaitEcho waits until a packet gets to the server and back.
func (x *lab) awaitEcho(b *testing.B, w *way) {
	b.Helper()
	s, err := x.server.ServeUDPEcho(":5003")
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	c, err := x.client.Dial("udp", netip.AddrPortFrom(w.server, 5003).String(), stuck)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var buf [1]byte
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		select {
		case <-w.process.Done():
			b.Fatalf("%s has ended:\n%s", w.name, w.process.Output())
		default:
		}
		c.SetDeadline(time.Now().Add(5 * time.Millisecond))
		if _, err := c.Write(buf[:]); err == nil {
			if n, err := c.Read(buf[:]); n == 1 && err == nil {
				return
			}
		}
	}
	b.Fatalf("%s: no echo:\n%s", w.name, w.process.Output())
}

// reload makes the daemon read its map-file again, for the n-th time, and waits until
// it says that it has, with a line that ends in what.
func (w *way) reload(b *testing.B, what string, n int) {
	b.Helper()
	if err := w.process.Signal(syscall.SIGHUP); err != nil {
		b.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		seen := 0
		for line := range strings.Lines(w.process.Output()) {
			if strings.Contains(line, "Reloaded ") && strings.HasSuffix(line, what+"\n") {
				seen++
			}
		}
		if seen >= n {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("no reload:\n%s", w.process.Output())
		}
	}
}

// lossDuring sends up to -rate datagrams a second, evenly, from the client to
// the server for as long as f takes, and returns how many were lost of how many.
func (x *lab) lossDuring(b *testing.B, w *way, f func()) (lost, sent float64) {
	tx, rx, err := x.udpPair(w, "6to4")
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(rx)
	defer unix.Close(tx)
	var out, in atomic.Uint64
	var stopSending, stopCounting atomic.Bool
	var sending, counting sync.WaitGroup
	stop := func() {
		stopSending.Store(true)
		sending.Wait()
		// On a busy machine the last ones are late. They are not lost, and would be
		// counted as packets of the next measurement.
		for end := time.Now().Add(stuck); in.Load() < out.Load() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		stopCounting.Store(true)
		counting.Wait()
	}
	defer stop() // also if f fails
	sending.Go(func() {
		m := newMessages(max(1, *rate/1000), 64)
		// Nothing is made up for if the sender is late: a burst could be too much
		// for the device's queue of 500 packets.
		for ; !stopSending.Load(); time.Sleep(time.Millisecond) {
			k, err := m.send(tx)
			if err != nil {
				b.Errorf("send: %v", err)
				return
			}
			out.Add(uint64(k))
		}
	})
	counting.Go(func() { countUDP(rx, 64, &in, &stopCounting) })
	f()
	stop()
	return float64(out.Load()) - float64(in.Load()), float64(out.Load())
}
