package main

import (
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/tun"
)

// state is what the daemon knows of itself, beside what translator and pool
// count. Its main goroutine writes it; those that make a report read it.
type state struct {
	started        time.Time
	configModified time.Time // the file, before it was read
	netns          uint64

	mu      sync.Mutex
	device  status.Device
	queues  []queue  // of the device as it is
	before  []uint64 // refused by the queues of the devices before
	reloads status.Reloads
}

// begin is called before privileges are given up and the configuration is read.
func (s *state) begin(configFile string) {
	s.started = time.Now()
	s.netns = netnsInode("self")
	if fi, err := os.Stat(configFile); err == nil {
		s.configModified = fi.ModTime()
	}
}

// netnsInode returns the number of a process's network namespace, 0 where that is
// not known.
func netnsInode(pid string) uint64 {
	fi, err := os.Stat("/proc/" + pid + "/ns/net")
	if err != nil {
		return 0
	}
	st, _ := fi.Sys().(*syscall.Stat_t)
	return uint64(st.Ino)
}

// attached takes note of a device and its queues.
func (s *state) attached(dev device, queues []queue, l tun.Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = s.refusedLocked()
	s.queues = queues
	s.device = status.Device{Name: dev.Name(), Workers: len(queues), Offloads: []string{}}
	s.linkedLocked(l)
	if f := dev.Features(); f != (tun.Features{}) {
		s.device.Offloads = strings.Fields(f.String())
	}
}

// linked takes note of a change of the device.
func (s *state) linked(l tun.Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.linkedLocked(l)
}

func (s *state) linkedLocked(l tun.Link) {
	s.device.Present = !l.Gone
	s.device.Up, s.device.MTU = l.Up, l.MTU
	s.device.Foreign, s.device.Ownerless, s.device.Repaired = l.Foreign, l.Ownerless, l.Repaired
}

// reloaded counts a reload.
func (s *state) reloaded(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok {
		s.reloads.OK++
	} else {
		s.reloads.Failed++
	}
}

// refused returns how many packets the kernel has not taken from each queue,
// since the start.
func (s *state) refused() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusedLocked()
}

func (s *state) refusedLocked() []uint64 {
	sum := make([]uint64, max(len(s.before), len(s.queues)))
	copy(sum, s.before)
	for i, q := range s.queues {
		sum[i] += q.Failed()
	}
	return sum
}
