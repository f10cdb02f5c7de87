package rfc

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// proofs records what the tests of this run have shown, by row id.
var proofs = struct {
	sync.Mutex
	by map[string]proof
}{by: map[string]proof{}}

type proof struct {
	test            string
	failed, skipped bool
}

// row runs f as a subtest named id, the proof of that row of the matrix. The
// test that calls it is the one that the row names.
func row(t *testing.T, id string, f func(t *testing.T)) {
	t.Helper()
	test, _, _ := strings.Cut(t.Name(), "/")
	t.Run(id, func(t *testing.T) {
		t.Cleanup(func() {
			proofs.Lock()
			defer proofs.Unlock()
			p := proofs.by[id]
			p.test = test
			p.failed = p.failed || t.Failed()
			p.skipped = p.skipped || t.Skipped()
			proofs.by[id] = p
		})
		f(t)
	})
}

// TestMain runs the tests and then holds the matrix against them. A run of
// selected tests can't tell what is missing, so it checks nothing.
func TestMain(m *testing.M) {
	code := m.Run()
	if f := flag.Lookup("test.run"); f != nil && f.Value.String() != "" || flag.Lookup("test.list").Value.String() != "" {
		os.Exit(code)
	}
	if !checkMatrix() && code == 0 {
		code = 1
	}
	os.Exit(code)
}

// checkMatrix prints the table of RFCs and everything that does not add up.
func checkMatrix() bool {
	rows, err := Matrix()
	if err != nil {
		fmt.Println("FAIL: rfc:", err)
		return false
	}
	type tally struct{ rows, proven, deviating, na int }
	var (
		order    []string
		by       = map[string]*tally{}
		known    = map[string]bool{}
		problems []string
		total    tally
		noLab    = labMissing() // the one excuse for a row to be skipped
	)
	for _, r := range rows {
		known[r.ID] = true
		n := by[r.RFC]
		if n == nil {
			n = new(tally)
			by[r.RFC] = n
			order = append(order, r.RFC)
		}
		n.rows++
		total.rows++
		p, ran := proofs.by[r.ID]
		switch {
		case r.Status == NotApplicable:
			n.na++
			total.na++
			if ran {
				problems = append(problems, r.ID+": not applicable, and yet "+p.test+" proves it")
			}
			continue
		case !ran:
			problems = append(problems, r.ID+": no test ran ("+r.Test+" is named)")
		case p.test != r.Test:
			problems = append(problems, r.ID+": proven by "+p.test+", the matrix names "+r.Test)
		case p.failed:
			problems = append(problems, r.ID+": "+r.Test+" failed")
		case p.skipped && noLab != nil:
			fmt.Printf("SKIP: rfc: %s: not shown here: %v\n", r.ID, noLab)
		case p.skipped:
			problems = append(problems, r.ID+": "+r.Test+" was skipped")
		case r.Status == Proven:
			n.proven++
			total.proven++
		default:
			n.deviating++
			total.deviating++
		}
	}
	for id, p := range proofs.by {
		if !known[id] {
			problems = append(problems, id+": "+p.test+" proves it, the matrix does not know it")
		}
	}
	const form = "%-10s %5v %7v %10v %15v\n"
	fmt.Printf(form, "RFC", "rows", "proven", "deviating", "not applicable")
	for _, name := range order {
		n := by[name]
		fmt.Printf(form, strings.TrimPrefix(name, "rfc"), n.rows, n.proven, n.deviating, n.na)
	}
	fmt.Printf(form, "all", total.rows, total.proven, total.deviating, total.na)
	for _, p := range problems {
		fmt.Println("FAIL: rfc:", p)
	}
	return len(problems) == 0
}
