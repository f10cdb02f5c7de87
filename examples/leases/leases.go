// Package leases is a translate.Dynamic whose leases live in a store of the
// caller's: a table of customers, say, that several gateways share.
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

// A Store knows who holds which address.
type Store interface {
	// Lend returns the IPv4 address of an IPv6 host, and lends one if it has
	// none. It reports false if the host is to have none.
	Lend(ctx context.Context, host netip.Addr) (addr netip.Addr, ok bool, err error)
	// All returns all leases: IPv4 addresses by their hosts.
	All(ctx context.Context) (map[netip.Addr]netip.Addr, error)
}

// Leases answers from memory. The store is asked about newcomers, by the packet
// that brings them, and for everything in Refresh. The zero value is no use;
// make one with New.
type Leases struct {
	store   Store
	timeout time.Duration
	most    int

	// newcomers is held while the store is asked: one question at a time. mu
	// never is, so that hosts that hold an address go on meanwhile.
	newcomers sync.Mutex
	asked     int // since the last Refresh

	mu      sync.RWMutex
	addrs   map[[16]byte][4]byte // by host
	hosts   map[[4]byte][16]byte // the same, by address
	refused map[[16]byte]bool    // hosts that the store has refused since then

	generation atomic.Uint64 // counts the calls of Refresh
}

var _ translate.Dynamic = (*Leases)(nil)

// New reads all leases. A question to the store may take as long as timeout:
// that long do all packets of a worker wait for a newcomer. Between two calls of
// Refresh no more than most newcomers are asked about, since the source of a
// packet is easily forged.
func New(s Store, timeout time.Duration, most int) (*Leases, error) {
	l := &Leases{store: s, timeout: timeout, most: most}
	return l, l.Refresh()
}

// Refresh takes over what the store has now. A lease that has ended there is
// gone for the next batch of packets. After an error everything is as it was.
func (l *Leases) Refresh() error {
	l.newcomers.Lock()
	defer l.newcomers.Unlock()
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
	l.asked = 0
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addrs, l.hosts, l.refused = addrs, hosts, make(map[[16]byte]bool)
	l.generation.Add(1)
	return nil
}

// Generation tells workers that leases may have ended.
func (l *Leases) Generation() uint64 { return l.generation.Load() }

// Addr returns the address that host holds.
func (l *Leases) Addr(host [16]byte) (addr [4]byte, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	addr, ok = l.addrs[host]
	return addr, ok
}

// Host returns the host that holds addr.
func (l *Leases) Host(addr [4]byte) (host [16]byte, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	host, ok = l.hosts[addr]
	return host, ok
}

// Assign is Addr, but asks the store about a host that it does not know.
func (l *Leases) Assign(host [16]byte) (addr [4]byte, ok bool) {
	l.mu.RLock()
	addr, ok = l.addrs[host]
	refused := l.refused[host]
	l.mu.RUnlock()
	if ok || refused {
		return addr, ok
	}
	l.newcomers.Lock()
	defer l.newcomers.Unlock()
	if addr, ok = l.Addr(host); ok || l.asked == l.most {
		return addr, ok // another worker has asked, or that's enough
	}
	l.asked++
	return l.ask(host)
}

// ask asks the store and remembers the answer; of an error only until the host
// sends again. newcomers is held.
func (l *Leases) ask(host [16]byte) (addr [4]byte, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	lent, ok, err := l.store.Lend(ctx, netip.AddrFrom16(host))
	if err != nil {
		return addr, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || !lent.Is4() {
		l.refused[host] = true
		return addr, false
	}
	addr = lent.As4()
	if _, taken := l.hosts[addr]; taken { // two hosts that share an address would get each other's packets
		l.refused[host] = true
		return [4]byte{}, false
	}
	l.addrs[host], l.hosts[addr] = addr, host
	return addr, true
}
