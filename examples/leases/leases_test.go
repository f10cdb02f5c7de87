package leases_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/examples/leases"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// A table stands for a database: customers in a prefix get addresses one after
// the other.
type table struct {
	mu        sync.Mutex
	customers netip.Prefix
	next      netip.Addr
	rows      map[netip.Addr]netip.Addr
	questions int
	down      error
}

func newTable() *table {
	return &table{
		customers: netip.MustParsePrefix("2001:db8:c::/48"),
		next:      netip.MustParseAddr("192.0.2.10"),
		rows:      make(map[netip.Addr]netip.Addr),
	}
}

func (t *table) Assign(_ context.Context, host netip.Addr) (netip.Addr, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.questions++
	if t.down != nil || !t.customers.Contains(host) {
		return netip.Addr{}, false, t.down
	}
	if _, ok := t.rows[host]; !ok {
		t.rows[host] = t.next
		t.next = t.next.Next()
	}
	return t.rows[host], true, nil
}

func (t *table) All(context.Context) (map[netip.Addr]netip.Addr, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[netip.Addr]netip.Addr)
	for host, addr := range t.rows {
		all[host] = addr
	}
	return all, t.down
}

func (t *table) set(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

// A host is translated with the address that the store has for it.
func Example() {
	store := newTable()
	dyn, err := leases.New(store, time.Second, 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	tab, err := translate.NewTable(translate.TableConfig{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")},
		Pools: []translate.Pool{{
			Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, // dyn is asked about these only
			Dynamic:  dyn,
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := translate.New(translate.Config{
		IPv4: netip.MustParseAddr("192.0.0.2"), IPv6: netip.MustParseAddr("2001:db8::1"),
	}, tab)
	if err != nil {
		fmt.Println(err)
		return
	}
	w := t.NewWorker()
	for _, host := range []string{"2001:db8:c::7", "2001:db8:c::8", "2001:db8:c::7", "2001:db8:bad::1"} {
		b := packettest.IP(packettest.Header{
			Src: netip.MustParseAddr(host), Dst: netip.MustParseAddr("64:ff9b::8.8.8.8"),
		}, packettest.UDP(1000, 53, nil))
		switch out, res := w.Append(0, nil, b); res.Verdict {
		case translate.Forward:
			fmt.Println(host, "has", netip.AddrFrom4([4]byte(out[12:])))
		default:
			fmt.Println(host, res.Verdict, res.Reason)
		}
	}
	fmt.Println(store.questions, "questions")
	// Output:
	// 2001:db8:c::7 has 192.0.2.10
	// 2001:db8:c::8 has 192.0.2.11
	// 2001:db8:c::7 has 192.0.2.10
	// 2001:db8:bad::1 reply no-source
	// 3 questions
}

func host(n byte) [16]byte  { return [16]byte{0x20, 1, 0x0d, 0xb8, 0, 0x0c, 15: n} }
func alien(n byte) [16]byte { return [16]byte{0x20, 1, 0x0d, 0xb8, 0, 0x0b, 15: n} }

// Leases that begin and end elsewhere are taken over by Refresh.
func TestRefresh(t *testing.T) {
	store := newTable()
	l, err := leases.New(store, time.Second, 100)
	require.NoError(t, err)
	_, ok := l.Assign(host(1))
	require.True(t, ok)
	store.set(func() {
		clear(store.rows)
		store.rows[netip.AddrFrom16(host(2))] = netip.MustParseAddr("192.0.2.99")
	})
	require.NoError(t, l.Refresh())
	_, ok = l.Addr(host(1))
	assert.False(t, ok, "ended")
	addr, ok := l.Addr(host(2))
	assert.True(t, ok)
	h, ok := l.Host(addr)
	assert.True(t, ok)
	assert.Equal(t, host(2), h)

	// A store that is down, or contradicts itself, changes nothing.
	for _, breakIt := range []func(){
		func() { store.down = errors.New("no route to host") },
		func() { store.down, store.rows[netip.AddrFrom16(host(3))] = nil, addrOf(addr) },
		func() { clear(store.rows); store.rows[addrOf(addr)] = addrOf(addr) },
	} {
		store.set(breakIt)
		assert.ErrorContains(t, l.Refresh(), "leases: ")
		_, ok = l.Addr(host(2))
		assert.True(t, ok)
	}
	_, err = leases.New(store, time.Second, 100)
	assert.Error(t, err)
}

func addrOf(a [4]byte) netip.Addr { return netip.AddrFrom4(a) }

// Strangers are asked about once, and all newcomers together no more often than
// allowed; a store that is down is asked again.
func TestQuestions(t *testing.T) {
	store := newTable()
	l, err := leases.New(store, time.Second, 10)
	require.NoError(t, err)
	for range 5 {
		_, ok := l.Assign(alien(1))
		assert.False(t, ok)
	}
	assert.Equal(t, 1, store.questions)
	store.down = errors.New("no route to host")
	_, ok := l.Assign(host(1))
	assert.False(t, ok)
	store.down = nil
	_, ok = l.Assign(host(1))
	assert.True(t, ok)
	assert.Equal(t, 3, store.questions)
	for n := range byte(100) {
		l.Assign(alien(n))
	}
	assert.Equal(t, 10, store.questions)
	_, ok = l.Assign(host(2))
	assert.False(t, ok, "no more questions")
	require.NoError(t, l.Refresh())
	_, ok = l.Assign(host(2))
	assert.True(t, ok)
	// An address that a host has leased here is not assigned to another, whatever the store says.
	store.set(func() { store.next = netip.MustParseAddr("192.0.2.10") })
	_, ok = l.Assign(host(3))
	assert.False(t, ok)
}

// Many workers, one answer; for the race detector, too.
func TestManyWorkers(t *testing.T) {
	store := newTable()
	l, err := leases.New(store, time.Second, 1000)
	require.NoError(t, err)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range byte(50) {
				addr, ok := l.Assign(host(n))
				assert.True(t, ok)
				h, ok := l.Host(addr)
				assert.True(t, ok)
				assert.Equal(t, host(n), h)
			}
		})
	}
	all.Go(func() {
		for range 20 {
			assert.NoError(t, l.Refresh())
		}
	})
	all.Wait()
	assert.Len(t, store.rows, 50)
}

// A host that holds an address costs no allocation.
func TestHitsAllocateNothing(t *testing.T) {
	l, err := leases.New(newTable(), time.Second, 10)
	require.NoError(t, err)
	addr, _ := l.Assign(host(1))
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		l.Assign(host(1))
		l.Host(addr)
	}))
}
