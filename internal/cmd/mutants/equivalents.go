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
}

const (
	earlierRow = "an earlier row takes the code that the row begins with then"
	noZero     = "withDefaults has replaced 0"
	otherKey   = "another random key"
)
