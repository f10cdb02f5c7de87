package rfc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"

	own "github.com/steppe-nat64/steppe/internal/clat"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

// A neighbourLab is a link with a host that claims addresses, and a node that talks to it by
// sockets and packets of other programs.
type neighbourLab struct {
	t          *testing.T
	host, far  *netlab.Host
	index      int
	neighbours *own.Neighbours
	conn       *ndp.Conn
	to         *netlab.Sender
	mac        net.HardwareAddr // of the other node
}

func newNeighbourLab(t *testing.T) *neighbourLab {
	t.Parallel() // each waits a second for an answer that does not come
	lab := netlab.New(t)
	l := &neighbourLab{t: t, host: lab.Host("host"), far: lab.Host("far")}
	lab.Link(l.host, "up", l.far, "down", 1500)
	l.host.Addr("up", "2001:db8:1::1/64")
	l.far.Addr("down", "2001:db8:1::2/64")
	l.must(l.host.Do(func() error {
		up, err := net.InterfaceByName("up")
		if err != nil {
			return err
		}
		l.index = up.Index
		l.neighbours, err = own.OpenNeighbours(nil)
		return err
	}))
	t.Cleanup(func() { l.neighbours.Close() })
	l.must(l.far.Do(func() error {
		down, err := net.InterfaceByName("down")
		if err != nil {
			return err
		}
		l.mac = down.HardwareAddr
		if l.conn, _, err = ndp.Listen(down, ndp.Unspecified); err != nil {
			return err
		}
		return l.conn.SetControlMessage(ipv6.FlagDst|ipv6.FlagHopLimit, true)
	}))
	t.Cleanup(func() { l.conn.Close() })
	up, err := l.host.HardwareAddr("up")
	l.must(err)
	l.to, err = l.far.OpenSender("down", up)
	l.must(err)
	return l
}

