package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const benchmark = `package x

import "testing"

var sink [][]byte

func BenchmarkLoop(b *testing.B) {
	for _, n := range []string{"n=1", "n=2/m=3"} {
		b.Run(n, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				for i := range LOOPS { work[i&1]++ }
				ALLOC
			}
		})
	}
}

var work [2]int
`

// TestRevisions compares revisions of a repository of its own: each with itself,
// and one that is a hundred times slower and allocates.
func TestRevisions(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	version := func(loops, alloc, more string) {
		write("p/x_test.go", strings.NewReplacer("LOOPS", loops, "ALLOC", alloc).Replace(benchmark)+more)
	}
	git("init", "-q")
	write("go.mod", "module x\n\ngo 1.26.0\n")
	version("100", "", "func BenchmarkOld(b *testing.B) {}\n")
	git("add", ".")
	git("commit", "-q", "-m", "fast")

	out := filepath.Join(t.TempDir(), "ab")
	ab := func(args ...string) error {
		return run(t.Context(), append([]string{"ab", "-dir", dir, "-packages", "./p ./none", "-out", out,
			"-benchtime", "1000x", "-rounds", "4", "-confirm", "9"}, args...))
	}
	if err := ab("-base", "HEAD", "-threshold", "1000"); err != nil { // chance is for TestSilentWithoutChange
		t.Errorf("no change: %v", err)
	}
	version("10000", "sink = append(sink[:0], make([]byte, i64())); ", "func i64() int { return len(sink) + 100 }\n")
	if err := ab("-base", "HEAD"); !errors.Is(err, errFound) {
		t.Errorf("slower: %v", err)
	}
	text, err := os.ReadFile(out + ".json")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Loop/n=2/m=3: sec/op +", "Loop/n=1: 1 allocations instead of 0", `"p Old"`, `"confirmed"`, `-dirty"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in the result:\n%s", want, text)
		}
	}
	git("commit", "-q", "-a", "-m", "slow")
	if err := ab("-base", "HEAD", "-head", "HEAD^"); err != nil {
		t.Errorf("faster: %v", err)
	}
	if err := ab("-base", "no-such-revision"); err == nil || errors.Is(err, errFound) {
		t.Errorf("no revision: %v", err)
	}
	if err := ab("-base", "HEAD", "-bench", "NoSuch"); err == nil || errors.Is(err, errFound) {
		t.Errorf("no benchmark: %v", err)
	}
	if b, err := exec.Command("git", "-C", dir, "worktree", "list").Output(); err != nil || strings.Count(string(b), "\n") != 1 {
		t.Errorf("worktrees are left: %s %v", b, err)
	}
}
