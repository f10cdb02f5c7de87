package clat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// patience limits how long a test waits for what has to come.
const patience = 30 * time.Second

// A link is two hosts on one link: one with Neighbours, the other with the kernel alone.
type link struct {
	t          *testing.T
	host, far  *netlab.Host
	index      int // of the host's interface up
	neighbours *Neighbours
	conflicts  chan Conflict
}

func newLink(t *testing.T) *link {
	t.Helper()
	lab := netlab.New(t)
	l := &link{t: t, host: lab.Host("host"), far: lab.Host("far"), conflicts: make(chan Conflict, 16)}
	lab.Link(l.host, "up", l.far, "down", 1500)
	l.host.Addr("up", "2001:db8:1::1/64")
	l.far.Addr("down", "2001:db8:1::2/64")
	l.neighbours, l.index = l.open(l.host, "up", func(c Conflict) { l.conflicts <- c })
	return l
}

// open opens Neighbours in a host, until the test ends.
func (l *link) open(h *netlab.Host, ifname string, conflict func(Conflict)) (n *Neighbours, index int) {
	l.t.Helper()
	if err := h.Do(func() (err error) {
		ifi, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		index = ifi.Index
		n, err = OpenNeighbours(conflict)
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := n.Close(); err != nil {
			l.t.Errorf("Close: %v", err)
		}
	})
	return n, index
}

func (l *link) claim(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return l.neighbours.Claim(ctx, l.index, netip.MustParseAddr(addr))
}

// reachable has the far host resolve an address, and returns whether that succeeds.
func (l *link) reachable(addr string) bool {
	l.t.Helper()
	return l.resolve(addr) != unix.NUD_FAILED
}

// resolve deletes what the far host knows of an address, makes it look for that, and returns
// the state of its entry when it is decided.
func (l *link) resolve(addr string) (state int) {
	l.t.Helper()
	err := l.far.Do(func() error {
		down, err := netlink.LinkByName("down")
		if err != nil {
			return err
		}
		updates, done := make(chan netlink.NeighUpdate, 64), make(chan struct{})
		defer close(done)
		if err := netlink.NeighSubscribe(updates, done); err != nil {
			return err
		}
		entry := &netlink.Neigh{LinkIndex: down.Attrs().Index, Family: unix.AF_INET6, IP: net.ParseIP(addr)}
		netlink.NeighDel(entry)
		c, err := net.Dial("udp6", net.JoinHostPort(addr, "9"))
		if err != nil {
			return err
		}
		defer c.Close()
		c.Write([]byte{0})
		// An advertisement that was not solicited makes it stale, and then delayed.
		return awaitState(updates, addr, &state, unix.NUD_REACHABLE, unix.NUD_STALE, unix.NUD_DELAY, unix.NUD_FAILED)
	})
	if err != nil {
		l.t.Fatalf("%s: %v", addr, err)
	}
	return state
}

// awaitState waits until the entry of an address has one of some states.
func awaitState(updates <-chan netlink.NeighUpdate, addr string, state *int, wanted ...int) error {
	timeout := time.After(patience)
	for {
		select {
		case u := <-updates:
			for _, w := range wanted {
				if u.Type == unix.RTM_NEWNEIGH && u.IP.Equal(net.ParseIP(addr)) && u.State == w {
					*state = u.State
					return nil
				}
			}
		case <-timeout:
			return errors.New("no event")
		}
	}
}

// TestClaim: another node resolves an address that is claimed, and no more once it is
// released. It is not an address of the host.
func TestClaim(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	const addr = "2001:db8:1::c1a7"
	if l.reachable(addr) {
		t.Fatal("it is reachable before")
	}
	if err := l.claim(addr); err != nil {
		t.Fatal(err)
	}
	if !l.reachable(addr) {
		t.Error("no answer")
	}
	l.host.Do(func() error {
		addrs, err := net.InterfaceAddrs()
		for _, a := range addrs {
			if a.(*net.IPNet).IP.Equal(net.ParseIP(addr)) {
				t.Error("it is assigned to an interface")
			}
		}
		return err
	})
	l.neighbours.Release(l.index, netip.MustParseAddr(addr))
	if l.reachable(addr) {
		t.Error("an answer after Release")
	}
}