func (l *neighbourLab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// A sent message is one that the other node has received from the host.
type sent struct {
	ndp.Message
	src, dst netip.Addr
	hops     int
	joined   string // the groups of the host at that moment, for a probe
}

// next returns the next message of neighbour discovery about one of the addresses.
func (l *neighbourLab) next(targets ...string) sent {
	l.t.Helper()
	l.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for b := make([]byte, 1500); ; {
		n, cm, from, err := l.conn.ReadRaw(b) // ReadFrom leaves out what comes from ::
		l.must(err)
		m, err := ndp.ParseMessage(b[:n])
		if err != nil {
			continue // another type
		}
		dst, _ := netip.AddrFromSlice(cm.Dst)
		s := sent{Message: m, src: from.WithZone(""), dst: dst, hops: cm.HopLimit}
		for _, target := range targets {
			switch m := m.(type) {
			case *ndp.NeighborSolicitation:
				if m.TargetAddress == addr(target) && s.src == netip.IPv6Unspecified() {
					l.must(l.host.Do(func() error {
						b, err := os.ReadFile("/proc/thread-self/net/igmp6")
						s.joined = string(b)
						return err
					}))
					return s
				}
			case *ndp.NeighborAdvertisement:
				if m.TargetAddress == addr(target) {
					return s
				}
			}
		}
	}
}

// begin claims an address, and returns its probe and, later, the result.
func (l *neighbourLab) begin(target string) (probe sent, result <-chan error) {
	l.t.Helper()
	l.conn.JoinGroup(group(target)) // an error if that was done before
	claimed := make(chan error, 1)
	go func() { claimed <- l.neighbours.Claim(context.Background(), l.index, addr(target)) }()
	for {
		if probe = l.next(target); probe.joined != "" {
			return probe, claimed
		}
	}
}

// group returns the solicited-node multicast address of an address.
func group(target string) netip.Addr {
	b := addr(target).As16()
	g := addr("ff02::1:ff00:0").As16()
	copy(g[13:], b[13:])
	return netip.AddrFrom16(g)
}

// A talk is a message that the other node sends.
type talk struct {
	kind, code byte
	src, dst   string
	target     string
	flags      uint32
	hops       uint8 // 255 if it is 0
	options    []byte
}

// say sends a message.
func (l *neighbourLab) say(m talk) {
	l.t.Helper()
	if m.hops == 0 {
		m.hops = 255
	}
	target := addr(m.target).As16()
	h := pt.Header{Src: addr(m.src), Dst: addr(m.dst), TTL: m.hops}
	_, err := l.to.Send(pt.IP(h, pt.ICMP(m.kind, m.code, m.flags, append(target[:], m.options...))))
	l.must(err)
}

// asks has the other node ask for an address, from one of its own.
func asks(src, target string, mac net.HardwareAddr) talk {
	return talk{kind: 135, src: src, dst: group(target).String(), target: target, options: append([]byte{1, 1}, mac...)}
}

// probes has the other node check an address, with a nonce of its own.
func probes(target string) talk {
	return talk{kind: 135, src: "::", dst: group(target).String(), target: target, options: []byte{14, 1, 9, 9, 9, 9, 9, 9}}
}

// advertises has the other node advertise an address.
func (l *neighbourLab) advertises(target string) talk {
	return talk{kind: 136, src: target, dst: "ff02::1", target: target, flags: 0x20 << 24, options: append([]byte{2, 1}, l.mac...)}
}

const (
	claimed = "2001:db8:1::c:1"
	asking  = "2001:db8:1::2"
	askingB = "2001:db8:1::3"
)

// taken claims an address.
func (l *neighbourLab) taken(target string) {
	l.t.Helper()
	_, result := l.begin(target)
	l.must(<-result)
}

// announced claims an address and takes the advertisements that are sent on its own.
func (l *neighbourLab) announced(target string) (all []sent) {
	l.t.Helper()
	l.taken(target)
	for range 3 {
		all = append(all, l.next(target))
	}
	return all
}

// solicited returns the next answer to a solicitation that had a source.
func (l *neighbourLab) solicited(targets ...string) sent {
	l.t.Helper()
	for {
		if s := l.next(targets...); strings.Contains(s.flags(), "S") {
			return s
		}
	}
}

// option returns the link-layer address of an advertisement.
func (s sent) option() string {
	na, ok := s.Message.(*ndp.NeighborAdvertisement)
	if !ok || len(na.Options) != 1 {
		return ""
	}
	o, ok := na.Options[0].(*ndp.LinkLayerAddress)
	if !ok || o.Direction != ndp.Target {
		return ""
	}
	return o.Addr.String()
}

// flags returns the flags of an advertisement.
func (s sent) flags() (text string) {
	na, ok := s.Message.(*ndp.NeighborAdvertisement)
	if !ok {
		return "not an advertisement"
	}
	if na.Router {
		text += "R"
	}
	if na.Solicited {
		text += "S"
	}
	if na.Override {
		text += "O"
	}
	return text
}

func (l *neighbourLab) hostMAC() string {
	a, err := l.host.HardwareAddr("up")
	l.must(err)
	return a.String()
}

// probeOfDAD: the probe comes before the address is taken, and has the addresses of the RFC.
func probeOfDAD(t *testing.T) {
	l := newNeighbourLab(t)
	l.must(l.conn.JoinGroup(group(claimed)))
	result := make(chan error, 1)
	go func() { result <- l.neighbours.Claim(context.Background(), l.index, addr(claimed)) }()
	probe := l.next(claimed)
	if probe.joined == "" {
		t.Fatalf("the first message is %T", probe.Message)
	}
	ns := probe.Message.(*ndp.NeighborSolicitation)
	is(t, "source", probe.src.String(), "::")
	is(t, "destination", probe.dst, group(claimed))
	is(t, "target", ns.TargetAddress, addr(claimed))
	is(t, "hop limit", probe.hops, 255)
	is(t, "result", <-result, nil)
}

// groupsOfDAD: both groups are joined when the probe comes.
func groupsOfDAD(t *testing.T) {
	l := newNeighbourLab(t)
	probe, result := l.begin(claimed)
	for _, g := range []string{"ff020000000000000000000000000001", "ff0200000000000000000001ff0c0001"} {
		is(t, g, strings.Contains(probe.joined, g), true)
	}
	<-result
}

// noDelayOfDAD: the probe is sent before Claim looks at anything else.
func noDelayOfDAD(t *testing.T) {
	l := newNeighbourLab(t)
	l.must(l.conn.JoinGroup(group(claimed)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	is(t, "canceled", errors.Is(l.neighbours.Claim(ctx, l.index, addr(claimed)), context.Canceled), true)
	l.next(claimed)
}

// tentativeIgnores: what does not make a tentative address a duplicate, and is not answered.
func tentativeIgnores(talks func(l *neighbourLab, probe sent) []talk) func(t *testing.T) {
	return func(t *testing.T) {
		l := newNeighbourLab(t)
		probe, result := l.begin(claimed)
		for _, m := range talks(l, probe) {
			l.say(m)
		}
		is(t, "result", <-result, nil)
		s := l.next(claimed)
		is(t, "first message after the probe", s.flags(), "O") // and not an answer to asking
		is(t, "destination", s.dst.String(), "ff02::1")
	}
}

func unicastSourceIgnored(t *testing.T) {
	tentativeIgnores(func(l *neighbourLab, _ sent) []talk {
		return []talk{asks(asking, claimed, l.mac)}
	})(t)
}

func loopedIgnored(t *testing.T) {
	tentativeIgnores(func(_ *neighbourLab, probe sent) []talk {
		b, err := ndp.MarshalMessage(probe.Message)
		if err != nil {
			panic(err)
		}
		m := probes(claimed)
		m.options = b[24:]
		return []talk{m}
	})(t)
}

func invalidIgnored(t *testing.T) {
	tentativeIgnores(func(l *neighbourLab, _ sent) []talk {
		far := l.advertises(claimed)
		far.hops = 254
		code := probes(claimed)
		code.code = 1
		toAll := probes(claimed)
		toAll.dst = "ff02::1"
		solicited := l.advertises(claimed)
		solicited.flags |= 0x40 << 24
		empty := l.advertises(claimed)
		empty.options = make([]byte, 8)
		return []talk{far, code, toAll, solicited, empty}
	})(t)
}

// duplicated: what makes a tentative address a duplicate. It is not answered for then.
func duplicated(says func(l *neighbourLab) talk) func(t *testing.T) {
	return func(t *testing.T) {
		l := newNeighbourLab(t)
		const mine = "2001:db8:1::c:2"
		l.taken(mine)
		var err error
		for range 5 { // the test may be late on a machine with much to do
			_, result := l.begin(claimed)
			l.say(says(l))
			if err = <-result; err != nil {
				break
			}
			l.neighbours.Release(l.index, addr(claimed))
		}
		is(t, "duplicate", errors.Is(err, own.ErrDuplicate), true)
		l.say(asks(asking, claimed, l.mac))
		l.say(asks(asking, mine, l.mac))
		s := l.solicited(claimed, mine)
		is(t, "answered for", s.Message.(*ndp.NeighborAdvertisement).TargetAddress.String(), mine)
	}
}

func duplicatedByProbe(t *testing.T) {
	duplicated(func(*neighbourLab) talk { return probes(claimed) })(t)
}

func duplicatedByAdvertisement(t *testing.T) {
	duplicated(func(l *neighbourLab) talk { return l.advertises(claimed) })(t)
}

// answered: the answer to a message, after others that are not answered.
func answered(t *testing.T, ask func(l *neighbourLab) []talk, check func(l *neighbourLab, s sent)) {
	t.Helper()
	l := newNeighbourLab(t)
	l.taken(claimed)
	for _, m := range ask(l) {
		l.say(m)
	}
	check(l, l.solicited(claimed))
}

// invalidSolicitation: only the last of the solicitations is answered.
func invalidSolicitation(t *testing.T) {
	answered(t, func(l *neighbourLab) []talk {
		far := asks(askingB, claimed, l.mac)
		far.hops = 64
		code := asks(askingB, claimed, l.mac)
		code.code = 1
		empty := asks(askingB, claimed, l.mac)
		empty.options = make([]byte, 8)
		unicast := probes(claimed)
		unicast.dst = claimed
		withAddress := probes(claimed)
		withAddress.options = append([]byte{1, 1}, l.mac...)
		return []talk{far, code, empty, unicast, withAddress, asks(asking, claimed, l.mac)}
	}, func(l *neighbourLab, s sent) {
		is(t, "answer to", s.dst.String(), asking)
	})
}

// solicitedAnswer: option and flags of an answer to a solicitation to the group.
func solicitedAnswer(t *testing.T) {
	answered(t, func(l *neighbourLab) []talk { return []talk{asks(asking, claimed, l.mac)} },
		func(l *neighbourLab, s sent) {
			is(t, "source", s.src.String(), claimed)
			is(t, "destination", s.dst.String(), asking)
			is(t, "link-layer address", s.option(), l.hostMAC())
			is(t, "flags", s.flags(), "SO")
			is(t, "hop limit", s.hops, 255)
		})
}

// unicastAnswer: and to one that was sent to the address.
func unicastAnswer(t *testing.T) {
	answered(t, func(l *neighbourLab) []talk {
		m := asks(asking, claimed, l.mac)
		m.dst = claimed
		return []talk{m}
	}, func(l *neighbourLab, s sent) {
		is(t, "destination", s.dst.String(), asking)
		is(t, "flags", s.flags(), "SO")
	})
}

// probeAnswer: and to one without a source.
func probeAnswer(t *testing.T) {
	l := newNeighbourLab(t)
	l.announced(claimed)
	l.say(probes(claimed))
	s := l.next(claimed)
	is(t, "destination", s.dst.String(), "ff02::1")
	is(t, "flags", s.flags(), "O")
	is(t, "link-layer address", s.option(), l.hostMAC())
}

// unsolicited: three at most.
func unsolicited(t *testing.T) {
	l := newNeighbourLab(t)
	for _, s := range l.announced(claimed) {
		is(t, "destination", s.dst.String(), "ff02::1")
		is(t, "flags", s.flags(), "O")
		is(t, "link-layer address", s.option(), l.hostMAC())
	}
	l.say(asks(asking, claimed, l.mac))
	is(t, "the next one", l.next(claimed).flags(), "SO")
}

var stableParameters = own.Stable{Secret: []byte("0123456789abcdef"), Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Interface: "up"}

// claimStable claims a stable address where the other node has those of some counters.
func claimStable(t *testing.T, avoid func(netip.Addr) bool, theirs ...uint32) (netip.Addr, error) {
	t.Helper()
	l := newNeighbourLab(t)
	for _, counter := range theirs {
		a, _ := stableParameters.Address(counter)
		l.far.Addr("down", a.String()+"/64")
	}
	return l.neighbours.ClaimStable(t.Context(), l.index, stableParameters, avoid)
}

func ownIdentifierAvoided(t *testing.T) {
	first, _ := stableParameters.Address(0)
	second, _ := stableParameters.Address(1)
	a, err := claimStable(t, func(a netip.Addr) bool { return a == first })
	is(t, "error", err, nil)
	is(t, "address", a, second)
}

func nextCounter(t *testing.T) {
	second, _ := stableParameters.Address(1)
	a, err := claimStable(t, nil, 0)
	is(t, "error", err, nil)
	is(t, "address", a, second)
}

func limitedCounters(t *testing.T) {
	_, err := claimStable(t, nil, 0, 1, 2, 3)
	is(t, "duplicate", errors.Is(err, own.ErrDuplicate), true)
}

// claimedAddress: the kernel of another node reaches the address of a CLAT, and can't take it.
func claimedAddress(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t)
	host, far, inner := lab.Host("host"), lab.Host("far"), lab.Host("inner")
	lab.Link(host, "up", far, "down", 1500)
	lab.Link(host, "clat", inner, "out", 1500)
	host.Addr("up", "2001:db8:1::1/64")
	far.Addr("down", "2001:db8:1::2/64")
	host.Addr("clat", "2001:db8:2::1/64")
	inner.Addr("out", "2001:db8:2::2/64")
	inner.Addr("lo", claimed+"/128") // in the place of a translator
	inner.Route("::/0", "2001:db8:2::1", "out")
	host.Route(claimed+"/128", "2001:db8:2::2", "clat")
	host.Forwarding()
	var n *own.Neighbours
	if err := host.Do(func() error {
		up, err := net.InterfaceByName("up")
		if err != nil {
			return err
		}
		if n, err = own.OpenNeighbours(nil); err != nil {
			return err
		}
		return n.Claim(t.Context(), up.Index, addr(claimed))
	}); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := far.Ping(addr(claimed), netlab.Echo{Size: 100}); err != nil {
		t.Error(err)
	}
	// Another CLAT that wants the address.
	if err := far.Do(func() error {
		down, err := net.InterfaceByName("down")
		if err != nil {
			return err
		}
		other, err := own.OpenNeighbours(nil)
		if err != nil {
			return err
		}
		defer other.Close()
		is(t, "duplicate", errors.Is(other.Claim(t.Context(), down.Index, addr(claimed)), own.ErrDuplicate), true)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
