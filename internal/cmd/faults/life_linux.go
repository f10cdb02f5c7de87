package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// killed kills the binary at moments of chance while it starts and while leases
// are given out and saved. The file is whole each time and holds all that it
// held before, and the next life goes by it.
func (x *trial) killed() (string, error) {
	b, done, err := x.open("10.64.0.0/16")
	if err != nil {
		return "", err
	}
	defer done()
	var last testbed.Leases
	next := uint32(0)
	kills := x.n(200, 12)
	for round := range kills {
		if round%4 == 3 {
			if err := b.Launch(); err != nil {
				return "", err
			}
			time.Sleep(rand.N(40 * time.Millisecond))
		} else if err := x.busyLife(b, last, &next); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		b.Process.Kill()
		now, err := b.Saved()
		if err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		if err := x.keep(last, now); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		last = now
	}
	if len(last) < kills/2 {
		return "", fmt.Errorf("faults: only %d leases were ever saved", len(last))
	}
	return fmt.Sprintf("%d times at any moment, the file whole each time, %d leases in the end", kills, len(last)), nil
}

// busyLife starts the binary, which has to know the leases of its last life, and
// has it assign and save leases until a random moment after up to three saves.
func (x *trial) busyLife(b *testbed.Bed, last testbed.Leases, next *uint32) error {
	if err := b.Start(); err != nil {
		return err
	}
	if len(last) > 0 {
		if err := b.Await(0, fmt.Sprintf("Loaded %d dynamic map", len(last))); err != nil {
			return err
		}
	}
	for host, addr := range last { // one of them, by chance
		if err := x.seen(b, testbed.Leases{host: addr}); err != nil {
			return err
		}
		break
	}
	saves := rand.N(4)
	written := modified(b)
	for end := time.Now().Add(rand.N(20 * time.Millisecond)); saves > 0 || time.Now().Before(end); *next++ {
		if err := b.Speak(testbed.Host(*next)); err != nil {
			return err
		}
		x.inputs++
		time.Sleep(200 * time.Microsecond)
		if *next%3 == 0 {
			if err := b.Signal(syscall.SIGHUP); err != nil { // which saves
				return err
			}
		}
		if saves > 0 && modified(b) != written {
			saves--
			written = modified(b)
			end = time.Now().Add(rand.N(20 * time.Millisecond))
		}
	}
	return nil
}

// modified returns when the file of leases was written.
func modified(b *testbed.Bed) time.Time {
	fi, err := os.Stat(filepath.Join(b.DataDir, "dynamic.map"))
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// signalStorm sends the signals that the binary handles as fast as they go, while
// the map-file changes under it and traffic passes. The one that asks it to end
// comes amidst the others, once.
func (x *trial) signalStorm() (string, error) {
	b, done, err := x.open(smallPool, "map-file DIR/maps")
	if err != nil {
		return "", err
	}
	defer done()
	signals, ends := x.n(4000, 400), x.n(20, 4)
	for end := range ends {
		writeMaps := func(n int) error {
			text := fmt.Sprintf("map 192.0.2.%d 2001:db8:aaaa::%x\n", 100+n%100, n)
			if err := os.WriteFile(b.Path("maps~"), []byte(text), 0o644); err != nil {
				return err
			}
			return os.Rename(b.Path("maps~"), b.Path("maps"))
		}
		if err := errors.Join(writeMaps(0), b.Start()); err != nil {
			return "", err
		}
		leases, err := lease(b, 0, 50)
		if err != nil {
			return "", err
		}
		traffic := b.StartTraffic(256 << 10)
		for i := range signals / ends {
			if i%50 == 0 {
				if err := writeMaps(i); err != nil {
					return "", err
				}
			}
			x.storm(b)
		}
		err = errors.Join(traffic.AwaitTransfers(4), b.Alive(), x.seen(b, leases), traffic.Stop())
		x.bytes += traffic.Bytes.Load()
		if err != nil {
			return "", err
		}
		// The storm goes on until the binary has ended.
		over := make(chan struct{})
		var storm sync.WaitGroup
		storm.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					x.storm(b)
				}
			}
		})
		time.Sleep(rand.N(20 * time.Millisecond))
		if end%2 == 0 {
			err = b.Stop()
		} else {
			for range 100 {
				b.Signal(syscall.SIGTERM)
			}
			err = b.Process.Wait()
		}
		close(over)
		storm.Wait()
		if err != nil {
			return "", err
		}
		saved, err := b.Saved()
		if err := errors.Join(err, x.keep(leases, saved)); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d times %d signals and more; SIGTERM among them handled each time", ends, signals/ends), nil
}

