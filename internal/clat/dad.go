package clat

import (
	"net/netip"
	"time"
)

const (
	retransTimer   = time.Second // RetransTimer: RFC 4861 §10
	probesOfDAD    = 1           // DupAddrDetectTransmits: RFC 4862 §5.1
	announcements  = 3           // MAX_NEIGHBOR_ADVERTISEMENT: RFC 4861 §10
	defendInterval = 10 * time.Second
	maxDefences    = 4 // multicast answers in a second

	never = time.Duration(1<<63 - 1)
)

// A claimState says how far the claim of an address is.
type claimState int

const (
	tentative claimState = iota // Duplicate Address Detection runs: RFC 4862 §5.4
	taken                       // the address is ours, and answered for
	duplicate                   // another node has it
)

// An address is one that is claimed on a link. It is a state machine without clock and
// socket; its methods take the time since any fixed start.
type address struct {
	addr  netip.Addr
	state claimState
	nonce [6]byte // RFC 7527 §4.1: tells own solicitations from those of others
	by    mac     // of the node that has the address, if state is duplicate

	probes     int           // that were sent
	announce   int           // advertisements that are to be sent without solicitation
	due        time.Duration // when there is something to do
	defended   bool
	defendedAt time.Duration
	second     time.Duration // when the count of answers began
	answers    int           // multicast ones since then
}

// newAddress returns an address that is tentative, with a nonce that is not zero. On a link
// without neighbour discovery it is taken.
func newAddress(now time.Duration, a netip.Addr, nonce [6]byte, on linkFacts) address {
	c := address{addr: a, nonce: nonce, due: now}
	if on.silent {
		c.state, c.due = taken, never
	}
	return c
}

// poll returns what has to be sent now, if anything, and when to call it again at the latest.
func (c *address) poll(now time.Duration, on linkFacts) (m ndMessage, send bool, next time.Duration) {
	if now < c.due || c.state == duplicate {
		return m, false, c.due
	}
	switch {
	case c.state == tentative && c.probes < probesOfDAD:
		c.probes++
		c.due = now + retransTimer
		return c.probe(), true, c.due
	case c.state == tentative:
		c.state, c.announce = taken, announcements
	}
	if c.announce == 0 || on.silent {
		c.due = never
		return m, false, c.due
	}
	if c.announce--; c.announce == 0 {
		c.due = never
	} else {
		c.due = now + retransTimer
	}
	return c.advertisement(allNodes, on), true, c.due
}

// moved says that the link has another link-layer address: RFC 4861 §7.2.6.
func (c *address) moved(now time.Duration) {
	if c.state == taken {
		c.announce, c.due = announcements, now
	}
}

// probe returns a solicitation of Duplicate Address Detection.
func (c *address) probe() ndMessage {
	return ndMessage{src: unspecified, dst: solicitedNode(c.addr), target: c.addr, nonce: c.nonce, hasNonce: true}
}

// advertisement returns an advertisement of the address: RFC 4861 §7.2.4.
func (c *address) advertisement(dst netip.Addr, on linkFacts) ndMessage {
	return ndMessage{
		advertisement: true, src: c.addr, dst: dst, target: c.addr,
		solicited: !dst.IsMulticast(), override: on.hasMAC,
		link: on.mac, hasLink: on.hasMAC,
	}
}

// receive takes a message whose target is the address, from a link-layer address. It returns
// the answer, if there is one.
func (c *address) receive(now time.Duration, m ndMessage, from mac, on linkFacts) (answer ndMessage, send bool) {
	if c.own(m, from, on) {
		return ndMessage{}, false
	}
	switch {
	case c.state == tentative:
		// A unicast message can't be meant for this node: RFC 4862 §5.4. A solicitation from
		// a unicast address is address resolution: §5.4.3.
		if m.dst.IsMulticast() && (m.advertisement || m.src == unspecified) {
			c.state, c.by, c.due = duplicate, from, never
		}
		return ndMessage{}, false
	case c.state != taken:
		return ndMessage{}, false
	case m.advertisement:
		return c.defend(now, from, on)
	case m.src == unspecified:
		return c.advertisement(allNodes, on), c.mayMulticast(now)
	}
	return c.advertisement(m.src, on), true
}

// own reports whether a message is from this node, or about it: links may loop multicast
// packets back (RFC 7527), and switches and access points answer for the hosts of theirs that
// they know, with the link-layer address of these.
func (c *address) own(m ndMessage, from mac, on linkFacts) bool {
	if m.hasNonce {
		return m.nonce == c.nonce
	}
	if !on.hasMAC {
		return false
	}
	return from == on.mac || m.hasLink && m.link == on.mac
}

// defend answers another node that advertises the address. If it goes on, the address is
// given up, as RFC 5227 §2.4 has it for IPv4: RFC 4862 §5.4.4 leaves that open. Otherwise
// both nodes would take the packets of each other from then on.
func (c *address) defend(now time.Duration, from mac, on linkFacts) (ndMessage, bool) {
	if c.defended && now-c.defendedAt < defendInterval {
		c.state, c.by, c.due = duplicate, from, never
		return ndMessage{}, false
	}
	c.defended, c.defendedAt = true, now
	return c.advertisement(allNodes, on), c.mayMulticast(now)
}

// mayMulticast limits how many answers go to all nodes of the link.
func (c *address) mayMulticast(now time.Duration) bool {
	if now-c.second >= time.Second {
		c.second, c.answers = now, 0
	}
	c.answers++
	return c.answers <= maxDefences
}

// linkFacts are what has to be known of a link.
type linkFacts struct {
	mac     mac
	hasMAC  bool
	silent  bool // no neighbour discovery: point-to-point links, tunnels, loopback
	running bool
}
