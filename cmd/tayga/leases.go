package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
)

// leaseFile holds the leases across restarts. It is addressed by its bare name:
// the working directory is data-dir, in a jail and out of it.
const leaseFile = "dynamic.map"

// leaseFileOf returns the name of the file with the leases of pools that are bound
// to a prefix, after the first of them: dynamic-10.1.0.0_24.map.
func leaseFileOf(pref64 netip.Prefix, prefixes []netip.Prefix) string {
	if !pref64.IsValid() {
		return leaseFile
	}
	first := prefixes[0]
	return fmt.Sprintf("dynamic-%s_%d.map", first.Addr(), first.Bits())
}

const (
	// upkeepInterval is how long after one write of the file the next may come.
	upkeepInterval = 45 * time.Second
	// rewriteInterval is how old the file may get although no lease began or
	// ended, since the times in it go stale: a quarter of 14 days.
	rewriteInterval = 302400 * time.Second
	// damageReports is how many bad lines are reported one by one.
	damageReports = 20
)

// leaseFiles are the pools of a daemon with their files, in the order of tayga.conf;
// there may be none.
type leaseFiles []*leases

// newLeaseFiles gives every pool its file.
func newLeaseFiles(c *taygaconf.Config, pools []*gateway.Pool, log *logger) (all leaseFiles) {
	for _, p := range pools {
		all = append(all, &leases{pool: p.Pool, savedFile: savedFile{file: leaseFileOf(p.Pref64, p.Prefixes), dir: c.DataDir, log: log}})
	}
	return all
}

func (ls leaseFiles) load(fixed func(host netip.Addr) bool) {
	for _, l := range ls {
		l.load(fixed)
	}
}

func (ls leaseFiles) upkeep(now time.Time) {
	for _, l := range ls {
		l.upkeep(now)
	}
}

func (ls leaseFiles) save(now time.Time) {
	for _, l := range ls {
		l.save(now)
	}
}

// leases is a pool with its file.
type leases struct {
	savedFile
	pool *pool.Pool

	mu      sync.Mutex // one save at a time; guards what follows
	saved   uint64     // pool.Changes of the last save
	savedAt time.Time  // zero if not saved yet
	retryAt time.Time  // not before, after a failure
}

// load reads the file, if there is one. Leases of hosts that have got a fixed
// mapping since are left out.
func (l *leases) load(fixed func(host netip.Addr) bool) {
	if l.dir == "" {
		return
	}
	path := l.dir + "/" + l.file
	f, err := taygaconf.OpenRegular(l.file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return
	case err != nil:
		l.log.errorf("Unable to open %s: %v: starting without the leases in it", path, err)
		l.setAside(damaged)
		return
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil {
		l.less = ^fi.Mode().Perm()
	}
	bad, unfit := 0, 0
	n, err := l.pool.Load(f, func(lease pool.Lease) error {
		if fixed(lease.Host) {
			return errors.New("host has a fixed mapping")
		}
		return nil
	}, func(e *pool.LineError) {
		if e.Lease {
			unfit++
		}
		if bad++; bad <= damageReports {
			l.log.warningf("%s:%d: ignored: %v: %q", path, e.Line, e.Err, e.Text)
		}
	})
	if bad > damageReports {
		l.log.warningf("%s: %d more lines ignored", path, bad-damageReports)
	}
	if err != nil {
		l.log.errorf("Unable to read %s: %v", path, err)
	}
	switch {
	case bad > unfit || err != nil:
		l.preserve(f, damaged)
	case unfit > 0:
		l.log.warningf("%s: %d leases left out: they no longer fit the configuration, or later ones took their place", path, unfit)
		l.preserve(f, old)
	}
	plural := "s"
	if n == 1 {
		plural = ""
	}
	l.log.infof("Loaded %d dynamic map%s from %s", n, plural, path)
	l.mu.Lock()
	l.saved = l.pool.Changes()
	l.mu.Unlock()
}

// upkeep is called about once a second, after that of the pools: it saves what has
// changed.
func (l *leases) upkeep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == "" || now.Before(l.retryAt) || now.Sub(l.savedAt) < upkeepInterval {
		return
	}
	if l.pool.Changes() != l.saved || now.Sub(l.savedAt) >= rewriteInterval {
		l.saveLocked(now)
	}
}

// save writes the file now.
func (l *leases) save(now time.Time) {
	if l.dir == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pool.Tick(now)
	l.saveLocked(now)
}

func (l *leases) saveLocked(now time.Time) {
	changes := l.pool.Changes()
	if err := l.replace(); err != nil {
		l.log.errorf("Unable to open %s/%s~~ for writing: %v: trying again in %v", l.dir, l.file, cause(err), upkeepInterval)
		l.retryAt = now.Add(upkeepInterval)
		return
	}
	l.saved, l.savedAt = changes, now
}

// replace writes the file. One that is not there gets the umask of the process, and
// no more than the one had that was there before.
func (l *leases) replace() error {
	fi, err := os.Stat(l.file)
	if errors.Is(err, os.ErrNotExist) {
		return pool.ReplaceFilePerm(l.file, os.FileMode(created(0o644))&^l.less, l.pool.Save)
	}
	if err == nil {
		l.less = ^fi.Mode().Perm()
	}
	return pool.ReplaceFile(l.file, l.pool.Save)
}

// cause strips what the message around it says already.
func cause(err error) error {
	var path *os.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
