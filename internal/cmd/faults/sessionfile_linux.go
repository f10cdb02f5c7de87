package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// flows are the sessions of hosts that share an address: that address and port, by what else
// identifies a session.
type flows map[[3]string]string

// openShared makes a laboratory in which the hosts share an address.
func (x *trial) openShared() (*testbed.Bed, func(), error) {
	const shared = "203.0.114.1"
	return x.open(smallPool, "dynamic-pool-clients "+testbed.Client6.String()+"/128",
		"stateful-pool "+shared, "tun-route "+shared, "stateful-timeout udp 3600")
}

// flowsOf asks the binary for its sessions.
func flowsOf(b *testbed.Bed) (flows, error) {
	all := make(flows)
	err := status.AskSessions(b.Path("status.sock"), status.Query{}, func(r *status.Report) error {
		for _, s := range r.SessionList.Entries {
			all[[3]string{s.Protocol, s.Host, s.Remote}] = s.Shared
		}
		return nil
	})
	return all, err
}

// keepFlows compares sessions before and after a fault.
func (x *trial) keepFlows(before, now flows) error {
	lost := 0
	for f, addr := range before {
		if now[f] != addr {
			lost++
		}
	}
	x.leases += int64(len(before))
	x.lost += int64(lost)
	if lost > 0 {
		return fmt.Errorf("faults: %d of %d sessions lost", lost, len(before))
	}
	return nil
}

// openFlows has n hosts open a session each and returns all that there are.
func (x *trial) openFlows(b *testbed.Bed, n int) (flows, error) {
	before, err := flowsOf(b)
	if err != nil {
		return nil, err
	}
	for range n {
		if err := b.Speak(testbed.Host(rand.Uint32N(1000))); err != nil {
			return nil, err
		}
		x.inputs++
	}
	var now flows
	err = b.AwaitTrue("sessions do not begin", func() bool {
		now, err = flowsOf(b)
		return err != nil || len(now) >= len(before)+n
	})
	return now, err
}

func sessionFile(b *testbed.Bed) string { return filepath.Join(b.DataDir, "sessions.bin") }

// startShared starts the binary and waits until the file is that of this life.
func startShared(b *testbed.Bed) error {
	before, _ := os.Stat(sessionFile(b))
	if err := b.Start(); err != nil {
		return err
	}
	return b.AwaitTrue("sessions are not written", func() bool {
		now, err := os.Stat(sessionFile(b))
		return err == nil && !os.SameFile(before, now)
	})
}

// saveFlows has the binary write its sessions.
func saveFlows(b *testbed.Bed) error {
	size := func() int64 {
		fi, err := os.Stat(sessionFile(b))
		if err != nil {
			return 0
		}
		return fi.Size()
	}
	before := size()
	if err := b.Reload(); err != nil {
		return err
	}
	return b.AwaitTrue("sessions are not written", func() bool { return size() != before })
}

// sessionsKilled kills the binary while sessions begin and are saved, and cuts off a part of
// what was written last. All that was saved before goes on in the next life.
func (x *trial) sessionsKilled() (string, error) {
	b, done, err := x.openShared()
	if err != nil {
		return "", err
	}
	defer done()
	saved, kills, cuts := flows{}, x.n(60, 6), 0
	for round := range kills {
		cut := round%3 == 2
		if saved, err = x.sharedLife(b, saved, cut); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		if cut {
			cuts++
		}
	}
	return fmt.Sprintf("%d times, %d of them with a half-written end; %d sessions in the end", kills, cuts, len(saved)), nil
}

// sharedLife is a life of the binary, which has to know the sessions that were saved. It
// returns those that the next one has to know.
func (x *trial) sharedLife(b *testbed.Bed, saved flows, cut bool) (flows, error) {
	if err := startShared(b); err != nil {
		return nil, err
	}
	now, err := flowsOf(b)
	if err := errors.Join(err, x.keepFlows(saved, now)); err != nil {
		return nil, err
	}
	more, err := x.openFlows(b, 20)
	if err := errors.Join(err, saveFlows(b)); err != nil {
		return nil, err
	}
	if cut {
		b.Process.Kill()
		fi, err := os.Stat(sessionFile(b))
		if err != nil {
			return nil, err
		}
		return now, os.Truncate(sessionFile(b), fi.Size()-1-rand.Int64N(4000))
	}
	if _, err := x.openFlows(b, 5); err != nil {
		return nil, err
	}
	b.Signal(syscall.SIGHUP)
	time.Sleep(rand.N(5 * time.Millisecond))
	b.Process.Kill()
	return more, nil
}

