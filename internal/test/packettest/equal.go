package packettest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Equal compares a packet with what was expected and returns a description of
// the difference, empty if there is none.
//
// An expected IPv4 packet whose Identification is 0 stands for one whose
// Identification the translator generates: then that field is not compared, nor
// is the header checksum, which however has to be right for the header that it
// stands in. ICMP checksums do not cover the outer header and are compared.
func Equal(want, got []byte) (diff string) {
	return compare(want, got, nil)
}

// EqualAll compares packets pairwise with Equal. The fragments of one packet
// share their Identification, so a generated one has to be the same in all of
// got.
func EqualAll(want, got [][]byte) (diff string) {
	if len(want) != len(got) {
		return fmt.Sprintf("%d packets, want %d", len(got), len(want))
	}
	for i := range want {
		if d := Equal(want[i], got[i]); d != "" {
			return fmt.Sprintf("packet %d of %d: %s", i+1, len(want), d)
		}
		if generated(want[i]) && !slices.Equal(got[i][4:6], got[0][4:6]) {
			return fmt.Sprintf("packet %d of %d has identification %x, the first %x", i+1, len(want), got[i][4:6], got[0][4:6])
		}
	}
	return ""
}

// generated reports whether b is an IPv4 packet with an Identification of 0.
func generated(b []byte) bool {
	return len(b) >= 20 && b[0]>>4 == 4 && b[4] == 0 && b[5] == 0
}

// compare is Equal with a set of bytes of want that are free besides.
func compare(want, got []byte, free []bool) string {
	want, got = slices.Clone(want), slices.Clone(got)
	if generated(want) && len(got) >= 20 && got[0] == want[0] {
		n := int(want[0]&15) * 4
		if n >= 20 && n <= len(got) && n <= len(want) {
			if Sum(want[:n]) == 0xffff && Sum(got[:n]) != 0xffff {
				return "header checksum is wrong\n" + hex.Dump(got)
			}
			for _, b := range [][]byte{want, got} {
				binary.BigEndian.PutUint16(b[4:], 0)
				binary.BigEndian.PutUint16(b[10:], 0)
			}
		}
	}
	for i := range min(len(want), len(got)) {
		if i < len(free) && free[i] {
			want[i], got[i] = 0, 0
		}
	}
	i := firstDifference(want, got)
	if i < 0 {
		return ""
	}
	var s strings.Builder
	fmt.Fprintf(&s, "differs from byte %d on (%d bytes, want %d)\n", i, len(got), len(want))
	fmt.Fprintf(&s, "got\n%swant\n%s", hex.Dump(got), hex.Dump(want))
	return s.String()
}
