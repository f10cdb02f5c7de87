package clat

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
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
	state := l.resolve(addr)
	return state == unix.NUD_REACHABLE
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
		return awaitState(updates, addr, &state, unix.NUD_REACHABLE, unix.NUD_FAILED)
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
	l := newLink(t)
	if err := l.claim("2001:db8:1::2"); !errors.Is(err, ErrDuplicate) {
		t.Errorf("%v", err)
	}
}

// TestClaimDefended: the kernel of another node wants to have an address that is taken, and
// finds that it is a duplicate.
func TestClaimDefended(t *testing.T) {
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