// sessionsDiskFull has the disk fill up while sessions begin. Those that were saved stay, and
// those that began meanwhile are saved as soon as there is room.
func (x *trial) sessionsDiskFull() (string, error) {
	b, done, err := x.openShared()
	if err != nil {
		return "", err
	}
	defer done()
	d, err := newDisk(256 << 10)
	if err != nil {
		return "", err
	}
	defer d.close()
	b.DataDir = d.path()
	rounds, total := x.n(5, 2), 0
	for range rounds {
		if err := startShared(b); err != nil {
			return "", err
		}
		before, err := x.openFlows(b, 20)
		if err := errors.Join(err, saveFlows(b), d.fill()); err != nil {
			return "", err
		}
		from := b.Said()
		meanwhile, err := x.openFlows(b, 20)
		if err := errors.Join(err, b.Reload(), b.Await(from, "sessions.bin: no space left on device"), b.Check()); err != nil {
			return "", err
		}
		now, err := flowsOf(b)
		if err := errors.Join(err, x.keepFlows(meanwhile, now)); err != nil {
			return "", err
		}
		// It is killed and starts again with the disk as it is.
		b.Process.Kill()
		if err := b.Start(); err != nil {
			return "", err
		}
		now, err = flowsOf(b)
		if err := errors.Join(err, x.keepFlows(before, now), b.Await(0, "sessions.bin: no space left on device")); err != nil {
			return "", err
		}
		more, err := x.openFlows(b, 20)
		if err := errors.Join(err, os.Remove(d.ballast()), b.Reload(), b.Await(0, "sessions.bin is written again")); err != nil {
			return "", err
		}
		b.Process.Kill()
		if err := b.Start(); err != nil {
			return "", err
		}
		now, err = flowsOf(b)
		if err := errors.Join(err, x.keepFlows(more, now), b.Stop()); err != nil {
			return "", err
		}
		x.inputs++
		total = len(now)
	}
	return fmt.Sprintf("%d times; what was saved stayed, %d sessions in the end", rounds, total), nil
}

// sessionsDamaged has the binary start with files of sessions that are no good. It uses what
// is whole, makes nothing up and keeps the file.
func (x *trial) sessionsDamaged() (string, error) {
	b, done, err := x.openShared()
	if err != nil {
		return "", err
	}
	defer done()
	if err := startShared(b); err != nil {
		return "", err
	}
	all, err := x.openFlows(b, 300)
	if err := errors.Join(err, b.Stop()); err != nil {
		return "", err
	}
	good, err := os.ReadFile(sessionFile(b))
	if err != nil {
		return "", err
	}
	files, left := 0, 0
	for range x.n(8, 1) {
		for _, d := range damages {
			bad := d.do(good)
			if err := os.WriteFile(sessionFile(b), bad, 0o600); err != nil {
				return "", err
			}
			n, err := x.damagedSessions(b, bad, all)
			if err != nil {
				return "", fmt.Errorf("%s: %w", d.name, err)
			}
			files++
			left += n
		}
	}
	x.inputs += int64(files)
	return fmt.Sprintf("%d files of %d kinds; %d of %d sessions were in whole blocks", files, len(damages), left, files*len(all)), nil
}

// damagedSessions is one life of the binary with a damaged file. It returns how many sessions
// went on.
func (x *trial) damagedSessions(b *testbed.Bed, bad []byte, all flows) (int, error) {
	kept := sessionFile(b) + ".damaged"
	os.Remove(kept)
	if err := startShared(b); err != nil {
		return 0, err
	}
	now, err := flowsOf(b)
	if err := errors.Join(err, b.PingThrough(), b.Stop()); err != nil {
		return 0, err
	}
	n := 0
	for f, addr := range all {
		if now[f] == addr {
			n++
		}
	}
	if n < len(now) {
		return n, fmt.Errorf("faults: %d sessions, %d of which were never saved", len(now), len(now)-n)
	}
	if n == len(all) {
		return n, nil
	}
	text, err := os.ReadFile(kept)
	if err == nil && !bytes.Equal(text, bad) {
		err = fmt.Errorf("faults: %s is not the file that was damaged", kept)
	}
	return n, err
}
