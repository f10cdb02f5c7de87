package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// underTraffic starts the binary, has hosts take leases, and does something to it
// for some rounds while transfers go on. All of them have to arrive, and leases
// are what they were. That is done with the fast path on, and with it off.
func (x *trial) underTraffic(rounds int, do func(b *testbed.Bed, traffic *testbed.Traffic, round int) error) (transfers int64, err error) {
	for _, line := range []string{"fast-path auto", testbed.FastOff} {
		n, err := x.underTrafficWith(line, rounds, do)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", line, err)
		}
		transfers += n
	}
	return transfers, nil
}

func (x *trial) underTrafficWith(line string, rounds int, do func(b *testbed.Bed, traffic *testbed.Traffic, round int) error) (transfers int64, err error) {
	b, leases, done, err := x.living(50, line)
	if err != nil {
		return 0, err
	}
	defer done()
	traffic := b.StartTraffic(1 << 20)
	for round := range rounds {
		if err = do(b, traffic, round); err != nil {
			err = fmt.Errorf("round %d: %w", round, err)
			break
		}
		x.inputs++
	}
	if err == nil {
		err = x.seen(b, leases)
	}
	err = errors.Join(err, traffic.Stop())
	x.bytes += traffic.Bytes.Load()
	if err != nil {
		return 0, err
	}
	if err := errors.Join(b.Check(), share(b, line, traffic.Bytes.Load()), b.Stop()); err != nil {
		return 0, err
	}
	saved, err := b.Saved()
	return traffic.Transfers.Load(), errors.Join(err, x.keep(leases, saved))
}

// share wants the fast path to be on after a fault, and to have carried half of the TCP data
// at least: what passes between the fault and its end may come to the binary. Where the line
// of tayga.conf has it off, the binary has to have carried all.
func share(b *testbed.Bed, line string, tcp int64) error {
	c, err := b.Counts()
	switch {
	case err != nil:
		return err
	case line == testbed.FastOff:
		return c.Fast.Asleep(uint64(tcp))
	case fastpath.Supported() == nil:
		return c.Fast.Carried(tcp / 2)
	}
	return nil
}

// deviceDeleted deletes the device and makes it again.
func (x *trial) deviceDeleted() (string, error) {
	rounds := x.n(20, 3)
	n, err := x.underTraffic(rounds, func(b *testbed.Bed, traffic *testbed.Traffic, _ int) error {
		from := b.Said()
		b.Gateway.Delete(testbed.Device)
		if err := errors.Join(b.Err(), b.Await(from, "is gone: waiting for it to come back")); err != nil {
			return err
		}
		time.Sleep(rand.N(100 * time.Millisecond))
		return errors.Join(b.MakeDevice(), b.Await(from, "Workers: "), b.PingThrough(), traffic.AwaitTransfers(2))
	})
	return fmt.Sprintf("%d times with the fast path on and off; %d transfers arrived all the same", rounds, n), err
}

// deviceDown sets the device down and up.
func (x *trial) deviceDown() (string, error) {
	rounds := x.n(20, 3)
	n, err := x.underTraffic(rounds, func(b *testbed.Bed, traffic *testbed.Traffic, _ int) error {
		from := b.Said()
		b.Gateway.Down(testbed.Device)
		if err := errors.Join(b.Err(), b.Await(from, "is down: nothing arrives until it is up again")); err != nil {
			return err
		}
		time.Sleep(rand.N(100 * time.Millisecond))
		b.Gateway.Up(testbed.Device)
		return errors.Join(b.Err(), b.Await(from, "is up"), b.PingThrough(), traffic.AwaitTransfers(2))
	})
	return fmt.Sprintf("%d times with the fast path on and off; %d transfers arrived all the same", rounds, n), err
}

// deviceMTU changes the MTU of the device to the least and the most.
func (x *trial) deviceMTU() (string, error) {
	rounds := x.n(30, 6)
	n, err := x.underTraffic(rounds, func(b *testbed.Bed, traffic *testbed.Traffic, round int) error {
		mtu := []int{1280, 9000, 1500}[round%3]
		from := b.Said()
		b.Gateway.MTU(testbed.Device, mtu)
		if err := errors.Join(b.Err(), b.Await(from, fmt.Sprintf("has an MTU of %d now", mtu)), traffic.AwaitTransfers(2)); err != nil {
			return err
		}
		for range 3 { // a path MTU that has to be learnt costs datagrams
			if _, lost, err := b.EchoUDP(time.Second, 1200, mtu, 2*mtu); err != nil || lost == 0 {
				return err
			}
		}
		return nil
	})
	return fmt.Sprintf("%d times, to 1280, 9000 and 1500; %d transfers arrived all the same", rounds, n), err
}

// deviceMTUStorm changes the MTU so often that the kernel cannot tell of it each
// time. What holds in the end is what the binary goes by.
func (x *trial) deviceMTUStorm() (string, error) {
	rounds, changes := x.n(5, 2), x.n(2000, 300)
	n, err := x.underTraffic(rounds, func(b *testbed.Bed, traffic *testbed.Traffic, round int) error {
		for i := range changes {
			b.Gateway.MTU(testbed.Device, 1281+i%5000)
		}
		x.inputs += int64(changes)
		from := b.Said()
		last := 1500 + round
		b.Gateway.MTU(testbed.Device, last)
		return errors.Join(b.Err(), b.Await(from, fmt.Sprintf("has an MTU of %d now", last)), traffic.AwaitTransfers(2))
	})
	return fmt.Sprintf("%d times %d changes; %d transfers arrived all the same", rounds, changes, n), err
}

// helperLine is the line that names the process that sets up the device.
var helperLine = regexp.MustCompile(`Privileged helper: process (\d+); `)

// helperKilled kills the process that sets up the device. Packets need it no more.
func (x *trial) helperKilled() (string, error) {
	lives, transfers := x.n(5, 2), int64(0)
	for range lives {
		n, err := x.underTraffic(1, func(b *testbed.Bed, traffic *testbed.Traffic, _ int) error {
			m := helperLine.FindStringSubmatch(b.Process.Output())
			if m == nil {
				return errors.New("faults: no helper")
			}
			pid, _ := strconv.Atoi(m[1])
			time.Sleep(rand.N(100 * time.Millisecond))
			from := b.Said()
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return err
			}
			return errors.Join(b.Await(from, "has ended: tun device"), b.PingThrough(), traffic.AwaitTransfers(2), b.Reload())
		})
		if err != nil {
			return "", err
		}
		transfers += n
	}
	return fmt.Sprintf("%d times; %d transfers arrived all the same", lives, transfers), nil
}
