package checksum

import (
	"math/rand/v2"
	"testing"
)

// naiveSum is the one's complement sum of RFC 1071 §1, word by word.
func naiveSum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func TestSum(t *testing.T) {
	b := make([]byte, 1600)
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := r.IntN(len(b))
		for i := range b[:n] {
			b[i] = byte(r.Uint32())
		}
		if r.IntN(4) == 0 {
			for i := range b[:n] {
				b[i] = 0xff
			}
		}
		if got, want := Fold(Sum(b[:n])), naiveSum(b[:n]); got != want {
			t.Fatalf("sum of %d bytes is %#x, want %#x", n, got, want)
		}
	}
	big := make([]byte, 65535)
	for i := range big {
		big[i] = 0xff
	}
	if got, want := Fold(Sum(big)), naiveSum(big); got != want {
		t.Errorf("largest sum is %#x, want %#x", got, want)
	}
}

// TestFold: any sum of 64 bits becomes its remainder modulo 65535, and 0 only if
// it is 0 itself. The last addition matters only to sums above 2^48, which no
// packet has.
func TestFold(t *testing.T) {
	sums := []uint64{0, 1, 0xffff, 0x10000, 0x1fffe, 0xffffffff, 0x1fffeffff, 0x10000ffffffff, 1<<46 - 1, 1<<64 - 1}
	r := rand.New(rand.NewPCG(9, 9))
	for range 100_000 {
		sums = append(sums, r.Uint64()>>r.IntN(64))
	}
	for _, s := range sums {
		want := uint16(s % 0xffff)
		if want == 0 && s != 0 {
			want = 0xffff
		}
		if got := Fold(s); got != want {
			t.Fatalf("fold(%#x) is %#x, want %#x", s, got, want)
		}
	}
}

// TestUpdateExample: RFC 1624 §4.
func TestUpdateExample(t *testing.T) {
	c := []byte{0xdd, 0x2f}
	Update(c, Minus(0x5555)+0x3285)
	if c[0]|c[1] != 0 {
		t.Errorf("example of RFC 1624 gives %x, want 0000", c)
	}
}

// TestSumOfZeros: a sum is 0 for zeros alone, however the carries fall.
func TestSumOfZeros(t *testing.T) {
	b := make([]byte, 200)
	if Sum(b) != 0 {
		t.Error("the sum of zeros is not 0")
	}
	for i := range b {
		for j := i; j < len(b); j++ {
			b[i], b[j] = 0xff, 0xff
			if Sum(b) == 0 || Fold(Sum(b)) != naiveSum(b) {
				t.Fatalf("bytes %d and %d set: sum %#x", i, j, Sum(b))
			}
			b[i], b[j] = 0, 0
		}
	}
	if b := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}; Sum8(b) != Sum(b[:8]) {
		t.Errorf("Sum8 is %#x, Sum %#x", Sum8(b), Sum(b[:8]))
	}
}
