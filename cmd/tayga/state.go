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

// vitals is what the daemon knows of itself, beside what translator and pool
// count. Its main goroutine writes it; whoever asks for a report reads it.
type vitals struct {
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
func (v *vitals) begin(configFile string) {
	v.started = time.Now()
	v.netns = netnsInode("self")
	if fi, err := os.Stat(configFile); err == nil {
		v.configModified = fi.ModTime()
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
func (v *vitals) attached(dev device, queues []queue, l tun.Link) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.before = v.refusedLocked()
	v.queues = queues
	v.device = status.Device{Name: dev.Name(), Workers: len(queues), Offloads: []string{}}
	v.linkedLocked(l)
	if f := dev.Features(); f != (tun.Features{}) {
		v.device.Offloads = strings.Fields(f.String())
	}
}

// linked takes note of a change of the device.
func (v *vitals) linked(l tun.Link) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.linkedLocked(l)
}

func (v *vitals) linkedLocked(l tun.Link) {
	v.device.Present = !l.Gone
	v.device.Up, v.device.MTU = l.Up, l.MTU
	v.device.Foreign, v.device.Ownerless, v.device.Repaired = l.Foreign, l.Ownerless, l.Repaired
}

// reloaded counts a reload.
func (v *vitals) reloaded(ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if ok {
		v.reloads.OK++
	} else {
		v.reloads.Failed++
	}
}

// refused returns how many packets the kernel has not taken from each queue,
// since the start.
func (v *vitals) refused() []uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.refusedLocked()
}

func (v *vitals) refusedLocked() []uint64 {
	sum := make([]uint64, max(len(v.before), len(v.queues)))
	copy(sum, v.before)
	for i, q := range v.queues {
		sum[i] += q.Refused()
	}
	return sum
}
