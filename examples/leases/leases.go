// Package leases is a translate.Dynamic whose leases are in a store of the caller, for
// example a table of customers that several gateways share.
package leases

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// A Store has the leases.
type Store interface {
	// Assign returns the IPv4 address of an IPv6 host. If the host has none, Assign
	// leases one. It reports false if the host may not have one.
	Assign(ctx context.Context, host netip.Addr) (addr netip.Addr, ok bool, err error)
	// All returns all leases: IPv4 addresses by their hosts.
	All(ctx context.Context) (map[netip.Addr]netip.Addr, error)
}

// Leases is a copy of the store in memory. The store is queried for the first packet of
// a new host, and in Refresh for all leases. The zero value cannot be used; see New.
type Leases struct {
	store   Store
	timeout time.Duration
	most    int

	// newHosts is locked during a query, so that there is one at a time. mu is not, so
	// that packets of hosts with a lease do not wait.
	newHosts sync.Mutex
	queried  int // since the last Refresh

	mu     sync.RWMutex
	addrs  map[[16]byte][4]byte // by host
	hosts  map[[4]byte][16]byte // the same, by address
	denied map[[16]byte]bool    // hosts that the store has denied an address since the last Refresh

	generation atomic.Uint64 // counts the calls of Refresh
}

var _ translate.Dynamic = (*Leases)(nil)

// New reads all leases. A query may take as long as timeout; meanwhile, all packets of
// the worker wait. Between two calls of Refresh there are at most most queries for new
// hosts, since it is easy to forge the source of a packet.
func New(s Store, timeout time.Duration, most int) (*Leases, error) {
	l := &Leases{store: s, timeout: timeout, most: most}
	return l, l.Refresh()
}

// Refresh reads all leases again. A lease that has ended in the store is not used for
// the next batch of packets. After an error nothing has changed.
func (l *Leases) Refresh() error {
	l.newHosts.Lock()
	defer l.newHosts.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	all, err := l.store.All(ctx)
	if err != nil {
		return fmt.Errorf("leases: %w", err)
	}
	addrs := make(map[[16]byte][4]byte, len(all))
	hosts := make(map[[4]byte][16]byte, len(all))
	for host, addr := range all {
		if !host.Is6() || !addr.Is4() {
			return fmt.Errorf("leases: %v has %v", host, addr)
		}
		if other, taken := hosts[addr.As4()]; taken {
			return fmt.Errorf("leases: %v and %v have %v", host, netip.AddrFrom16(other), addr)
		}
		addrs[host.As16()], hosts[addr.As4()] = addr.As4(), host.As16()
	}
	l.queried = 0
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addrs, l.hosts, l.denied = addrs, hosts, make(map[[16]byte]bool)
	l.generation.Add(1)
	return nil
}

// Generation changes when leases may have ended.
func (l *Leases) Generation() uint64 { return l.generation.Load() }

// Addr returns the address that host has leased.
func (l *Leases) Addr(host [16]byte) (addr [4]byte, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	addr, ok = l.addrs[host]
	return addr, ok
}

// Host returns the host that has leased addr.
func (l *Leases) Host(addr [4]byte) (host [16]byte, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	host, ok = l.hosts[addr]
	return host, ok
}

// Assign is Addr, but queries the store for a host without a lease.
func (l *Leases) Assign(host [16]byte) (addr [4]byte, ok bool) {
	l.mu.RLock()
	addr, ok = l.addrs[host]
	denied := l.denied[host]
	l.mu.RUnlock()
	if ok || denied {
		return addr, ok
	}
	l.newHosts.Lock()
	defer l.newHosts.Unlock()
	if addr, ok = l.Addr(host); ok || l.queried == l.most {
		return addr, ok // another worker has queried the store, or there were too many queries
	}
	l.queried++
	return l.query(host)
}

// query queries the store and keeps the answer. After an error, the next packet of the
// host queries it again. newHosts is locked.
func (l *Leases) query(host [16]byte) (addr [4]byte, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	leased, ok, err := l.store.Assign(ctx, netip.AddrFrom16(host))
	if err != nil {
		return addr, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || !leased.Is4() {
		l.denied[host] = true
		return addr, false
	}
	addr = leased.As4()
	if _, taken := l.hosts[addr]; taken { // two hosts that share an address would get each other's packets
		l.denied[host] = true
		return [4]byte{}, false
	}
	l.addrs[host], l.hosts[addr] = addr, host
	return addr, true
}
