package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/safepath"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/translate"
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
	tab     *translate.Table
	maps    status.Maps
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

// mapped takes note of the tables, with so many maps of the map-file.
func (v *vitals) mapped(tab *translate.Table, config, mapFile int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tab = tab
	v.maps = status.Maps{Config: config, MapFile: mapFile}
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

// tell makes a report. It may be called from any goroutine once the daemon is
// built.
func (d *daemon) tell(what status.What) *status.Report {
	v := &d.vitals
	r := &status.Report{
		Version: version(),
		PID:     os.Getpid(),
		Netns:   v.netns,
		Config:  d.conf.File,

		ConfigModified: v.configModified,

		Started: v.started,
		Uptime:  uint64(time.Since(v.started) / time.Second),
		Pool:    d.lenders.figures(),
	}
	v.mu.Lock()
	r.Device, r.Maps, r.Reloads = v.device, v.maps, v.reloads
	r.Device.Refused = v.refusedLocked()
	tab := v.tab
	v.mu.Unlock()

	s := d.trans.Stats()
	r.Packets = countsOf(s)
	r.ErrorsHeldBack, r.MTUErrorsHeldBack = s.ErrorsHeldBack, s.MTUErrorsHeldBack
	switch what {
	case status.Leases:
		r.LeaseList = d.lenders.list()
	case status.MapList:
		r.MapList = &status.List[status.Map]{Entries: []status.Map{}}
		for m := range tab.Maps() {
			r.MapList.Add(func() status.Map { return status.Map{IPv4: m.IPv4.String(), IPv6: m.IPv6.String()} })
		}
	}
	return r
}

// countsOf lists the counters that have counted anything.
func countsOf(s translate.Stats) []status.Count {
	counts := []status.Count{}
	for o, c := range s.All() {
		counts = append(counts, status.Count{
			Direction: o.Direction.String(),
			Verdict:   o.Verdict.String(),
			Reason:    o.Reason.String(),
			Packets:   c.Packets,
			Octets:    c.Octets,
		})
	}
	return counts
}

// figures returns the figures of all pools together, nil if there is none.
func (ls lenders) figures() *status.Pool {
	if len(ls) == 0 {
		return nil
	}
	s := ls.stats()
	return &status.Pool{Size: s.Size, Held: s.Held, Dormant: s.Dormant, Refused: s.Refused}
}

// list lists the leases, pool by pool in the order of their addresses.
func (ls lenders) list() *status.List[status.Lease] {
	list := &status.List[status.Lease]{Entries: []status.Lease{}}
	for _, l := range ls {
		for lease := range l.pool.All() {
			list.Add(func() status.Lease {
				state := "dormant"
				if lease.Held {
					state = "held"
				}
				return status.Lease{Addr: lease.Addr.String(), Host: lease.Host.String(), State: state, Used: lease.Used}
			})
		}
	}
	return list
}

// openStatus opens the socket on which the daemon tells how it is. At its usual
// place that is a courtesy, and nothing is lost where it cannot be had; one that
// the configuration asks for has to work. In a directory that other users can
// write, one of them could answer in our name.
func (d *daemon) openStatus(id identity) (err error) {
	switch path := d.conf.StatusSocket; path {
	case taygaconf.NoStatusSocket:
	case "":
		path = status.DefaultPath(d.conf.TunDevice)
		d.madeDir = os.Mkdir(status.Dir, os.FileMode(created(0o755))) == nil
		if err := checkSocketDir(path, id); err != nil {
			d.log.warningf("No status socket: %v", err)
			return nil
		}
		d.socket, _ = status.Listen(path, id.gid, d.o.chroot)
	default:
		err := checkSocketDir(path, id)
		if err == nil {
			d.socket, err = status.Listen(path, id.gid, d.o.chroot)
		}
		if err != nil {
			return fmt.Errorf("status-socket: %w", err)
		}
	}
	return nil
}

// checkSocketDir refuses a directory that others than root and the daemon's user
// can write. What cannot be opened at all is for Listen to say.
func checkSocketDir(path string, id identity) error {
	dir, err := safepath.Open(filepath.Dir(path))
	if err != nil {
		return nil
	}
	defer dir.Close()
	if by := strangers(dir.Writers, id); len(by) > 0 && !by[0].Sticky {
		return fmt.Errorf("%s: %v: choose a directory that only root and the user of tayga can write", path, by[0])
	}
	return nil
}

// closeStatus takes the socket away, and its directory if that is ours.
func (d *daemon) closeStatus() {
	if d.socket != nil {
		d.socket.Close()
	}
	if d.madeDir && !d.o.chroot {
		os.Remove(status.Dir) // fails if another daemon has its socket there
	}
}

// askStatus prints how the running daemon is.
func askStatus(o options, stdout, stderr io.Writer) int {
	what, err := status.ParseWhat(o.statusOf)
	if err != nil {
		complain(stderr, err)
		return 1
	}
	path, err := statusPath(o)
	if err != nil {
		complain(stderr, err)
		return 1
	}
	r, err := status.Ask(path, what)
	if err != nil {
		complain(stderr, err)
		return 1
	}
	if r.Note = whose(path, netnsInode("self"), r.Netns); r.Note != "" {
		complain(stderr, errors.New(r.Note))
	}
	if o.json {
		err = writeJSON(stdout, r)
	} else {
		err = r.WriteTable(stdout)
	}
	if err != nil {
		complain(stderr, err)
		return 1
	}
	return 0
}

// whose says that the figures are not those of the network namespace own, or may not
// be: the socket is found by the name of the device, which others have as well. It
// goes with the figures, wherever these go.
func whose(path string, own, daemon uint64) string {
	switch {
	case own == 0 || daemon == 0:
		return fmt.Sprintf("it is not known whether the daemon that listens on %s runs in this network namespace", path)
	case own != daemon:
		return fmt.Sprintf("the daemon that listens on %s runs in another network namespace", path)
	}
	return ""
}

// statusPath finds the socket of the daemon with this configuration. A file that
// has got errors since the daemon started will do as far as it goes.
func statusPath(o options) (string, error) {
	c, problems := taygaconf.Load(o.configFile, os.LookupEnv)
	switch {
	case c.StatusSocket == taygaconf.NoStatusSocket:
		return "", fmt.Errorf("%s: status-socket no: there is no socket to ask on", o.configFile)
	case c.StatusSocket != "":
		return c.StatusSocket, nil
	case c.TunDevice != "":
		return status.DefaultPath(c.TunDevice), nil
	}
	i := slices.IndexFunc(problems, func(p taygaconf.Problem) bool { return !p.Warning })
	if i < 0 {
		return "", fmt.Errorf("%s: no tun-device", o.configFile)
	}
	return "", problems[i]
}
