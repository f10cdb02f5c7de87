package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var testRules = rules{confirm: 14, candidates: 24, alpha: 0.02, min: 0.01, threshold: 0.03, geomean: 0.02}

// A machine makes up figures of benchmarks as a busy machine does: now and then
// one is far off, and for a while all are.
type machine struct {
	*rand.Rand
	n      int             // benchmarks
	slower map[int]float64 // by how much the head is slower
	noise  float64
	spell  float64 // what the machine does just now
}

func (m *machine) time() float64 {
	if m.IntN(10) == 0 {
		m.spell = 0.3 * m.Float64()
	}
	v := 1 + m.spell + m.noise*m.ExpFloat64()
	if m.IntN(20) == 0 {
		v *= 1 + 3*m.Float64()
	}
	return v
}

// round measures the benchmarks that are wanted.
func (m *machine) round(all map[key]*series, want func(key) bool) {
	base, head := figures{}, figures{}
	for i := range m.n {
		k := key{"./bench", fmt.Sprintf("B/%03d", i), unitTime}
		if want(k) {
			base[k], head[k] = m.time(), m.time()*(1+m.slower[i])
		}
	}
	add(all, base, head)
}

// compare runs a whole comparison and returns the names of what was confirmed.
func (m *machine) compare(rounds int) (names []string) {
	all := map[key]*series{}
	for range rounds {
		m.round(all, func(key) bool { return true })
	}
	found := testRules.screen(all)
	testRules.settle(found, func(open []*candidate) error {
		fresh := map[key]*series{}
		for _, c := range open {
			fresh[c.key] = &c.fresh
		}
		for range testRules.confirm {
			m.round(fresh, func(k key) bool { return fresh[k] != nil })
		}
		return nil
	})
	for _, c := range found {
		if c.verdict == confirmed {
			names = append(names, c.name)
		}
	}
	return names
}

// TestSilentWithoutChange: a comparison of one revision with itself reported +33 %
// (p = 0.04), as some of a hundred benchmarks always do. In 19 of 20 comparisons
// nothing may be reported.
func TestSilentWithoutChange(t *testing.T) {
	const runs = 300
	for _, noise := range []float64{0.01, 0.1} {
		reports := 0
		for seed := range runs {
			m := &machine{Rand: rand.New(rand.NewPCG(1, uint64(seed))), n: 120, noise: noise}
			if len(m.compare(6)) > 0 {
				reports++
			}
		}
		t.Logf("noise %v: %d of %d comparisons report something", noise, reports, runs)
		if reports > runs/20 {
			t.Errorf("noise %v: %d of %d comparisons report something", noise, reports, runs)
		}
	}
}

// TestSlowdownFound: silence is worth nothing if slowdowns are not found.
func TestSlowdownFound(t *testing.T) {
	const runs = 100
	found := 0
	for seed := range runs {
		m := &machine{Rand: rand.New(rand.NewPCG(2, uint64(seed))), n: 120, noise: 0.01, slower: map[int]float64{7: 0.10}}
		if got := m.compare(6); reflect.DeepEqual(got, []string{"B/007"}) {
			found++
		}
	}
	t.Logf("found in %d of %d comparisons", found, runs)
	if found < runs*8/10 {
		t.Errorf("found in %d of %d comparisons", found, runs)
	}
}

// TestTooManyCandidates: what is not measured again is not confirmed, and slowdowns
// go first.
func TestTooManyCandidates(t *testing.T) {
	m := &machine{Rand: rand.New(rand.NewPCG(3, 3)), n: 60, noise: 0.001, slower: map[int]float64{}}
	for i := range 40 {
		m.slower[i] = -0.5
	}
	m.slower[50] = 0.5
	got := m.compare(6)
	if len(got) > testRules.candidates || len(got) < testRules.candidates/2 || got[0] != "B/050" {
		t.Errorf("confirmed are %d: %v", len(got), got)
	}
}

// TestNames: a file from a machine with 4 processors compared with nothing of one
// from 2.
func TestNames(t *testing.T) {
	base, head := figures{}, figures{}
	read(t, base, "BenchmarkFlows/table=maps/flows=1-2 100 50 ns/op 0 allocs/op\nBenchmarkFlows/table=maps/flows=1-2 100 40 ns/op\nBenchmarkOld-2 1 1 ns/op\n")
	read(t, head, "BenchmarkFlows/table=maps/flows=1-4 100 60 ns/op 1 allocs/op\nBenchmarkNew-4 1 1 ns/op\n")
	all := map[key]*series{}
	add(all, base, head)
	if len(all) != 2 {
		t.Fatalf("compared are %v", all)
	}
	s := all[key{"./bench", "Flows/table=maps/flows=1", unitTime}]
	if s == nil || math.Abs(s.ratios()[0]-1.5) > 1e-9 { // the faster one of two
		t.Errorf("%+v", s)
	}
	if s := all[key{"./bench", "Flows/table=maps/flows=1", unitAllocs}]; s == nil || !moreAllocs(s) {
		t.Errorf("%+v", s)
	}
}