// storm sends one of each signal that does not end the binary.
func (x *trial) storm(b *testbed.Bed) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1} {
		if b.Signal(sig) == nil {
			x.inputs++
		}
	}
}

// logStuck lets no program read what the binary prints, while it has a lot to say.
func (x *trial) logStuck() (string, error) {
	b, done, err := x.open(smallPool, "log drop reject icmp self dyn")
	if err != nil {
		return "", err
	}
	defer done()
	fifo := b.Path("log")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		return "", err
	}
	// Open for both, so that neither end has to wait for the other.
	pipe, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer pipe.Close()
	b.Through = []string{"/bin/sh", "-c", `exec "$@" >` + fifo, "sh"}
	if err := errors.Join(b.Launch(), b.Serve()); err != nil {
		return "", err
	}
	if err := errors.Join(b.AwaitDevice(), b.PingThrough()); err != nil {
		return "", err
	}
	traffic := b.StartTraffic(1 << 20)
	signals := x.n(2000, 300)
	for i := range signals {
		if err := errors.Join(b.Signal(syscall.SIGUSR1), b.Speak(testbed.Host(uint32(i%100)))); err != nil {
			return "", err
		}
		time.Sleep(100 * time.Microsecond)
	}
	x.inputs += int64(signals)
	leases, err := lease(b, 0, 50)
	err = errors.Join(err, traffic.AwaitTransfers(8), x.seen(b, leases), traffic.Stop(), b.Stop())
	x.bytes += traffic.Bytes.Load()
	if err != nil {
		return "", err
	}
	saved, err := b.Saved()
	return fmt.Sprintf("%d requests to speak; %d transfers meanwhile, and it ended in time", signals, traffic.Transfers.Load()),
		errors.Join(err, x.keep(leases, saved))
}

// slowReader has the binary stand still again and again, so that the queue of
// the device, a short one, overflows.
func (x *trial) slowReader() (string, error) {
	b, leases, done, err := x.living(50)
	if err != nil {
		return "", err
	}
	defer done()
	if err := b.Settle(); err != nil {
		return "", err
	}
	b.Gateway.QueueLength(testbed.Device, 10)
	traffic := b.StartTraffic(1 << 20)
	stops := x.n(100, 20)
	for i := range stops {
		if err := b.Signal(syscall.SIGSTOP); err != nil {
			return "", err
		}
		pause := rand.N(20 * time.Millisecond)
		if i%20 == 0 {
			pause = time.Second
		}
		for end := time.Now().Add(pause); time.Now().Before(end); time.Sleep(time.Millisecond) {
			for range 20 { // more than there is room for
				if err := b.Speak(testbed.Host(1)); err != nil && !errors.Is(err, syscall.ENOBUFS) {
					return "", err
				}
				x.inputs++
			}
		}
		if err := b.Signal(syscall.SIGCONT); err != nil {
			return "", err
		}
		time.Sleep(rand.N(20 * time.Millisecond))
	}
	err = errors.Join(traffic.AwaitTransfers(4), traffic.Stop(), x.seen(b, leases), b.Check())
	x.bytes += traffic.Bytes.Load()
	if err != nil {
		return "", err
	}
	if _, err := b.AddUp(); err != nil {
		return "", err
	}
	dev, err := b.Rest()
	if err != nil {
		return "", err
	}
	if dev.SendDrops == 0 {
		return "", errors.New("faults: the queue of the device never overflowed")
	}
	return fmt.Sprintf("stopped %d times; the kernel dropped %d packets, %d transfers arrived all the same",
		stops, dev.SendDrops, traffic.Transfers.Load()), b.Stop()
}
