package clat

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	idgenRetries = 3           // IDGEN_RETRIES: RFC 7217 §7
	idgenDelay   = time.Second // IDGEN_DELAY
	maxClaims    = 64
)

// ErrDuplicate says that another node of the link has an address.
var ErrDuplicate = errors.New("another node has this address")

// A Conflict says that another node uses an address that was taken. The address is not
// answered for any more, as after Release.
type Conflict struct {
	Index int // of the interface
	Addr  netip.Addr
	By    net.HardwareAddr
}

// Neighbours claims addresses on the links of this machine without assigning them to an
// interface: it finds out whether another node has them, and answers for them. So the kernel
// does not take their packets as its own, but forwards them by its routes. All methods may be
// called by several goroutines.
type Neighbours struct {
	conflict func(Conflict)
	socket   *ndSocket
	start    time.Time
	wake     chan struct{} // of the goroutine of timers
	closed   chan struct{}
	running  sync.WaitGroup

	mu       sync.Mutex
	claims   map[claimKey]*claim
	isClosed bool
}

// A claimKey is an address on an interface.
type claimKey struct {
	index int
	addr  netip.Addr
}

// A claim is an address that is claimed on a link.
type claim struct {
	address
	on      linkFacts
	group   bool       // the solicited-node group was joined
	decided chan error // has the result of Claim; nil once it has been sent
}

// OpenNeighbours opens the sockets, in the network namespace of the calling thread, for all
// its interfaces, also those that come later. It needs CAP_NET_RAW; what is done later does
// not. conflict may be nil. It is called by a goroutine that does nothing else meanwhile. It
// must not call Claim or Close. On systems other than Linux the error is errors.ErrUnsupported.
func OpenNeighbours(conflict func(Conflict)) (*Neighbours, error) {
	s, err := openND()
	if err != nil {
		return nil, fmt.Errorf("clat: socket for neighbour discovery: %w", err)
	}
	n := newNeighbours(s, conflict)
	n.running.Go(func() { s.receive(n.received) })
	return n, nil
}

// newNeighbours returns Neighbours that receive nothing until something is due.
func newNeighbours(s *ndSocket, conflict func(Conflict)) *Neighbours {
	n := &Neighbours{
		conflict: conflict, socket: s, start: time.Now(),
		wake: make(chan struct{}, 1), closed: make(chan struct{}), claims: map[claimKey]*claim{},
	}
	n.running.Go(n.timers)
	n.running.Go(func() { s.watch(n.refresh) })
	return n
}

// Close releases all addresses and closes the sockets. Nothing runs after that.
func (n *Neighbours) Close() error {
	n.mu.Lock()
	if n.isClosed {
		n.mu.Unlock()
		return nil
	}
	n.isClosed = true
	for k, c := range n.claims {
		n.drop(k, c, net.ErrClosed)
	}
	n.mu.Unlock()
	close(n.closed)
	n.socket.wake()
	n.running.Wait()
	return n.socket.close()
}

// Claim claims an address on an interface, and returns when it is taken, about a second
// later: RFC 4862 §5.4. From then on it is answered for until Release. The error is
// ErrDuplicate if another node has the address. On a link without neighbour discovery it
// returns at once. An address that was taken already is not checked again: after the link
// was down it has to be released, and claimed anew.
func (n *Neighbours) Claim(ctx context.Context, index int, addr netip.Addr) error {
	if err := n.claim(ctx, index, addr); err != nil {
		return fmt.Errorf("clat: claim %s: %w", addr, err)
	}
	return nil
}

func (n *Neighbours) claim(ctx context.Context, index int, addr netip.Addr) error {
	if !addr.Is6() || addr.Is4In6() || addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback() {
		return errors.New("not a unicast IPv6 address")
	}
	own, err := n.socket.assigned(addr)
	if err != nil {
		return err
	}
	on, err := n.socket.facts(index)
	switch {
	case err != nil:
		return err
	case own:
		return errors.New("an address of this machine") // which would keep its packets
	case !on.running:
		return errors.New("the link is down")
	}
	decided, err := n.begin(claimKey{index, addr}, on)
	if err != nil || decided == nil {
		return err
	}
	select {
	case err := <-decided:
		return err
	case <-ctx.Done():
		n.Release(index, addr)
		return ctx.Err()
	}
}

// begin begins a claim. It returns a channel for the result, or nil if the address is taken.
func (n *Neighbours) begin(k claimKey, on linkFacts) (<-chan error, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isClosed {
		return nil, net.ErrClosed
	}
	if old := n.claims[k]; old != nil {
		if old.state == taken {
			return nil, nil
		}
		return nil, errors.New("is being claimed already")
	}
	if len(n.claims) == maxClaims {
		return nil, errors.New("too many addresses")
	}
	c := &claim{address: newAddress(n.now(), k.addr, newNonce(), on), on: on}
	if !on.silent {
		if err := n.join(k, c); err != nil {
			return nil, err
		}
	}
	n.claims[k] = c
	if c.state == taken {
		return nil, nil
	}
	decided := make(chan error, 1)
	c.decided = decided
	n.poll(k, c) // sends the solicitation
	n.wakeUp()
	return decided, nil
}

// Release ends a claim: the address is answered for no more.
func (n *Neighbours) Release(index int, addr netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := claimKey{index, addr}
	if c := n.claims[k]; c != nil {
		n.drop(k, c, errors.New("released"))
	}
}

// drop forgets a claim. n.mu is held.
func (n *Neighbours) drop(k claimKey, c *claim, why error) {
	delete(n.claims, k)
	if c.group && !n.grouped(k) {
		n.socket.leave(k.index, solicitedNode(k.addr))
	}
	c.decide(why)
}