// TestEndToEnd: what is better when it is higher, medians of rounds and what was only
// sent.
func TestEndToEnd(t *testing.T) {
	base, head := figures{}, figures{}
	const name = "BenchmarkE2E/load=udp/gateway=steppe/round="
	read(t, base, name+"1-2 1 100 packets/s 100 sent/s 10 cpu-ns/packet\n"+name+"2-2 1 200 packets/s 100 sent/s 11 cpu-ns/packet\n")
	read(t, head, name+"1-2 1 100 packets/s 100 sent/s 20 cpu-ns/packet\nBenchmarkE2E/load=udp/gateway=all-2 1 5 steppe/kernel\n")
	all := map[key]*series{}
	add(all, base, head)
	for unit, want := range map[string]float64{"packets/s": 2, "cpu-sec/packet": 2} {
		s := all[key{"./bench", "E2E/load=udp/gateway=steppe", unit}]
		if s == nil || math.Abs(s.ratios()[0]-want) > 1e-9 {
			t.Errorf("%s: %+v", unit, s)
		}
	}
	if len(all) != 2 {
		t.Errorf("compared are %v", all)
	}
}

// TestPairsStay: the median of one side sorted it, and what was compared after that
// were no pairs any more.
func TestPairsStay(t *testing.T) {
	s := &series{key: key{"./bench", "A", unitTime}, base: []float64{3, 1, 2}, head: []float64{2, 6, 4}}
	b := newRow(s, nil)
	if b.BaseMedian != 2 || b.HeadMedian != 4 || b.Ratio != 2 || !reflect.DeepEqual(b.Base, []float64{3, 1, 2}) {
		t.Errorf("%+v", b)
	}
	if got := s.ratios(); !reflect.DeepEqual(got, []float64{2. / 3, 6, 2}) {
		t.Errorf("ratios are %v", got)
	}
}

func read(t *testing.T, f figures, text string) {
	t.Helper()
	if err := f.read("./bench", strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

func TestAlternatives(t *testing.T) {
	got := alternatives(`A/x=(1|2)|B|C[|]\||D`)
	if want := []string{"A/x=(1|2)", "B", `C[|]\|`, "D"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.txt")
	text := "# a remark\nBenchmarkE2E/load=tcp/round=1-2 1 100 bit/s\nBenchmarkA-8 10 2.5 ns/op\nBenchmarkA-8 10 3.5 ns/op\nPASS\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := convert(&b, []string{file}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"Name": "E2E/load=tcp/round=1"`, `"bit/s": [`, `"ns/op": [`, "3.5"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in %s", want, b.String())
		}
	}
}

// TestSmoke: what the benchmarks say of themselves.
func TestSmoke(t *testing.T) {
	results := func(text string) []*result {
		t.Helper()
		all, err := readResults(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := results("BenchmarkA/x=1-4 1 5 ns/op 0 B/op 0 allocs/op 0.001 mallocs/op\nBenchmarkB-4 1 5 ns/op 16 B/op 0 allocs/op 0.031 mallocs/op\nBenchmarkC-4 1 5 ns/op\n")
	if found := allocations(all); len(found) != 2 || !strings.HasPrefix(found[0], "B: [0.031 0] allocations") || !strings.HasPrefix(found[1], "C: ") {
		t.Errorf("allocations: %q", found)
	}

	names := kept(append(all, results("BenchmarkE2E/load=tcp/gateway=steppe/round=1-2 1 5 bit/s\nBenchmarkE2E/load=tcp/gateway=tayga/round=1-2 1 5 bit/s\nBenchmarkE2E/load=tcp/gateway=all-2 1 5 bit/s\n")...))
	if want := []string{"A/x=1", "B", "C", "E2E/load=tcp/gateway=steppe"}; !reflect.DeepEqual(names, want) {
		t.Errorf("names: %q, want %q", names, want)
	}
	for _, c := range []struct {
		want  []string
		found int
	}{
		{names, 0},
		{append([]string{"Gone"}, names...), 2},
		{names[1:], 2},
		{append([]string{"MapFile/lines=10"}, names...), 2},
	} {
		if found := differences(c.want, names); len(found) != c.found {
			t.Errorf("%q: %q", c.want, found)
		}
	}
	if found := differences(names, names[:3]); len(found) != 0 {
		t.Errorf("without a laboratory: %q", found)
	}

	const reload = "BenchmarkMapFile/lines=10-2 1 %d reload-lost-packets %d steady-lost-packets\n"
	for _, c := range []struct{ lost, steady, found int }{{0, 0, 0}, {0, 3, 0}, {1, 0, 1}, {1, 1, 0}} {
		if found := losses(results(fmt.Sprintf(reload, c.lost, c.steady))); len(found) != c.found {
			t.Errorf("%+v: %q", c, found)
		}
	}
}
