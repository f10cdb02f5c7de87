package translate

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"
)

// TestIdentsInARow: the values of a flow that one worker sends follow each other, from
// one block into the next, and also when the clock has reached the next of them. A
// value that was left out at the end of each block went unnoticed.
func TestIdentsInARow(t *testing.T) {
	const tick = time.Duration(1) << clockShift
	for name, c := range map[string]struct {
		packets int
		step    time.Duration // of the clock after each
	}{"at-once": {10 * identBlock, 0}, "a-tick-apart": {10 * identBlock, tick}} {
		w := newIdentTranslator(t).NewWorker()
		now := time.Hour
		w.begin(now)
		last := w.identFor(1, 2, protoUDP)
		for i := range c.packets {
			now += c.step
			w.begin(now)
			id := w.identFor(1, 2, protoUDP)
			if id != last+1 {
				t.Fatalf("%s: after packet %d, %#x follows %#x", name, i, id, last)
			}
			last = id
		}
	}
}

// TestIdentRuns: runs of any length, taken between single values, share none with
// each other.
func TestIdentRuns(t *testing.T) {
	w := newIdentTranslator(t).NewWorker()
	w.begin(time.Hour)
	f, seen := flow{addresses: addresses{src4: 1, dst4: 2}}, map[uint16]int{}
	for _, n := range []int{1, 2, identBlock - 2, identBlock - 1, identBlock, identBlock + 1, 1, 100, 3, 28, 1, 1, 31, 30} {
		first := w.ident(&f, protoTCP, n)
		for i := range n {
			if of := seen[first+uint16(i)]; of != 0 {
				t.Fatalf("value %d of a run of %d was in a run of %d", i, n, of)
			}
			seen[first+uint16(i)] = n
		}
	}
}

// TestStaleBlockBounds: a worker goes on with its block until others have taken
// identStale values since, and not when they have taken one more.
func TestStaleBlockBounds(t *testing.T) {
	for _, c := range []struct {
		since uint32 // values between the next of the block and the counter
		stale bool
	}{{identStale - 1, false}, {identStale, false}, {identStale + 1, true}} {
		tr := newIdentTranslator(t)
		one, other := tr.NewWorker(), tr.NewWorker()
		one.begin(time.Hour)
		other.begin(time.Hour)
		f, g := flow{addresses: addresses{src4: 1, dst4: 2}}, flow{addresses: addresses{src4: 1, dst4: 2}}
		first := one.ident(&f, protoUDP, 1)
		counter := identCounter(one.counters[f.idAt].Load())
		next := one.ids[f.idAt]
		if next.value() != first+1 {
			t.Fatalf("next is %#x, first was %#x", next.value(), first)
		}
		other.ident(&g, protoUDP, int(c.since)-int(counter.count()-next.count()))
		if id := one.ident(&f, protoUDP, 1); (id != first+1) != c.stale {
			t.Errorf("%d values taken since: %#x follows %#x", c.since, id, first)
		}
	}
}

// TestIdentPlaceBits: each bit of addresses and protocol has a part in where the counter
// of a flow is and in its tag, whatever the keys: flows with the same of both would share
// a counter, and one could read what the other sends.
func TestIdentPlaceBits(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for range 50 {
		s := identSpace{places: [2]uint64{r.Uint64(), r.Uint64()}}
		src, dst, proto := addr4(r.Uint32()), addr4(r.Uint32()), uint8(r.Uint32())
		at, tag := s.place(src, dst, proto)
		differs := func(what string, bit int, src, dst addr4, proto uint8) {
			if a, b := s.place(src, dst, proto); a == at && b == tag {
				t.Fatalf("bit %d of the %s has no part", bit, what)
			}
		}
		for i := range 32 {
			differs("source", i, src^1<<i, dst, proto)
			differs("destination", i, src, dst^1<<i, proto)
		}
		for i := range 8 {
			differs("protocol", i, src, dst, proto^1<<i)
		}
		differs("order", 0, dst, src, proto)
	}
}

// sipHash13 is SipHash-1-3 of any bytes, as its paper has it.
func sipHash13(k0, k1 uint64, data []byte) uint64 {
	v := [4]uint64{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	round := func() {
		for _, r := range [2][2]int{{13, 16}, {17, 21}} {
			v[0] += v[1]
			v[2] += v[3]
			v[1], v[3] = bits.RotateLeft64(v[1], r[0])^v[0], bits.RotateLeft64(v[3], r[1])^v[2]
			v[0] = bits.RotateLeft64(v[0], 32)
			v[0], v[2] = v[2], v[0] // the second half mixes the other pairs
		}
	}
	padded := append(bytes.Clone(data), make([]byte, 8-len(data)%8)...)
	padded[len(padded)-1] = byte(len(data))
	for ; len(padded) > 0; padded = padded[8:] {
		m := binary.LittleEndian.Uint64(padded)
		v[3] ^= m
		round()
		v[0] ^= m
	}
	v[2] ^= 0xff
	round()
	round()
	round()
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

// TestIdentHashKeys: the hash of a flow with any keys. With keys of 0, which the known
// values have, a key that is used twice or not at all goes unnoticed.
func TestIdentHashKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	for range 100 {
		s := identSpace{key: [2]uint64{r.Uint64(), r.Uint64()}}
		src, dst, proto := r.Uint32(), r.Uint32(), uint8(r.Uint32())
		data := append(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, dst), src), proto)
		if got, want := s.hash(addr4(src), addr4(dst), proto), sipHash13(s.key[0], s.key[1], data); got != want {
			t.Fatalf("%x, %x, %d: %#x, want %#x", src, dst, proto, got, want)
		}
	}
}

// TestFlowSlotOfAnother: a slot that gets another flow forgets where the counter of the
// one before was, and one whose flow is only resolved again does not. For flows of Sessions
// a slot does not stand by itself.
func TestFlowSlotOfAnother(t *testing.T) {
	w := newIdentTranslator(t).NewWorker()
	w.begin(time.Hour)
	one := addresses{src4: 1, dst4: 2, src6: addr6{1, 1}, dst6: addr6{2, 2}}
	for name, c := range map[string]struct {
		next addresses
		kept bool
	}{
		"same":               {one, true},
		"other-source":       {addresses{src4: 3, dst4: 2}, false},
		"other-destination":  {addresses{src4: 1, dst4: 3}, false},
		"other-way":          {addresses{src4: 2, dst4: 1}, false},
		"same-in-IPv4-alone": {addresses{src4: 1, dst4: 2, src6: addr6{3, 3}}, true},
	} {
		f := new(flow)
		w.keep(f, one, 0, ports{})
		w.ident(f, protoUDP, 1)
		w.keep(f, c.next, 0, ports{})
		if f.knowsIdent(protoUDP) != c.kept || !c.kept && f.idProto != 0 {
			t.Errorf("%s: counter known %v, want %v", name, f.knowsIdent(protoUDP), c.kept)
		}
		if !f.is4(c.next.src4, c.next.dst4, w.stamp) {
			t.Errorf("%s: the slot does not have the flow", name)
		}
	}
	f := new(flow)
	w.keep(f, one, 0, ports{set: true, pref64: 5})
	if f.is4(1, 2, w.stamp) || !f.is4(1, 2, w.stamp|askSessions) || f.pref64 != 5 {
		t.Errorf("of Sessions the stamp is %#x, the prefix %d", f.stamp, f.pref64)
	}
}
