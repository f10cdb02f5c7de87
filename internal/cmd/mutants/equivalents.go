package main

// equivalents are changes that behave as the original does in every way that a
// caller can see.
var equivalents = []equivalent{
	{"pool/assign.go", "if e.word.Swap(word(dead, 0))>>32 == held {", "0", "1", "the time of a lease that has ended is not read"},
	{"pool/assign.go", "p.generation.Add(1)", "1", "2", "any change of it will do"},
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
	{"translate/budget.go", "func (w *Worker) errorHost6(", "+", "-", "a hash as good"},
	{"translate/config.go", "if c.ErrorRate > UnlimitedErrors", "1", "0", noZero},
	{"translate/config.go", "if c.MTUErrorRate > UnlimitedErrors", "1", "0", noZero},
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
	otherKey   = "another random key"
)
