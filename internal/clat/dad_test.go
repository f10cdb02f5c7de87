package clat

import (
	"net/netip"
	"testing"
	"time"
)

var (
	ours   = mac{2, 0, 0, 0, 0, 1}
	theirs = mac{2, 0, 0, 0, 0, 2}
	facts  = linkFacts{mac: ours, hasMAC: true, running: true}
	mine   = netip.MustParseAddr("2001:db8:1::c1a7")
	asker  = netip.MustParseAddr("2001:db8:1::2")
	nonce  = [6]byte{1, 2, 3, 4, 5, 6}
)

const second = time.Second

// dadProbe is a solicitation of a node that checks the address.
func dadProbe() ndMessage {
	return ndMessage{src: unspecified, dst: solicitedNode(mine), target: mine}
}

func advertised() ndMessage {
	return ndMessage{advertisement: true, src: mine, dst: allNodes, target: mine, override: true, link: theirs, hasLink: true}
}

func solicitation(dst netip.Addr) ndMessage {
	return ndMessage{src: asker, dst: dst, target: mine, link: theirs, hasLink: true}
}

// isTaken returns an address that was taken at 1 s.
func isTaken(t *testing.T) *address {
	t.Helper()
	c := newAddress(0, mine, nonce, facts)
	c.poll(0, facts)
	c.poll(second, facts)
	if c.state != taken {
		t.Fatal("not taken")
	}
	return &c
}

// TestDAD: one probe, then a second without an answer; then the address is announced three times.
func TestDAD(t *testing.T) {
	c := newAddress(0, mine, nonce, facts)
	m, send, next := c.poll(0, facts)
	want := ndMessage{src: unspecified, dst: netip.MustParseAddr("ff02::1:ff00:c1a7"), target: mine, nonce: nonce, hasNonce: true}
	if !send || m != want || next != second {
		t.Errorf("%+v %v %v", m, send, next)
	}
	if _, send, next := c.poll(second-1, facts); send || c.state != tentative || next != second {
		t.Errorf("%v %v %v: taken too early", send, c.state, next)
	}
	for i, want := range []time.Duration{2 * second, 3 * second, never} {
		m, send, next := c.poll(time.Duration(i+1)*second, facts)
		if !send || c.state != taken || next != want || m.dst != allNodes || m.src != mine || !m.override || m.solicited || m.link != ours {
			t.Errorf("%+v %v %v", m, send, next)
		}
	}
	if _, send, next := c.poll(time.Hour, facts); send || next != never {
		t.Errorf("%v %v", send, next)
	}
}

// TestDADReceives: what makes a tentative address a duplicate, and what does not. Nothing is
// answered.
func TestDADReceives(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *ndMessage)
		m      ndMessage
		from   mac
		want   claimState
	}{
		{name: "advertisement", m: advertised(), from: theirs, want: duplicate},
		{name: "advertisement-without-address", m: advertised(), from: theirs, change: func(m *ndMessage) { m.hasLink = false }, want: duplicate},
		{name: "probe", m: dadProbe(), from: theirs, want: duplicate},
		{name: "probe-with-nonce", m: dadProbe(), from: theirs, change: func(m *ndMessage) { m.hasNonce, m.nonce = true, [6]byte{9} }, want: duplicate},
		{name: "probe-with-another-nonce-length", m: dadProbe(), from: theirs, change: func(m *ndMessage) { m.hasNonce = true }, want: duplicate},
		{name: "own-probe", m: dadProbe(), from: ours, change: func(m *ndMessage) { m.hasNonce, m.nonce = true, nonce }, want: tentative},
		{name: "own-probe-by-a-bridge", m: dadProbe(), from: theirs, change: func(m *ndMessage) { m.hasNonce, m.nonce = true, nonce }, want: tentative},
		{name: "own-probe-without-nonce", m: dadProbe(), from: ours, want: tentative},
		{name: "proxy-with-our-address", m: advertised(), from: theirs, change: func(m *ndMessage) { m.link = ours }, want: tentative},
		{name: "address-resolution", m: solicitation(solicitedNode(mine)), from: theirs, want: tentative},
		{name: "unicast-advertisement", m: advertised(), from: theirs, change: func(m *ndMessage) { m.dst = mine }, want: tentative},
		{name: "unicast-solicitation", m: solicitation(mine), from: theirs, want: tentative},
	} {
		for _, polls := range []int{0, 1} { // before the own probe, and after it
			a := newAddress(0, mine, nonce, facts)
			for range polls {
				a.poll(0, facts)
			}
			if c.change != nil {
				c.change(&c.m)
			}
			if _, send := a.receive(second/2, c.m, c.from, facts); send || a.state != c.want {
				t.Errorf("%s: answered %v, state %v, want %v", c.name, send, a.state, c.want)
			}
			if c.want != duplicate {
				continue
			}
			if _, send, _ := a.poll(time.Hour, facts); send || a.state != duplicate || a.by != c.from {
				t.Errorf("%s: %v %v", c.name, send, a.by)
			}
			if _, send := a.receive(time.Hour, solicitation(mine), theirs, facts); send {
				t.Errorf("%s: a duplicate is answered for", c.name)
			}
		}
	}
}

