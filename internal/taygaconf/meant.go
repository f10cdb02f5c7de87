package taygaconf

import (
	"fmt"
	"maps"
	"slices"
)

// longestMistake is the length of the longest word that is compared with the directives.
const longestMistake = 40

// meant returns what to add to the message about an unknown directive: the one directive
// that may be meant, if one is near enough. Once there are more messages than are kept, it
// compares nothing: a wrong file may have a million lines.
func (r *reader) meant() string {
	if r.errors >= maxProblems || len(r.name) > longestMistake {
		return ""
	}
	best, least := "", min(2, len(r.name)/3)+1
	for _, name := range slices.Sorted(maps.Keys(directives)) {
		if d := distance(r.name, name, least); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %s?", best)
}

// distance returns how many letters have to be inserted, left out, changed, or swapped with
// the next one to make b of a (optimal string alignment), or most if that is less.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	var rows [3][longestMistake + 1]int // for the letters of a before the last one, before, and with it
	before, last, this := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		this[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			this[j] = min(last[j]+1, this[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				this[j] = min(this[j], before[j-2]+1)
			}
		}
		before, last, this = last, this, before
	}
	return min(most, last[len(b)])
}
