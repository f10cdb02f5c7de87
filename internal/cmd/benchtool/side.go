package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A side is one of the two revisions: its sources, its test binaries and what they
// print.
type side struct {
	name     string // base or head
	root     string // of the sources
	commit   string
	binaries map[string]string // by package
	raw      *os.File
	remarks  map[string]bool // lines of its benchmarks that were shown
}

// prepare checks a revision out into dir, or takes the tree at repo for an empty
// one, and builds the test binaries of its packages.
func prepare(ctx context.Context, name, repo, rev, dir string, packages []string) (*side, error) {
	s := &side{name: name, root: repo, binaries: map[string]string{}, remarks: map[string]bool{}}
	if rev != "" {
		s.root = filepath.Join(dir, name)
		if _, err := command(ctx, repo, "git", "worktree", "add", "--quiet", "--detach", s.root, rev); err != nil {
			return s, err
		}
	}
	commit, err := command(ctx, s.root, "git", "describe", "--always", "--dirty")
	if err != nil {
		return s, err
	}
	s.commit = strings.TrimSpace(commit)
	for i, pkg := range packages {
		if tests, _ := filepath.Glob(filepath.Join(s.root, pkg, "*_test.go")); len(tests) == 0 {
			continue // another revision may have it
		}
		// The same path length for both sides, and no path in the binary: the same
		// sources give the same binary.
		file := filepath.Join(dir, fmt.Sprintf("%s%d.test", name, i))
		if _, err := command(ctx, s.root, "go", "test", "-c", "-trimpath", "-o", file, pkg); err != nil {
			return s, err
		}
		s.binaries[pkg] = file
	}
	return s, nil
}

// remove deletes the worktree. What is interrupted gets cleaned up, too.
func (s *side) remove(repo string) error {
	if s.root == repo {
		return nil
	}
	_, err := command(context.Background(), repo, "git", "worktree", "remove", "--force", s.root)
	return err
}

func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, errs.Bytes())
	}
	return out.String(), nil
}

// same reports whether both sides run the same binary for a package.
func same(a, b *side, pkg string) bool {
	x, err := os.ReadFile(a.binaries[pkg])
	y, err2 := os.ReadFile(b.binaries[pkg])
	return errors.Join(err, err2) == nil && sha256.Sum256(x) == sha256.Sum256(y)
}

// A job is what one process does: benchmarks of a package.
type job struct{ pkg, bench string }

// run measures a job once, and adds the figures to f.
func (s *side) run(ctx context.Context, o *options, j job, f figures) error {
	binary := s.binaries[j.pkg]
	if binary == "" {
		return nil
	}
	// A copy lies elsewhere in memory each time. The pages of one file stay where
	// they are, and their luck with the caches would count in every round.
	fresh := binary + ".run"
	if err := copyFile(fresh, binary); err != nil {
		return err
	}
	defer os.Remove(fresh)
	cmd := exec.CommandContext(ctx, fresh, append([]string{"-test.run", "^$", "-test.bench", j.bench,
		"-test.count", fmt.Sprint(o.count), "-test.benchtime", o.benchtime, "-test.timeout", "10m"}, o.args...)...)
	cmd.Dir = filepath.Join(s.root, j.pkg)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PWD=") })
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	s.raw.Write(out.Bytes())
	if err != nil {
		return fmt.Errorf("%s: benchmarks %s of %s: %w\n%s%s", s.name, j.bench, j.pkg, err, tail(out.String()), errs.Bytes())
	}
	for line := range strings.Lines(out.String()) {
		if remark, ok := strings.CutPrefix(line, "--- "); ok && !s.remarks[remark] {
			s.remarks[remark] = true
			fmt.Printf("%s: %s", s.name, remark)
		}
	}
	return f.read(j.pkg, &out)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// tail returns the last lines of the output of a benchmark that failed.
func tail(s string) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "")
}
