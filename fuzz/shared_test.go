package fuzz

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// A sharedBed is a translator with two workers whose hosts share an address, and packets
// in fragments for it.
type sharedBed struct {
	t     *testing.T
	tr    *translate.Translator
	ws    [2]*translate.Worker
	now   time.Duration
	given uint64
	sent  [][][]byte            // packets that come in fragments
	got   map[byte]map[int]bool // by what their data consists of: offsets that have arrived
	dirty bool                  // a fragment was changed
}

// shares are the addresses of a sharedBed. Port 8080 of the shared one is the second
// host's port 80.
var (
	shares        = netip.MustParseAddr("198.51.100.70")
	sharesIn6     = netip.MustParseAddr("2001:db8:64::198.51.100.70")
	share1        = netip.MustParseAddr("2001:db8:a::1")
	share2        = netip.MustParseAddr("2001:db8:a::2")
	sharesForged  = byte(8) // of the packets: has the identification of the second one
	sharesTrusted = []byte{1, 3, 4, 5, 6, 7}
)

func newSharedBed(t *testing.T) *sharedBed {
	t.Helper()
	table, err := session.New(session.Config{
		Pools:  []session.Pool{{Prefix: netip.PrefixFrom(shares, 32)}},
		Static: []session.Static{{Proto: 6, Addr: netip.AddrPortFrom(shares, 8080), Host: netip.AddrPortFrom(share2, 80)}, {Proto: 17, Addr: netip.AddrPortFrom(shares, 8080), Host: netip.AddrPortFrom(share2, 80)}},
		Limits: session.Limits{Sessions: 1000},
	})
	if err != nil {
		t.Fatal(err)
	}
	tc := packettest.TableConfig()
	tc.Shared, tc.Sessions = []netip.Prefix{netip.PrefixFrom(shares, 32)}, table
	tab, err := translate.NewTable(tc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := packettest.Config()
	cfg.LowestIPv6MTU = 1500 // fragments are not cut again
	cfg.Fragments, cfg.FragmentBytes = 1000, 1<<20
	tr, err := translate.New(cfg, tab)
	if err != nil {
		t.Fatal(err)
	}
	x := &sharedBed{t: t, tr: tr, ws: [2]*translate.Worker{tr.NewWorker(), tr.NewWorker()}, got: map[byte]map[int]bool{}}
	port := func(p packettest.Payload, at int) uint16 {
		b := x.give(0, packettest.IP(packettest.Header{Src: share1, Dst: packettest.H4in6}, p))
		if len(b) != 1 {
			t.Fatalf("%d packets", len(b))
		}
		return binary.BigEndian.Uint16(b[0][at:])
	}
	udp, echo := port(packettest.UDP(1001, 53, nil), 20), port(packettest.EchoRequest(7, 1, nil), 24)
	data := func(n byte) []byte { return bytes.Repeat([]byte{n}, 3400) }
	h6 := packettest.Header{Src: share1, Dst: packettest.H4in6}
	h4 := packettest.Header{Src: packettest.H4, Dst: shares}
	for i, b := range [][]byte{
		packettest.IP(h6, packettest.UDP(1001, 53, data(1))),
		packettest.IP(h4, packettest.UDP(53, udp, data(2))),
		packettest.IP(h4, packettest.TCP(999, 8080, data(3))),
		packettest.IP(h6, packettest.EchoRequest(7, 1, data(4))),
		packettest.IP(h4, packettest.EchoReply(echo, 1, data(5))),
		packettest.IP(h4, packettest.UDPNoSum(53, 8080, data(6))),
		packettest.IP(packettest.Header{Src: share1, Dst: sharesIn6}, packettest.UDP(1001, 8080, data(7))),
		packettest.IP(h4, packettest.UDP(53, 8080, data(sharesForged))),
	} {
		id := uint32(i + 1)
		if byte(id) == sharesForged {
			id = 2
		}
		x.sent = append(x.sent, packettest.Fragments(b, 1300, id))
	}
	return x
}

// give translates a packet and returns what leaves, of Emit too.
func (x *sharedBed) give(w int, b []byte) (out [][]byte) {
	x.t.Helper()
	ps := translate.NewPackets(2, 1500)
	ps[0].Set(b)
	x.given++
	x.ws[w].TranslateBatch(x.now, ps[:1])
	out = x.left(w, &ps[0])
	return append(out, x.emit(w)...)
}

// left returns what leaves of a packet.
func (x *sharedBed) left(w int, p *translate.Packet) (out [][]byte) {
	more := translate.NewPackets(1, 1500)
	for p.Result.Verdict == translate.Split {
		for _, q := range more[:x.ws[w].Fragment(p, more)] {
			out = append(out, bytes.Clone(q.Bytes()))
		}
	}
	if p.Result.Verdict == translate.Forward {
		out = append(out, bytes.Clone(p.Bytes()))
	}
	return out
}

func (x *sharedBed) emit(w int) (out [][]byte) {
	x.t.Helper()
	ps := translate.NewPackets(2, 1500)
	for range 1000 {
		n, next := x.ws[w].Emit(x.now, ps)
		for i := range ps[:n] {
			out = append(out, x.left(w, &ps[i])...)
		}
		if next > x.now {
			return out
		}
	}
	x.t.Fatal("Emit has no end")
	return nil
}

// arrived checks packets that have left, and notes what of which packet they are.
func (x *sharedBed) arrived(out [][]byte) {
	x.t.Helper()
	for _, b := range out {
		if err := packettest.Check(b); err != nil && !x.dirty {
			x.t.Errorf("%v: %x", err, b)
		}
		if len(b) > 1500 {
			x.t.Errorf("a packet of %d bytes", len(b))
		}
		n := b[len(b)-1] // the data consists of it
		off, to := 0, netip.Addr{}
		if b[0]>>4 == 4 {
			off, to = int(binary.BigEndian.Uint16(b[6:])&0x1fff)*8, netip.AddrFrom4([4]byte(b[16:]))
		} else {
			to = netip.AddrFrom16([16]byte(b[24:]))
			if b[6] == 44 {
				off = int(binary.BigEndian.Uint16(b[42:]) &^ 7)
			}
		}
		want := map[byte]netip.Addr{1: packettest.H4, 3: share2, 4: packettest.H4, 5: share1, 6: share2, 7: share2}[n]
		if want.IsValid() && to != want {
			x.t.Errorf("data of packet %d goes to %v", n, to)
		}
		if x.got[n] == nil {
			x.got[n] = map[int]bool{}
		}
		x.got[n][off] = true
	}
}

// changed is a fragment that says something else about itself.
func changed(b []byte, v byte) []byte {
	b = bytes.Clone(b)
	at := 6
	if b[0]>>4 == 6 {
		at = 42
	}
	b[at] ^= v & 0x1f
	b[at+1] ^= v &^ 6
	if b[0]>>4 == 4 {
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^packettest.Sum(b[:20]))
	}
	return b
}

