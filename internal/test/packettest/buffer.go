package packettest

import (
	"bytes"
	"testing"

	"github.com/steppe-nat64/steppe/translate"
)

// guard is the width of the zones, inside Packet.Buf and outside the promised
// room, that must not be touched.
const guard = 64

// filler is what a buffer has where nothing was written.
const filler = 0xa5

// Buffer returns a packet with the bytes of pkt in the middle of a buffer full
// of 0xa5: a guard zone, translate.Headroom, pkt, translate.Tailroom, a guard
// zone. pkt is copied.
func Buffer(pkt []byte) translate.Packet {
	const before = guard + translate.Headroom
	buf := bytes.Repeat([]byte{filler}, before+len(pkt)+translate.Tailroom+guard)
	copy(buf[before:], pkt)
	return translate.Packet{Buf: buf, Off: before, Len: len(pkt)}
}

// CheckGuards fails the test if p, made by Buffer from pkt and translated since,
// has been written to where it may not: beyond the headroom or the tailroom,
// or, if the last verdict was Drop, anywhere at all. It also fails if the window
// of p has left the room.
func CheckGuards(t testing.TB, p *translate.Packet, pkt []byte) {
	t.Helper()
	want := Buffer(pkt)
	if len(p.Buf) != len(want.Buf) {
		t.Errorf("buffer has %d bytes, had %d", len(p.Buf), len(want.Buf))
		return
	}
	if p.Result.Verdict == translate.Drop {
		if p.Off != want.Off || p.Len != want.Len {
			t.Errorf("dropped packet's window is %d+%d, was %d+%d", p.Off, p.Len, want.Off, want.Len)
		}
		if i := firstDifference(p.Buf, want.Buf); i >= 0 {
			t.Errorf("dropped packet (%s) changed at byte %d of the window", p.Result.Reason, i-want.Off)
		}
		return
	}
	end := len(want.Buf) - guard
	if p.Off < guard || p.Len < 0 || p.Off+p.Len > end {
		t.Errorf("window %d+%d lies outside of the room %d to %d", p.Off, p.Len, guard, end)
	}
	if i := firstDifference(p.Buf[:guard], want.Buf[:guard]); i >= 0 {
		t.Errorf("byte written %d before the headroom", guard-i)
	}
	if i := firstDifference(p.Buf[end:], want.Buf[end:]); i >= 0 {
		t.Errorf("byte written %d after the tailroom", i)
	}
}

// firstDifference is the first index at which a and b differ, -1 if none.
func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}
