package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/testbed"
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
	kills := x.n(100, 12)
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
// has it lend and save until a moment of chance after up to three saves.
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