// FuzzSharedFragments: fragments of packets from and to hosts that share an address, in
// any order, by two workers, some twice, changed, forged or late. Each goes where its packet
// goes; what is there in time arrives, the whole of it; each is counted once; Emit ends.
func FuzzSharedFragments(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 0, 2})                                                                // in order
	f.Add([]byte{0, 1, 2, 0, 1, 1, 0, 1, 0, 0, 4, 2, 0, 4, 1, 0, 4, 0})                                     // reversed
	f.Add([]byte{0, 3, 0, 0, 3, 2, 0, 3, 1, 0, 5, 130, 0, 5, 1, 0, 5, 0})                                   // reassembled, by two workers
	f.Add([]byte{0, 1, 0, 0, 7, 0, 0, 1, 1, 0, 7, 1, 0, 1, 2, 0, 7, 2})                                     // forged
	f.Add([]byte{0, 6, 1, 3, 0, 99, 0, 6, 0, 0, 6, 2})                                                      // late
	f.Add([]byte{0, 2, 1, 3, 0, 120, 0, 2, 0, 0, 2, 2, 3, 0, 255})                                          // too late
	f.Add([]byte{0, 4, 0, 4, 4, 1, 0, 4, 1, 0, 4, 2, 4, 3, 8, 4, 3, 16, 0, 3, 0, 0, 3, 1, 0, 3, 2})         // overlaps
	f.Add([]byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 3, 0, 0, 3, 1, 0, 3, 2, 5, 1, 1}) // twice
	f.Fuzz(func(t *testing.T, todo []byte) {
		x := newSharedBed(t)
		pieces := map[byte]map[int]bool{} // that were sent
		start := x.now
		for ; len(todo) >= 3; todo = todo[3:] {
			which, piece := todo[1]%byte(len(x.sent)), int(todo[2]&0x7f)%3
			w, b := int(todo[2]>>7), x.sent[which][piece]
			switch todo[0] % 6 {
			case 3:
				x.now += time.Duration(todo[2]) * 20 * time.Millisecond
			case 4:
				x.dirty = true
				x.arrived(x.give(w, changed(b, todo[2])))
			case 5:
				x.arrived(x.emit(w))
			default:
				if pieces[which+1] == nil {
					pieces[which+1] = map[int]bool{}
				}
				pieces[which+1][piece] = true
				x.arrived(x.give(w, b))
			}
		}
		if x.now-start < 2*time.Second && !x.dirty {
			for _, n := range sharesTrusted {
				if len(pieces[n]) == 3 && len(x.got[n]) != 3 {
					t.Errorf("of packet %d arrive %v", n, x.got[n])
				}
			}
		}
		x.now += time.Minute
		x.emit(0)
		x.emit(1)
		counted := uint64(0)
		for _, c := range x.tr.Stats().All() {
			counted += c.Packets
		}
		if counted != x.given {
			t.Errorf("%d packets are counted, of %d", counted, x.given)
		}
	})
}
