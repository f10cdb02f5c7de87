package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// A lateWorker holds packets until their time has come, and translates them then.
type lateWorker struct {
	*gateway.Worker
	held []heldPacket // by time
}

type heldPacket struct {
	at    time.Duration
	bytes []byte
}

func (w *lateWorker) Emit(now time.Duration, ps []translate.Packet) (n int, next time.Duration) {
	for n < len(ps) && len(w.held) > 0 && w.held[0].at <= now {
		ps[n].Set(w.held[0].bytes)
		w.held = w.held[1:]
		n++
	}
	w.TranslateBatch(now, ps[:n])
	if len(w.held) == 0 {
		return n, translate.Never
	}
	return n, w.held[0].at
}

// lateDevice runs a pump in the background whose worker holds packets.
func lateDevice(t *testing.T, held ...heldPacket) *memDevice {
	t.Helper()
	g := installed(t, confOf(t, poolConf), time.Now())
	g.Pools()[0].Assign(client.As16())
	dev := newMemDevice()
	p := newPump(dev, &lateWorker{g.Worker(0), held}, newPacketLog(0, newLogger(&recorder{})))
	ended := make(chan error)
	go func() { ended <- p.run() }()
	t.Cleanup(func() {
		dev.Stop()
		assert.NoError(t, <-ended)
	})
	return dev
}

// TestPumpEmitsInTime: a packet that is due leaves although none comes in, not before its
// time. A reader of the queue waited for the next packet, however long that took.
func TestPumpEmitsInTime(t *testing.T) {
	packet := packettest.IP(fromHost, packettest.UDP(1000, 53, []byte("late")))
	first, second := time.Since(started), time.Since(started)+30*time.Millisecond
	dev := lateDevice(t, heldPacket{first, packet}, heldPacket{second, packet})
	want := packettest.IP(packettest.Header{Src: leased, Dst: server4, TTL: 63}, packettest.UDP(1000, 53, []byte("late")))
	for _, at := range []time.Duration{first, second} {
		assert.Empty(t, packettest.Equal(want, dev.next(t)))
		assert.GreaterOrEqual(t, time.Since(started), at)
	}
	// And then the pump waits for packets as before.
	dev.give(t, packettest.IP(fromHost, packettest.UDP(1001, 53, nil)))
	assert.EqualValues(t, 1001&255, dev.next(t)[21])
}

// TestPumpEmitsMany: more packets than a batch has leave at once, in order, and a packet
// of the queue need not wait for all of them.
func TestPumpEmitsMany(t *testing.T) {
	const many = 3 * batchSize
	var held []heldPacket
	for i := range many {
		held = append(held, heldPacket{0, packettest.IP(fromHost, packettest.UDP(uint16(i), 53, nil))})
	}
	held = append(held, heldPacket{time.Hour, nil})
	dev := newMemDevice() // the packet is there first
	g := installed(t, confOf(t, poolConf), time.Now())
	dev.give(t, packettest.IP(fromHost, packettest.UDP(5000, 53, nil)))
	p := newPump(dev, &lateWorker{g.Worker(0), held}, newPacketLog(0, newLogger(&recorder{})))
	ended := make(chan error)
	go func() { ended <- p.run() }()
	place, port := 0, 0
	for i := range many + 1 {
		b := dev.next(t)
		if got := int(b[20])<<8 | int(b[21]); got == 5000 {
			place = i
		} else {
			require.Equal(t, port, got)
			port++
		}
	}
	assert.LessOrEqual(t, place, batchSize, "after one batch at most")
	dev.Stop()
	assert.NoError(t, <-ended)
}

// TestPumpEmitsPieces: a packet that has to be cut is cut, one that is dropped is not sent.
func TestPumpEmitsPieces(t *testing.T) {
	broken := packettest.IP(toHost, packettest.UDP(53, 1000, nil))
	broken[10] ^= 1 // header checksum
	big := packettest.IP(packettest.Header{Src: server4, Dst: leased, ID: 7}, packettest.UDP(53, 1000, packettest.Bytes(3000, 1)))
	dev := lateDevice(t, heldPacket{0, broken}, heldPacket{0, big}, heldPacket{0, broken})
	var pieces [][]byte
	for last := false; !last; {
		b := dev.next(t)
		pieces = append(pieces, b)
		last = b[43]&1 == 0
	}
	whole, err := packettest.Reassemble(pieces)
	require.NoError(t, err)
	assert.Equal(t, packettest.IP(packettest.Header{Src: server6, Dst: client, TTL: 63}, packettest.UDP(53, 1000, packettest.Bytes(3000, 1))), whole)
}
