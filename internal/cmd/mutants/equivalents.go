package main

// equivalents are changes that behave as the original does in every way that a
// caller can see.
var equivalents = []equivalent{
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