// TestAnswer: flags, destination and option of an answer.
func TestAnswer(t *testing.T) {
	noMAC := linkFacts{running: true}
	for _, c := range []struct {
		name string
		m    ndMessage
		on   linkFacts
		want ndMessage
	}{
		{"multicast", solicitation(solicitedNode(mine)), facts,
			ndMessage{advertisement: true, src: mine, dst: asker, target: mine, solicited: true, override: true, link: ours, hasLink: true}},
		{"unicast", solicitation(mine), facts,
			ndMessage{advertisement: true, src: mine, dst: asker, target: mine, solicited: true, override: true, link: ours, hasLink: true}},
		{"probe", dadProbe(), facts,
			ndMessage{advertisement: true, src: mine, dst: allNodes, target: mine, override: true, link: ours, hasLink: true}},
		{"without-addresses", solicitation(mine), noMAC,
			ndMessage{advertisement: true, src: mine, dst: asker, target: mine, solicited: true}},
	} {
		if m, send := isTaken(t).receive(2*second, c.m, theirs, c.on); !send || m != c.want {
			t.Errorf("%s: %v %+v", c.name, send, m)
		}
	}
	looped := dadProbe()
	looped.hasNonce, looped.nonce = true, nonce
	if _, send := isTaken(t).receive(2*second, looped, theirs, facts); send {
		t.Error("the own probe was answered")
	}
}

// TestDefend: one advertisement of another node is answered; a second one within ten seconds
// ends the claim, later ones do not.
func TestDefend(t *testing.T) {
	c := isTaken(t)
	if m, send := c.receive(20*second, advertised(), theirs, facts); !send || m.dst != allNodes || !m.override || m.link != ours {
		t.Errorf("%v %+v", send, m)
	}
	if _, send := c.receive(30*second, advertised(), theirs, facts); !send || c.state != taken {
		t.Error("not defended after the interval")
	}
	if _, send := c.receive(40*second-1, advertised(), theirs, facts); send || c.state != duplicate || c.by != theirs {
		t.Errorf("%v %v %v", send, c.state, c.by)
	}
	c = isTaken(t)
	if _, send := c.receive(5*second, advertised(), theirs, facts); !send || c.state != taken {
		t.Error("the first one is not answered")
	}
	c = isTaken(t)
	for range 10 { // of a switch that knows where this host is; looped back by it
		proxied := advertised()
		proxied.link = ours
		c.receive(20*second, proxied, theirs, facts)
		c.receive(20*second, advertised(), ours, facts)
	}
	if c.state != taken {
		t.Error("lost by advertisements that name the own address")
	}
}

// TestMulticastLimit: a flood of probes is answered four times in a second; that does not
// keep others from an answer.
func TestMulticastLimit(t *testing.T) {
	c := isTaken(t)
	for s := range 3 {
		n := 0
		for range 1000 {
			if _, send := c.receive(time.Duration(10+s)*second, dadProbe(), theirs, facts); send {
				n++
			}
		}
		if n != maxDefences {
			t.Errorf("%d answers", n)
		}
		if _, send := c.receive(time.Duration(10+s)*second, solicitation(mine), theirs, facts); !send {
			t.Error("no answer to address resolution")
		}
	}
}

// TestMoved: another link-layer address is announced, three times; a tentative address is not.
func TestMoved(t *testing.T) {
	c := isTaken(t)
	c.poll(2*second, facts)
	moved := facts
	moved.mac = theirs
	c.moved(10 * second)
	for i := range announcements {
		if m, send, _ := c.poll(time.Duration(10+i)*second, moved); !send || m.link != theirs || m.dst != allNodes {
			t.Errorf("%v %+v", send, m)
		}
	}
	if _, send, next := c.poll(time.Hour, moved); send || next != never {
		t.Errorf("%v %v", send, next)
	}
	early := newAddress(0, mine, nonce, facts)
	early.poll(0, facts)
	if early.moved(second / 2); early.due != second {
		t.Errorf("due at %v", early.due)
	}
}

// TestSilent: on a link without neighbour discovery nothing is sent but answers.
func TestSilent(t *testing.T) {
	on := linkFacts{silent: true, running: true}
	c := newAddress(0, mine, nonce, on)
	if _, send, next := c.poll(time.Hour, on); c.state != taken || send || next != never {
		t.Errorf("%v %v %v", c.state, send, next)
	}
	if _, send := c.receive(0, solicitation(mine), mac{}, on); !send {
		t.Error("no answer")
	}
	if c.moved(0); c.due != 0 {
		t.Errorf("due at %v", c.due)
	}
	if _, send, _ := c.poll(0, on); send {
		t.Error("announced")
	}
}
