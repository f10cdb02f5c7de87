package session

import (
	"net/netip"
	"strconv"

	"github.com/steppe-nat64/steppe/translate"
)

// An EventKind says what began or ended.
type EventKind uint8

const (
	BindingMade   EventKind = iota // a host's port has an IPv4 address and port
	BindingEnded                   // it has none any more
	BlockTaken                     // a subscriber has the ports of a block
	BlockReleased                  // it has them no more
)

// String returns the name of a kind.
func (k EventKind) String() string {
	names := [...]string{"binding-made", "binding-ended", "block-taken", "block-released"}
	if int(k) >= len(names) {
		return "EventKind(" + strconv.Itoa(int(k)) + ")"
	}
	return names[k]
}

// An Event is the begin or the end of a binding or of a block. It names no destination:
// RFC 6888 §4 REQ-12.
type Event struct {
	Kind   EventKind
	Proto  uint8          // of a binding: 6, 17 or 1
	Static bool           // of a binding
	Host   netip.AddrPort // of a binding
	Addr   netip.AddrPort // of a binding; of a block: the lowest port

	Subscriber netip.Prefix // of a block
	Ports      int          // of a block: how many
}

// tell reports the begin or end of a binding.
func (t *Table) tell(c *settings, k EventKind, e *entry) {
	if c.onEvent == nil {
		return
	}
	b := binding(&key{e.host(), e.ends.Load(), e.local.Load()}, e.word.Load())
	t.events.Lock()
	defer t.events.Unlock()
	c.onEvent(Event{Kind: k, Proto: b.Proto, Static: b.Static, Host: b.Host, Addr: b.Addr})
}

func (t *Table) tellBlock(c *settings, k EventKind, sub *subscriber, b block) {
	if c.onEvent == nil {
		return
	}
	t.events.Lock()
	defer t.events.Unlock()
	c.onEvent(Event{Kind: k, Addr: netip.AddrPortFrom(addr4(b.addr.ip), b.low), Subscriber: c.prefix(sub), Ports: c.block})
}

// binding describes a binding by its words.
func binding(k *key, w uint64) Binding {
	return Binding{
		Proto:  header(protoOf(k.local)),
		Static: stateOf(w) == permanent,
		Host:   hostPort(k.host, hostPortOf(k.ends)),
		Addr:   netip.AddrPortFrom(addr4(addrOf(k.local)), portOf(k.local)),
		Pref64: uint8(prefOf(k.local)),
	}
}

func hostPort(a translate.Addr6, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip6(a), port)
}
