package testbed

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// Serve starts the servers on both sides, unless it has been done. Start does it.
func (b *Bed) Serve() error {
	if b.served {
		return nil
	}
	b.served = true
	_, err1 := b.Server.ServeTransfers(at(Server4, transferPort))
	_, err2 := b.Client.ServeTransfers(at(Service6, transferPort))
	_, err3 := b.Server.ServeUDPEcho(at(Server4, echoPort))
	_, err4 := b.Client.ServeUDPEcho(at(Service6, echoPort))
	return errors.Join(err1, err2, err3, err4, b.serveSeen(), b.serveSink())
}

// at joins an address and a port.
func at(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

// Check sends a little of everything through the gateway: echoes and a transfer
// in both directions.
func (b *Bed) Check() error {
	if err := b.Alive(); err != nil {
		return err
	}
	if err := b.PingThrough(); err != nil {
		return err
	}
	for _, f := range flows {
		if _, err := f.transfer(b, 64<<10, patience); err != nil {
			return fmt.Errorf("testbed: %s: %w%s", f.name, err, b.lastWords())
		}
	}
	return nil
}

// PingThrough pings the server from the client and the service from the server,
// until each has answered.
func (b *Bed) PingThrough() error {
	for _, p := range []struct {
		from *netlab.Host
		to   netip.Addr
	}{{b.Client, ServerIn6}, {b.Server, Service4}} {
		var err error
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			if _, err = p.from.Ping(p.to, netlab.Echo{Size: 56, Timeout: 500 * time.Millisecond}); err == nil {
				break
			}
			if err := b.Alive(); err != nil {
				return err
			}
			if time.Now().After(end) {
				return fmt.Errorf("%w%s", err, b.lastWords())
			}
		}
	}
	return nil
}

// EchoUDP has datagrams of these sizes sent back by the server and by the
// service. Those that get lost are counted, not sent again; but a datagram that
// tells its sender of a smaller path MTU is not lost without reason.
func (b *Bed) EchoUDP(timeout time.Duration, sizes ...int) (echoed, lost int, err error) {
	for _, size := range sizes {
		for _, p := range []struct {
			from *netlab.Host
			to   netip.Addr
		}{{b.Client, ServerIn6}, {b.Server, Service4}} {
			var late net.Error
			switch err := echoUDP(p.from, p.to, size, timeout); {
			case err == nil:
				echoed++
			case errors.As(err, &late) && late.Timeout():
				lost++
			default:
				return echoed, lost, err
			}
		}
	}
	return echoed, lost, nil
}

func echoUDP(from *netlab.Host, to netip.Addr, size int, timeout time.Duration) (err error) {
	for range 4 { // links to learn of
		_, err = from.UDPEcho(at(to, echoPort), netlab.UDPEcho{Sizes: []int{size}, Timeout: timeout})
		if !errors.Is(err, unix.EMSGSIZE) {
			break
		}
	}
	return err
}

// A flow is a way to transfer bytes through the gateway.
type flow struct {
	name string
	run  func(from *netlab.Host, addr string, size int64, timeout time.Duration) (netlab.Transfer, error)
	four bool // opened by the IPv4 host
}

var flows = []flow{
	{"download", (*netlab.Host).Download, false},
	{"upload", (*netlab.Host).Upload, false},
	{"download by IPv4", (*netlab.Host).Download, true},
	{"upload by IPv4", (*netlab.Host).Upload, true},
}

func (f flow) transfer(b *Bed, size int64, timeout time.Duration) (netlab.Transfer, error) {
	if f.four {
		return f.run(b.Server, at(Service4, transferPort), size, timeout)
	}
	return f.run(b.Client, at(ServerIn6, transferPort), size, timeout)
}

// Traffic is TCP in both directions, opened from both sides, until Stop. Every
// transfer has to arrive whole, whatever happens to the gateway meanwhile: the
// SHA-256 of both ends is compared.
type Traffic struct {
	stop chan struct{}
	all  sync.WaitGroup

	Transfers, Bytes atomic.Int64 // that have arrived

	mu  sync.Mutex
	err error
}

// StartTraffic starts transfers of the given size, one after the other on each
// of the four ways.
func (b *Bed) StartTraffic(size int64) *Traffic {
	t := &Traffic{stop: make(chan struct{})}
	for _, f := range flows {
		t.all.Go(func() {
			for {
				select {
				case <-t.stop:
					return
				default:
				}
				if err := t.once(b, f, size); err != nil {
					t.mu.Lock()
					t.err = errors.Join(t.err, fmt.Errorf("testbed: %s: %w", f.name, err))
					t.mu.Unlock()
					return
				}
			}
		})
	}
	return t
}

// once transfers once. A connection that cannot be opened is tried again: where
// there is no device, the kernel of the gateway says so.
func (t *Traffic) once(b *Bed, f flow, size int64) error {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		tr, err := f.transfer(b, size, patience)
		var op *net.OpError
		switch {
		case err == nil:
			t.Transfers.Add(1)
			t.Bytes.Add(tr.Bytes)
			return nil
		case errors.As(err, &op) && op.Op == "dial" && time.Now().Before(end):
		default:
			return err
		}
	}
}

// AwaitTransfers waits until n more transfers have arrived.
func (t *Traffic) AwaitTransfers(n int64) error {
	want := t.Transfers.Load() + n
	for end := time.Now().Add(patience); t.Transfers.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return errors.Join(errors.New("testbed: transfers do not get on"), t.Err())
		}
		if err := t.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Err returns what has gone wrong so far.
func (t *Traffic) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Stop lets the transfers come to their end and returns what went wrong with any
// of them.
func (t *Traffic) Stop() error {
	close(t.stop)
	t.all.Wait()
	return t.Err()
}
