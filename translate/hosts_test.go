package translate

import "testing"

// TestHostsAreHalfFull: the tables of single addresses have the smallest power of two
// of slots that is twice the number of maps, as the comment promises; fewer made lookups
// slower and ended none.
func TestHostsAreHalfFull(t *testing.T) {
	for n := range 70 {
		h := newHosts(n)
		want := 0
		if n > 0 {
			for want = 1; want < 2*n; want *= 2 {
			}
		}
		if len(h.by4) != want || len(h.by6) != want {
			t.Errorf("%d maps have %d and %d slots, want %d", n, len(h.by4), len(h.by6), want)
		}
	}
}