// join joins the solicited-node group of an address, unless another address has it. n.mu is held.
func (n *Neighbours) join(k claimKey, c *claim) error {
	if !n.grouped(k) {
		if err := n.socket.join(k.index, solicitedNode(k.addr)); err != nil {
			return fmt.Errorf("join %s: %w", solicitedNode(k.addr), err)
		}
	}
	c.group = true
	return nil
}

// grouped reports whether the group of an address is joined for another one. n.mu is held.
func (n *Neighbours) grouped(k claimKey) bool {
	for other, c := range n.claims {
		if other != k && other.index == k.index && c.group && solicitedNode(other.addr) == solicitedNode(k.addr) {
			return true
		}
	}
	return false
}

// decide sends the result of Claim, once.
func (c *claim) decide(err error) {
	if c.decided != nil {
		c.decided <- err
		c.decided = nil
	}
}

// poll does what is due for a claim, and returns when something is due again. n.mu is held.
func (n *Neighbours) poll(k claimKey, c *claim) time.Duration {
	m, send, next := c.poll(n.now(), c.on)
	if c.address.state == taken {
		c.decide(nil)
	}
	if send {
		if err := n.send(k.index, m, multicastMAC(m.dst), c.on); err != nil && c.state == tentative {
			n.drop(k, c, err)
		}
	}
	return next
}

// send sends a message.
func (n *Neighbours) send(index int, m ndMessage, to mac, on linkFacts) error {
	b := m.packet()
	if !on.hasMAC {
		return n.socket.send(index, nil, b)
	}
	return n.socket.send(index, to[:], b)
}

// timers does what is due, until Close.
func (n *Neighbours) timers() {
	timer := time.NewTimer(never)
	defer timer.Stop()
	for {
		select {
		case <-n.closed:
			return
		case <-n.wake:
		case <-timer.C:
		}
		// A machine with much to do may be late: an answer that has come counts.
		n.socket.drain(n.received)
		timer.Reset(n.step())
	}
}

// step does what is due for all claims, and returns for how long there is nothing else to do.
func (n *Neighbours) step() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := never
	for k, c := range n.claims {
		next = min(next, n.poll(k, c))
	}
	return next - n.now()
}

func (n *Neighbours) wakeUp() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// received takes what the socket has received.
func (n *Neighbours) received(index int, from mac, b []byte) {
	m, err := parseND(b)
	if err != nil {
		return
	}
	k := claimKey{index, m.target}
	n.mu.Lock()
	c := n.claims[k]
	lost := c != nil && n.answer(k, c, m, from)
	n.mu.Unlock()
	if lost && n.conflict != nil {
		n.conflict(Conflict{index, m.target, net.HardwareAddr(from[:])})
	}
}

// answer answers a message about an address. It reports whether the address was taken, and
// is lost. n.mu is held.
func (n *Neighbours) answer(k claimKey, c *claim, m ndMessage, from mac) bool {
	was := c.state
	reply, send := c.receive(n.now(), m, from, c.on)
	if c.state == duplicate {
		n.drop(k, c, fmt.Errorf("%w: %s", ErrDuplicate, net.HardwareAddr(from[:])))
		return was == taken
	}
	if send {
		to := multicastMAC(reply.dst)
		if !reply.dst.IsMulticast() {
			if to = from; m.hasLink && m.link[0]&1 == 0 {
				to = m.link
			}
		}
		n.send(k.index, reply, to, c.on) // if it is lost, the neighbour asks again
	}
	return false
}

// refresh learns what has changed of the links.
func (n *Neighbours) refresh() {
	n.mu.Lock()
	defer n.mu.Unlock()
	facts := map[int]linkFacts{}
	for k, c := range n.claims {
		on, known := facts[k.index]
		if !known {
			on, _ = n.socket.facts(k.index) // an interface that has gone does not run
			facts[k.index] = on
		}
		if !on.running {
			if c.state == tentative {
				n.drop(k, c, errors.New("the link is down"))
			}
			continue
		}
		changed := on.mac != c.on.mac
		if c.on = on; changed {
			c.moved(n.now())
		}
	}
	n.wakeUp()
}

func (n *Neighbours) now() time.Duration { return time.Since(n.start) }

// newNonce returns a nonce that is not zero.
func newNonce() (b [6]byte) {
	for b == [6]byte{} {
		rand.Read(b[:])
	}
	return b
}

// ClaimStable claims a stable address: that of counter 0, or of the next ones if it is
// reserved, avoid reports true for it, or another node has it. avoid may be nil. After three
// such addresses it gives up, and the error is ErrDuplicate: RFC 7217 §6.
func (n *Neighbours) ClaimStable(ctx context.Context, index int, s Stable, avoid func(netip.Addr) bool) (netip.Addr, error) {
	if err := s.Check(); err != nil {
		return netip.Addr{}, err
	}
	err := fmt.Errorf("clat: %s: %w", s.Prefix, ErrDuplicate)
	for counter := range uint32(1 + idgenRetries) {
		a, ok := s.Address(counter)
		if !ok || avoid != nil && avoid(a) {
			continue
		}
		if err = n.Claim(ctx, index, a); err == nil {
			return a, nil
		}
		if !errors.Is(err, ErrDuplicate) || counter == idgenRetries {
			break
		}
		if !pause(ctx, idgenDelay) {
			return netip.Addr{}, ctx.Err()
		}
	}
	return netip.Addr{}, err
}

// pause waits for a random time. It reports false if ctx is done first.
func pause(ctx context.Context, longest time.Duration) bool {
	d, err := rand.Int(rand.Reader, big.NewInt(int64(longest)))
	if err != nil {
		return false
	}
	t := time.NewTimer(time.Duration(d.Int64()))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