// TestClaimConflict: the kernel of another node has the address already, and answers.
func TestClaimConflict(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	if err := l.claim("2001:db8:1::2"); !errors.Is(err, ErrDuplicate) {
		t.Errorf("%v", err)
	}
}

// TestClaimDefended: the kernel of another node wants to have an address that is taken, and
// finds that it is a duplicate.
func TestClaimDefended(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	const addr = "2001:db8:1::c1a7"
	if err := l.claim(addr); err != nil {
		t.Fatal(err)
	}
	l.far.Sysctl("net.ipv6.conf.down.accept_dad", "1")
	l.far.Sysctl("net.ipv6.conf.down.dad_transmits", "1")
	err := l.far.Do(func() error {
		down, err := netlink.LinkByName("down")
		if err != nil {
			return err
		}
		updates, done := make(chan netlink.AddrUpdate, 64), make(chan struct{})
		defer close(done)
		if err := netlink.AddrSubscribe(updates, done); err != nil {
			return err
		}
		a, err := netlink.ParseAddr(addr + "/64")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(down, a); err != nil {
			return err
		}
		timeout := time.After(patience)
		for {
			select {
			case u := <-updates:
				if u.LinkAddress.IP.Equal(a.IP) && u.Flags&unix.IFA_F_DADFAILED != 0 {
					return nil
				}
				if u.LinkAddress.IP.Equal(a.IP) && u.Flags&unix.IFA_F_TENTATIVE == 0 {
					return errors.New("the other node has taken the address")
				}
			case <-timeout:
				return errors.New("no event")
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
	select {
	case c := <-l.conflicts:
		t.Errorf("%+v: a node that checks the address is no conflict", c)
	default:
	}
}

// TestClaimNUD: another node checks by unicast whether the address is still reachable.
func TestClaimNUD(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	const addr = "2001:db8:1::c1a7"
	if err := l.claim(addr); err != nil {
		t.Fatal(err)
	}
	if !l.reachable(addr) {
		t.Fatal("no answer")
	}
	err := l.far.Do(func() error {
		down, err := netlink.LinkByName("down")
		if err != nil {
			return err
		}
		mac, err := net.ParseMAC(l.hostMAC())
		if err != nil {
			return err
		}
		updates, done := make(chan netlink.NeighUpdate, 64), make(chan struct{})
		defer close(done)
		if err := netlink.NeighSubscribe(updates, done); err != nil {
			return err
		}
		entry := &netlink.Neigh{LinkIndex: down.Attrs().Index, Family: unix.AF_INET6, IP: net.ParseIP(addr), HardwareAddr: mac, State: unix.NUD_PROBE}
		if err := netlink.NeighSet(entry); err != nil {
			return err
		}
		var state int
		if err := awaitState(updates, addr, &state, unix.NUD_PROBE); err != nil {
			return err
		}
		if err := awaitState(updates, addr, &state, unix.NUD_REACHABLE, unix.NUD_FAILED); err != nil {
			return err
		}
		if state != unix.NUD_REACHABLE {
			return errors.New("not reachable by unicast")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func (l *link) hostMAC() string {
	l.t.Helper()
	a, err := l.host.HardwareAddr("up")
	if err != nil {
		l.t.Fatal(err)
	}
	return a.String()
}

// TestClaimForwarded: packets to the address are forwarded by a route of the host, here to
// another host that has it.
func TestClaimForwarded(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	l := &link{t: t, host: lab.Host("host"), far: lab.Host("far")}
	inner := lab.Host("inner")
	lab.Link(l.host, "up", l.far, "down", 1500)
	lab.Link(l.host, "in", inner, "out", 1500)
	const addr = "2001:db8:1::c1a7"
	l.host.Addr("up", "2001:db8:1::1/64")
	l.far.Addr("down", "2001:db8:1::2/64")
	l.host.Addr("in", "2001:db8:2::1/64")
	inner.Addr("out", "2001:db8:2::2/64")
	inner.Addr("lo", addr+"/128")
	inner.Route("2001:db8:1::/64", "2001:db8:2::1", "out")
	l.host.Route(addr+"/128", "2001:db8:2::2", "in")
	l.host.Forwarding()
	l.neighbours, l.index = l.open(l.host, "up", nil)
	if err := l.claim(addr); err != nil {
		t.Fatal(err)
	}
	if _, err := l.far.Ping(netip.MustParseAddr(addr), netlab.Echo{Size: 100}); err != nil {
		t.Error(err)
	}
	if _, err := inner.Ping(netip.MustParseAddr("2001:db8:1::2"), netlab.Echo{Size: 100, Source: netip.MustParseAddr(addr)}); err != nil {
		t.Error(err)
	}
}

// TestClaimTogether: of two nodes that claim an address at once, not both have it.
func TestClaimTogether(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	other, index := l.open(l.far, "down", nil)
	a := netip.MustParseAddr("2001:db8:1::c1a7")
	theirs := make(chan error, 1)
	go func() { theirs <- other.Claim(context.Background(), index, a) }()
	mine := l.claim(a.String())
	for _, err := range []error{mine, <-theirs} {
		if err != nil && !errors.Is(err, ErrDuplicate) {
			t.Error(err)
		}
		if err != nil {
			return
		}
	}
	t.Error("both have it")
}

// TestClaimStable: addresses that others have are passed over, and after three of them it ends.
func TestClaimStable(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	s := stable("2001:db8:1::/64")
	var all [idgenRetries + 1]netip.Addr
	for i := range all {
		all[i], _ = s.Address(uint32(i))
	}
	claim := func() (netip.Addr, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return l.neighbours.ClaimStable(ctx, l.index, s, func(a netip.Addr) bool { return a == all[1] })
	}
	l.far.Addr("down", all[0].String()+"/64")
	if a, err := claim(); err != nil || a != all[2] {
		t.Errorf("%s %v", a, err)
	}
	if a, err := claim(); !errors.Is(err, ErrDuplicate) { // counter 0 is theirs; 2 is taken
		if err != nil || a != all[2] {
			t.Errorf("%s %v", a, err)
		}
	}
	l.neighbours.Release(l.index, all[2])
	for _, a := range all[2:] {
		l.far.Addr("down", a.String()+"/64")
	}
	if a, err := claim(); !errors.Is(err, ErrDuplicate) {
		t.Errorf("%s %v", a, err)
	}
	s.Secret = nil
	if _, err := claim(); err == nil || errors.Is(err, ErrDuplicate) {
		t.Errorf("%v", err)
	}
}

// TestClaimLate: on a machine with much to do, the end of the second is noticed before the
// answer that came in it. The answer counts.
func TestClaimLate(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	if err := l.host.Do(func() error {
		s, err := openND()
		if err == nil {
			l.neighbours = newNeighbours(s, nil) // no goroutine receives
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.neighbours.Close()
	if err := l.claim("2001:db8:1::2"); !errors.Is(err, ErrDuplicate) {
		t.Errorf("%v", err)
	}
}

// A talker sends messages from another node, by another program's sockets.
type talker struct {
	t    *testing.T
	conn *ndp.Conn
	to   *netlab.Sender // to all nodes
	mac  mac
}

func (l *link) talker() *talker {
	l.t.Helper()
	a, err := l.far.HardwareAddr("down")
	if err != nil {
		l.t.Fatal(err)
	}
	k := &talker{t: l.t, mac: mac(a)}
	if err := l.far.Do(func() error {
		ifi, err := net.InterfaceByName("down")
		if err != nil {
			return err
		}
		k.conn, _, err = ndp.Listen(ifi, ndp.LinkLocal)
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { k.conn.Close() })
	all := multicastMAC(allNodes)
	if k.to, err = l.far.OpenSender("down", all[:]); err != nil {
		l.t.Fatal(err)
	}
	return k
}

func (k *talker) send(m ndMessage) {
	k.t.Helper()
	if _, err := k.to.Send(m.packet()); err != nil {
		k.t.Fatal(err)
	}
}

// advertised waits for an advertisement of one of some addresses.
func (k *talker) advertised(addrs ...string) *ndp.NeighborAdvertisement {
	k.t.Helper()
	k.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		m, _, _, err := k.conn.ReadFrom()
		if err != nil {
			k.t.Fatal(err)
		}
		if na, ok := m.(*ndp.NeighborAdvertisement); ok && slices.Contains(addrs, na.TargetAddress.String()) {
			return na
		}
	}
}

// TestConflict: a node advertises an address that is taken. It is answered, and when it does
// so again, the address is lost, and can be claimed by another one.
func TestConflict(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	far := l.talker()
	if err := l.claim(mine.String()); err != nil {
		t.Fatal(err)
	}
	for range announcements {
		far.advertised(mine.String())
	}
	m := advertised()
	m.link = far.mac
	far.send(m)
	na := far.advertised(mine.String())
	if na.Solicited || !na.Override || na.Router || na.Options[0].(*ndp.LinkLayerAddress).Addr.String() != l.hostMAC() {
		t.Errorf("%+v", na)
	}
	far.send(m)
	select {
	case c := <-l.conflicts:
		if c.Index != l.index || c.Addr != mine || c.By.String() != net.HardwareAddr(far.mac[:]).String() {
			t.Errorf("%+v", c)
		}
	case <-time.After(patience):
		t.Fatal("no conflict")
	}
	if l.reachable(mine.String()) {
		t.Error("it is still answered for")
	}
	if err := l.claim(mine.String()); err != nil {
		t.Errorf("claimed anew: %v", err)
	}
}

// TestClaimMAC: another link-layer address of the interface is known to others at once.
func TestClaimMAC(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	far := l.talker()
	if err := l.claim(mine.String()); err != nil {
		t.Fatal(err)
	}
	for range announcements {
		far.advertised(mine.String())
	}
	const moved = "02:00:00:00:c1:a7"
	l.host.Do(func() error {
		up, err := netlink.LinkByName("up")
		if err != nil {
			return err
		}
		a, _ := net.ParseMAC(moved)
		return netlink.LinkSetHardwareAddr(up, a)
	})
	if a := far.advertised(mine.String()).Options[0].(*ndp.LinkLayerAddress).Addr.String(); a != moved {
		t.Errorf("advertised with %s", a)
	}
	if !l.reachable(mine.String()) {
		t.Error("no answer")
	}
}

// TestClaimGroup: the solicited-node group is joined once for all of its addresses, and left
// with the last one.
func TestClaimGroup(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	joined := func() (is bool) {
		err := l.host.Do(func() error {
			b, err := os.ReadFile("/proc/thread-self/net/igmp6")
			is = strings.Contains(string(b), "ff0200000000000000000001ff77c1a7")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	addrs := []string{"2001:db8:1::77:c1a7", "2001:db8:1::1:77:c1a7"}
	if joined() {
		t.Fatal("joined before")
	}
	for _, a := range addrs {
		if err := l.claim(a); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range addrs {
		if !joined() {
			t.Error("not joined")
		}
		l.neighbours.Release(l.index, netip.MustParseAddr(a))
	}
	if joined() {
		t.Error("not left")
	}
}

// TestClaimErrors: what can't be claimed, with a reason.
func TestClaimErrors(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	for addr, want := range map[string]string{
		"192.0.2.1": "not a unicast IPv6 address", "::ffff:192.0.2.1": "not a unicast IPv6 address", "ff02::1": "not a unicast IPv6 address",
		"::": "not a unicast IPv6 address", "::1": "not a unicast IPv6 address", "fe80::1%up": "not a unicast IPv6 address",
		"2001:db8:1::1": "an address of this machine",
	} {
		if err := l.claim(addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := l.neighbours.Claim(t.Context(), 4711, mine); err == nil {
		t.Error("an interface that is not there: no error")
	}
	l.neighbours.Release(4711, mine)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.neighbours.Claim(ctx, l.index, mine); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if len(l.neighbours.claims) > 0 {
		t.Error("the claim is still there")
	}
	l.host.Down("up")
	if err := l.claim(mine.String()); err == nil || !strings.Contains(err.Error(), "the link is down") {
		t.Errorf("%v", err)
	}
}

// TestClaimGoesDown: the link goes down while the address is checked, so that no answer could come.
func TestClaimGoesDown(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	for range 5 { // the test may be late on a machine with much to do
		decided := l.begin()
		l.host.Down("up")
		if err := <-decided; err != nil {
			if !strings.Contains(err.Error(), "the link is down") {
				t.Error(err)
			}
			return
		}
		l.neighbours.Release(l.index, mine)
		l.host.Up("up")
	}
	t.Error("no error")
}

// begin begins to claim an address.
func (l *link) begin() <-chan error {
	l.t.Helper()
	on, err := l.neighbours.socket.facts(l.index)
	if err != nil {
		l.t.Fatal(err)
	}
	decided, err := l.neighbours.begin(claimKey{l.index, mine}, on)
	if err != nil {
		l.t.Fatal(err)
	}
	return decided
}

// TestClaimClosed: Close ends a claim that waits, and everything after it is an error.
func TestClaimClosed(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	decided := l.begin()
	if _, err := l.neighbours.begin(claimKey{l.index, mine}, linkFacts{}); err == nil {
		t.Error("claimed twice at once")
	}
	l.neighbours.Close()
	if err := <-decided; !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := l.claim(mine.String()); err == nil {
		t.Error("no error")
	}
}

// TestClaimSilent: a link without neighbour discovery, a TUN device, needs no check. A node
// that asks there has an answer, without a link-layer address.
func TestClaimSilent(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	l := &link{t: t, host: lab.Host("host")}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "tunnel"
	tunnel := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI, NonPersist: true, Queues: 1}
	if err := l.host.Do(func() error {
		if err := netlink.LinkAdd(tunnel); err != nil {
			return err
		}
		return netlink.LinkSetUp(tunnel)
	}); err != nil {
		t.Fatal(err)
	}
	device := tunnel.Fds[0]
	defer device.Close()
	l.neighbours, l.index = l.open(l.host, "tunnel", nil)
	for range 2 { // the second time it is taken already
		if err := l.claim(mine.String()); err != nil {
			t.Fatal(err)
		}
	}
	if c := l.neighbours.claims[claimKey{l.index, mine}]; c == nil || c.probes > 0 || c.group {
		t.Errorf("%+v", c)
	}
	for i := range maxClaims {
		err := l.claim(fmt.Sprintf("2001:db8:1::2:%x", i))
		if wrong := i == maxClaims-1; (err != nil) != wrong { // with mine there is one too many
			t.Errorf("%d: %v", i, err)
		}
	}
	if _, err := device.Write(sealed(fromHex(t, kernelSolicitation))); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, maxMessage); ; {
		n, err := device.Read(b) // also what the kernel sends
		if err != nil {
			t.Fatal(err)
		}
		if m, err := parseND(b[:n]); err == nil && m.target == mine {
			if want := (ndMessage{advertisement: true, src: mine, dst: asker, target: mine, solicited: true}); m != want {
				t.Errorf("%+v", m)
			}
			return
		}
	}
}

// TestClaimNoARP: nor does an interface that has been told so.
func TestClaimNoARP(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	if err := l.host.Do(func() error {
		up, err := netlink.LinkByName("up")
		if err != nil {
			return err
		}
		return netlink.LinkSetARPOff(up)
	}); err != nil {
		t.Fatal(err)
	}
	if decided := l.begin(); decided != nil {
		t.Error("it is checked")
	}
}

// TestTwoLinks: the group is joined on each link of which an address is claimed.
func TestTwoLinks(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	l := &link{t: t, host: lab.Host("host"), far: lab.Host("far")}
	lab.Link(l.host, "up", l.far, "down", 1500)
	lab.Link(l.host, "other", l.far, "down2", 1500)
	l.neighbours, l.index = l.open(l.host, "up", nil)
	l.begin()
	if err := l.host.Do(func() error {
		other, err := net.InterfaceByName("other")
		l.index = other.Index
		return err
	}); err != nil {
		t.Fatal(err)
	}
	l.begin()
	if err := l.host.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/igmp6")
		if n := strings.Count(string(b), "ff0200000000000000000001ff00c1a7"); n != 2 {
			t.Errorf("joined on %d links", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestAnswerTo: an answer goes to the link-layer address that the solicitation names, if it
// is one of a single node. What is sent to another node is not answered.
func TestAnswerTo(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	far := l.talker()
	targets := []string{"2001:db8:1::a", "2001:db8:1::b", "2001:db8:1::c"}
	var claimed sync.WaitGroup
	for _, a := range targets {
		claimed.Go(func() {
			if err := l.claim(a); err != nil {
				t.Error(err)
			}
		})
	}
	claimed.Wait()
	elsewhere := mac{2, 0, 0, 0, 0, 0x99}
	var self netip.Addr
	if err := l.far.Do(func() error {
		down, err := net.InterfaceByName("down")
		if err != nil {
			return err
		}
		addrs, err := down.Addrs()
		for _, a := range addrs {
			if ip := a.(*net.IPNet).IP; ip.IsLinkLocalUnicast() {
				self, _ = netip.AddrFromSlice(ip)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ask := func(to *netlab.Sender, target string, link mac) {
		a := netip.MustParseAddr(target)
		m := ndMessage{src: self, dst: solicitedNode(a), target: a, link: link, hasLink: true}
		if _, err := to.Send(m.packet()); err != nil {
			t.Fatal(err)
		}
	}
	away, err := l.far.OpenSender("down", elsewhere[:])
	if err != nil {
		t.Fatal(err)
	}
	ask(far.to, targets[0], elsewhere)
	ask(away, targets[1], far.mac)
	ask(far.to, targets[2], multicastMAC(allNodes))
	for {
		if na := far.advertised(targets...); na.Solicited {
			if na.TargetAddress.String() != targets[2] {
				t.Errorf("answered for %s", na.TargetAddress)
			}
			return
		}
	}
}

// TestFlood: after more solicitations than the socket has room for, an address is still answered for.
func TestFlood(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	far := l.talker()
	if err := l.claim(mine.String()); err != nil {
		t.Fatal(err)
	}
	for i := range 4 * maxReads {
		m := dadProbe()
		m.target = netip.AddrFrom16([16]byte{0x20, 1, 14: byte(i >> 8), 15: byte(i)})
		m.dst = solicitedNode(m.target)
		far.send(m)
	}
	if !l.reachable(mine.String()) {
		t.Error("no answer")
	}
}

// TestFilter: what the socket accepts. The filter can't be changed any more, so that a
// process which has lost its privileges gets no other packets.
func TestFilter(t *testing.T) {
	t.Parallel()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if err := attach(fds[1], ndFilter()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   bool
	}{
		{"solicitation", func(b []byte) []byte { return b }, true},
		{"advertisement", func(b []byte) []byte { b[40] = 136; return b }, true},
		{"router-advertisement", func(b []byte) []byte { b[40] = 134; return b }, false},
		{"redirect", func(b []byte) []byte { b[40] = 137; return b }, false},
		{"echo", func(b []byte) []byte { b[40] = 128; return b }, false},
		{"code", func(b []byte) []byte { b[41] = 1; return b }, false},
		{"advertisement-code", func(b []byte) []byte { b[40], b[41] = 136, 1; return b }, false},
		{"hop-limit", func(b []byte) []byte { b[7] = 64; return b }, false},
		{"tcp", func(b []byte) []byte { b[6] = 6; return b }, false},
		{"short", func(b []byte) []byte { return b[:63] }, false},
		{"without-options", func(b []byte) []byte { return b[:64] }, true},
	} {
		unix.Send(fds[0], c.change(sealed(fromHex(t, kernelSolicitation))), 0)
		var b [maxMessage]byte
		n, _, err := unix.Recvfrom(fds[1], b[:], unix.MSG_DONTWAIT)
		if (n > 0 && err == nil) != c.want {
			t.Errorf("%s: %d bytes, %v", c.name, n, err)
		}
	}
	l := newLink(t)
	l.neighbours.socket.raw.Control(func(fd uintptr) {
		if err := attach(int(fd), []bpf.Instruction{bpf.RetConstant{Val: 1}}); !errors.Is(err, unix.EPERM) {
			t.Errorf("the filter can be changed: %v", err)
		}
	})
}

// TestUnprivileged: a thread without capabilities can't open Neighbours, and can claim an address.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	err := l.host.Do(func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var had, none [2]unix.CapUserData
		if err := unix.Capget(&header, &had[0]); err != nil {
			return err
		}
		for i := range had {
			none[i].Permitted = had[i].Permitted
		}
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		defer unix.Capset(&header, &had[0])
		if n, err := OpenNeighbours(nil); !errors.Is(err, os.ErrPermission) {
			t.Errorf("opened: %v", err)
			if err == nil {
				n.Close()
			}
		}
		return l.neighbours.Claim(t.Context(), l.index, mine)
	})
	if err != nil {
		t.Fatal(err)
	}
	if !l.reachable(mine.String()) {
		t.Error("no answer")
	}
}
