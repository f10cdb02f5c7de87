package tuntest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

// Both kinds of queue fit where a worker takes one.
var _, _ interface {
	Read([]translate.Packet) (int, error)
	ReadTimeout([]translate.Packet, time.Duration) (int, error)
	Write([]translate.Packet) (int, error)
	Failed() uint64
} = (*tun.Queue)(nil), (*Queue)(nil)

func packets(data ...string) []translate.Packet {
	ps := make([]translate.Packet, len(data))
	for i, s := range data {
		ps[i] = translate.Packet{Buf: []byte("..." + s + "..."), Off: 3, Len: len(s)}
	}
	return ps
}

func read(t *testing.T, q *Queue, room int) (got []string) {
	t.Helper()
	ps := tun.NewPackets(room)
	for i := range ps {
		for k := range ps[i].Buf {
			ps[i].Buf[k] = 0xa5
		}
		ps[i].Result = translate.Result{Verdict: translate.Forward}
	}
	n, err := q.Read(ps)
	require.NoError(t, err)
	for _, p := range ps[:n] {
		require.Equal(t, tun.Headroom, p.Off)
		require.Zero(t, p.Result)
		got = append(got, string(p.Bytes()))
		rest := append(bytes.Clone(p.Buf[:p.Off]), p.Buf[p.Off+p.Len:]...)
		require.Equal(t, len(rest), bytes.Count(rest, []byte{0xa5}), "bytes outside the window")
	}
	return got
}

func TestPair(t *testing.T) {
	a, b := Pair(0)
	out := packets("one", "two", "three")
	out[1].Offload = translate.Offload{Flags: translate.OffloadNeedsCsum, CsumStart: 20}
	n, err := a.Write(out)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	copy(out[0].Bytes(), "xxx") // ours again

	require.Equal(t, []string{"one"}, read(t, b, 1))
	ps := tun.NewPackets(8)
	n, err = b.Read(ps)
	require.NoError(t, err)
	require.Equal(t, 2, n, "what is there, without waiting for more")
	require.Equal(t, out[1].Offload, ps[0].Offload)
	require.Equal(t, "three", string(ps[1].Bytes()))

	_, err = b.Write(packets("back"))
	require.NoError(t, err)
	require.Equal(t, []string{"back"}, read(t, a, 4), "the directions are apart")
	n, err = a.Read(nil)
	require.NoError(t, err)
	require.Zero(t, n, "no room, no wait")
}

func TestLongPacketIsCut(t *testing.T) {
	a, b := Pair(0)
	_, err := a.Write(packets("0123456789"))
	require.NoError(t, err)
	ps := []translate.Packet{{Buf: make([]byte, tun.Headroom+4+translate.Tailroom)}}
	n, err := b.Read(ps)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, "0123", string(ps[0].Bytes()))
}

func TestLimit(t *testing.T) {
	a, b := Pair(2)
	n, err := a.Write(packets("one", "two", "three"))
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, uint64(1), a.Failed())
	require.Zero(t, b.Failed())
	require.Equal(t, []string{"one", "two"}, read(t, b, 4))
	n, err = a.Write(packets("four"))
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestReadWaits(t *testing.T) {
	a, b := Pair(0)
	got := make(chan string)
	go func() {
		ps := tun.NewPackets(1)
		n, err := b.Read(ps)
		got <- fmt.Sprint(n, " ", err, " ", string(ps[0].Bytes()))
	}()
	select {
	case s := <-got:
		t.Fatalf("read an empty queue: %s", s)
	case <-time.After(20 * time.Millisecond):
	}
	_, err := a.Write(packets("late"))
	require.NoError(t, err)
	require.Equal(t, "1 <nil> late", <-got)
}

func TestClose(t *testing.T) {
	a, b := Pair(0)
	_, err := a.Write(packets("last"))
	require.NoError(t, err)

	// A reader of either end wakes up, with what happened to that end.
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := a.Read(tun.NewPackets(1))
		if err == nil || err.Error() != "tuntest: read: device is closed" {
			t.Errorf("read of the closed end: %v", err)
		}
	})
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, a.Close())
	wg.Wait()
	require.NoError(t, a.Close())

	_, err = a.Write(packets("x"))
	require.ErrorIs(t, err, tun.ErrClosed)
	_, err = b.Write(packets("x"))
	require.ErrorIs(t, err, tun.ErrGone)
	require.Equal(t, []string{"last"}, read(t, b, 2), "what was written before")
	_, err = b.Read(tun.NewPackets(1))
	require.ErrorIs(t, err, tun.ErrGone)
	require.NoError(t, b.Close())
	_, err = b.Read(tun.NewPackets(1))
	require.ErrorIs(t, err, tun.ErrClosed)
}

// TestBothWaysAtOnce sends numbered packets both ways, for the race detector,
// and finds them all in order.
func TestBothWaysAtOnce(t *testing.T) {
	a, b := Pair(0)
	const count = 2000
	var wg sync.WaitGroup
	for _, ends := range [][2]*Queue{{a, b}, {b, a}} {
		wg.Go(func() {
			for i := range count {
				if n, err := ends[0].Write(packets(fmt.Sprint(i))); n != 1 || err != nil {
					t.Error(n, err)
				}
			}
		})
		wg.Go(func() {
			ps := tun.NewPackets(4)
			for i := 0; i < count; {
				n, err := ends[1].Read(ps)
				if err != nil {
					t.Error(err)
					return
				}
				for _, p := range ps[:n] {
					if string(p.Bytes()) != fmt.Sprint(i) {
						t.Errorf("packet %d: %s", i, p.Bytes())
					}
					i++
				}
			}
		})
	}
	wg.Wait()
}

// TestReadTimeout: the same contract as that of a device.
func TestReadTimeout(t *testing.T) {
	a, b := Pair(0)
	ps := tun.NewPackets(2)
	for _, timeout := range []time.Duration{-1, 0, time.Millisecond} {
		begin := time.Now()
		n, err := b.ReadTimeout(ps, timeout)
		require.NoError(t, err)
		require.Zero(t, n)
		require.GreaterOrEqual(t, time.Since(begin), timeout)
	}
	_, err := a.Write(packets("one", "two", "three"))
	require.NoError(t, err)
	for _, want := range []int{2, 1} {
		n, err := b.ReadTimeout(ps, 0)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	go func() {
		_, _ = a.Write(packets("late"))
		_ = a.Close()
	}()
	n, err := b.ReadTimeout(ps, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = b.ReadTimeout(ps, time.Hour)
	require.ErrorIs(t, err, tun.ErrGone)
	require.NoError(t, b.Close())
	_, err = b.ReadTimeout(ps, 0)
	require.ErrorIs(t, err, tun.ErrClosed)
}
