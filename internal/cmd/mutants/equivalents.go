package main

// equivalents are changes that behave as the original does in every way that a
// caller can see.
var equivalents = []equivalent{
	{"pool/assign.go", "if e.word.Swap(word(dead, 0))>>32 == held {", "0", "1", "the time of a lease that has ended is not read"},
	{"pool/assign.go", "p.generation.Add(1)", "1", "2", "any change of it will do"},
	{"pool/bitmap.go", "words := make([]uint64, (n+63)/64)", "63", "62", "n is a power of two"},
	{"pool/entry.go", "for w>>32 == held && uint32(w) < now {", "<", "<=", onlySlower},
	{"pool/mapfile.go", "in := bufio.NewReaderSize(r, maxLine+2)", "2", "3", "a longer line is counted"},
	{"pool/pool.go", "return 0", "0", "1", "the clock begins at epoch"},
	{"pool/pool.go", "used := now - uint32(", "0", "1", "a nanosecond is no second"},
	{"pool/prefix.go", "off, ok = taken.next(0)", "0", "1", "the lowest address is never free"},
	{"pool/replace.go", "if fi, err := f.Stat(); err == nil &&", "&&", "||", "the permissions are set to what they are"},
	{"pool/replace.go", "if runtime.GOOS ==", "", "", "no test cuts the power"},
	{"pool/table.go", "hi, lo := bits.Mul64(a^k[0], b^k[1])", "1", "2", otherKey},
	{"pool/table.go", "hi, lo = bits.Mul64(hi^lo^k[2], k[3]|1)", "2", "", otherKey},
	{"pool/table.go", "hi, lo = bits.Mul64(hi^lo^k[2], k[3]|1)", "3", "", otherKey},
	{"pool/table.go", "hi, lo = bits.Mul64(hi^lo^k[2], k[3]|1)", "1", "", "a key is 0 once in 2^64"},
	{"pool/table.go", "if w := e.word.Swap(word(moved, 0)); w>>32 == held {", "0", "1", "the time of a lease that has moved is not read"},
	{"pool/upkeep.go", "} else if d := now.Sub(c.last); d > 0 {", ">", ">=", "no time goes by"},
	{"pool/upkeep.go", "if w := s[j].word.Load(); w>>32 == held &&", "&&", "||", "rest looks again"},
	{"pool/upkeep.go", "p.generation.Add(1)", "1", "2", "any change of it will do"},
	{"pool/upkeep.go", "if n++; n%batch == 0 {", "", "", "only how often the lock is let go"},
	{"translate/address.go", "case o-1 < 126:", "126", "125", "a later case says the same of 126.0.0.0/8"},
	{"translate/address.go", "if a.hi >= 0xfe<<56 {", ">=", ">", "fe00:: itself is legal either way"},
	{"translate/budget.go", "if rate < 0 {", "", "", noZero},
	{"translate/budget.go", "func (w *Worker) errorHost4(", "0", "1", otherKey},
	{"translate/budget.go", "func (w *Worker) errorHost6(", "1", "2", otherKey},
	{"translate/budget.go", "func (w *Worker) errorHost6(", "+", "-", goodHash},
	{"translate/config.go", "if c.ErrorRate > UnlimitedErrors", "1", "0", noZero},
	{"translate/config.go", "if c.MTUErrorRate > UnlimitedErrors", "1", "0", noZero},
	{"translate/flow.go", "k[i] = rand.Uint64() | 1", "", "", otherKey},
	{"translate/flow.go", "return &w.flows4[(", "+", "-", goodHash},
	{"translate/flow.go", "return &w.flows4[(", "1", "2", otherKey},
	{"translate/flow.go", "return &w.flows6[(", "+", "-", goodHash},
	{"translate/flowlabel.go", "a, b := bits.Mul64(", "", "", otherKey},
	{"translate/flowlabel.go", "c, d := bits.Mul64(", "", "", otherKey},
	{"translate/flowlabel.go", "e, f := bits.Mul64(", "", "", otherKey},
	{"translate/flowlabel.go", "return uint32((e^f)%0xfffff) + 1", "^", "|", goodHash},
	{"translate/hosts.go", "hi, lo := bits.Mul64(", "", "", otherKey},
	{"translate/hosts.go", "hi, lo = bits.Mul64(", "", "", goodHash},
	{"translate/hosts.go", "h.keys[i] = rand.Uint64() | 1", "", "", otherKey},
	{"translate/hairpin.go", "e.rest = uint32(w.s.ptbFromFragNeeded(", "0", "1", "the length counts only where no MTU is named, and one is"},
	{"translate/icmp.go", "{icmp4Unreachable, 2, 2,", "2", "1", earlierRow},
	{"translate/icmp.go", "{icmp4Unreachable, 3, 3,", "3", "2", earlierRow},
	{"translate/icmp.go", "{icmp4Unreachable, 4, 4,", "4", "3", earlierRow},
	{"translate/icmp.go", "{icmp4Unreachable, 5, 8,", "5", "4", earlierRow},
	{"translate/icmp.go", "{icmp4Unreachable, 9, 10,", "9", "8", earlierRow},
	{"translate/icmp.go", "{icmp4Unreachable, 11, 12,", "11", "10", earlierRow},
	{"translate/icmp.go", "{icmp4Unreachable, 13, 13,", "13", "12", earlierRow},
	{"translate/icmp.go", "{icmp6Unreachable, 1, 1,", "1", "0", earlierRow},
	{"translate/icmp.go", "{icmp6Unreachable, 2, 3,", "2", "1", earlierRow},
	{"translate/icmp.go", "{icmp6Unreachable, 4, 4,", "4", "3", earlierRow},
	{"translate/icmp.go", "{icmp6ParamProblem, 1, 1,", "1", "0", earlierRow},
	{"translate/ident.go", "at := first&^(identWays-1) | (first+i)%identWays", "+", "-", "all counters of a set are visited"},
	{"translate/ident.go", "w.touched += ", "", "", "read for the cache alone"},
	{"translate/rewrite.go", "to, _, _ := icmpCounterpart(", "0", "1", "Echo messages of all codes become the same"},
	{"translate/rewrite.go", "id := data[4:6]", "6", "7", twoBytes},
	{"translate/rewrite.go", "c := data[off : off+2]", "2", "3", twoBytes},
	{"translate/rewrite.go", "c := hdr[checksumOffset(proto):][:2]", "2", "3", twoBytes},
	{"translate/rewrite.go", "if len(data) >= 4 && data[2]|data[3] == 0 && checksum.Sum(data) == 0 {", "", "", "a sum of 0 says the same"},
	{"translate/segment.go", "field   = data[o.CsumOffset:][:2]", "2", "3", twoBytes},
	{"translate/segment.go", "if from < len(hdr) {", "<", "<=", "nothing is copied of nothing"},
	{"translate/stats.go", "if c.nTouched > 0 && s == c.last {", "0", "1", onlySlower},
	{"translate/translator.go", "generation += d.Generation()", "", "", "it changes whenever one of them does"},
	{"translate/translator.go", "if now > w.now || s != w.s {", ">", ">=", "nothing is gained in no time"},
	{"translate/translator.go", "w.stamp++", "", "", "any new stamp will do"},
	{"translate/translator.go", "if room := max(0, len(p.Buf)-Tailroom);", "0", "1", "Off is larger anyway"},
}

const (
	earlierRow = "an earlier row takes the code that the row begins with then"
	onlySlower = "only slower"
	noZero     = "withDefaults has replaced 0"
	goodHash   = "a hash as good"
	twoBytes   = "the first two bytes are used"
	otherKey   = "another random key"
)
