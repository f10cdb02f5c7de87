package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBitmap runs a bitmap beside an array of bools.
func TestBitmap(t *testing.T) {
	for _, size := range []uint64{2, 16, 64, 128, 4096, 1 << 13, 1 << 18} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := rand.New(rand.NewPCG(size, 1))
			b, want := newBitmap(size), make([]bool, size)
			next := func(i uint32) (uint32, bool) {
				for ; uint64(i) < size; i++ {
					if !want[i] {
						return i, true
					}
				}
				return 0, false
			}
			set := func(lo, hi uint32, on bool) {
				if on {
					b.setRange(lo, hi)
				}
				for i := lo; i <= hi; i++ {
					if want[i] = on; !on {
						b.unset(i)
					}
				}
			}
			for step := range 200 {
				i := uint32(r.Uint64N(size))
				switch r.IntN(5) {
				case 0:
					hi := min(uint32(size-1), i+uint32(r.Uint64N(size/2)))
					set(i, hi, step%8 != 0)
				case 1:
					b.unset(i)
					want[i] = false
				case 2:
					set(0, uint32(size-1), true) // full but for what follows
					b.unset(i)
					want[i] = false
				default:
					b.set(i)
					want[i] = true
				}
				clear := 0
				for _, w := range want {
					if !w {
						clear++
					}
				}
				require.Equal(t, clear, b.clear)
				for _, from := range []uint32{0, i, uint32(r.Uint64N(size)), uint32(size - 1)} {
					got, ok := b.next(from)
					w, wok := next(from)
					require.Equal(t, wok, ok)
					require.Equal(t, w, got)
				}
				require.Equal(t, want[i], b.has(i))
			}
		})
	}
}

func TestChangedBits(t *testing.T) {
	a, b := newBitmap(256), newBitmap(256)
	a.setRange(10, 200)
	b.setRange(12, 201)
	var got []uint32
	for i := range changedBits(a, b) {
		got = append(got, i)
	}
	require.Equal(t, []uint32{10, 11, 201}, got)
}
