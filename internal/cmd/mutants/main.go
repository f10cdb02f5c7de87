// Command mutants breaks the rules of packages translate and session, and of what tells the fast
// path in the kernel of them, on purpose, one at a time,
// and fails if their tests, and those of rfc, do not notice in time: in four times what
// the tests take when nothing is broken, or a minute if that is longer. It
// works on a copy of the file in question, which the go command is told to read in
// its place (go help build, -overlay), so that the tree is never touched:
//
//	go run ./internal/cmd/mutants [-run regexp]
//
// With -random it changes operators, constants and conditions of translate, pool and session
// instead, at places chosen by -seed, and fails if one goes unnoticed that is not in
// the list of equivalent ones:
//
//	go run ./internal/cmd/mutants -random 200 [-seed n]
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	only := flag.String("run", "", "break only rules whose name matches this `regexp`")
	limit := flag.Duration("limit", 0, "how long the tests may take to notice; 0: four times what they take when nothing\nis broken, and at least a minute")
	random := flag.Int("random", 0, "make `n` random changes instead")
	seed := flag.Uint64("seed", 1, "choose the random changes by this `number`")
	flag.Parse()
	if err := run(*only, *limit, *random, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(only string, limit time.Duration, random int, seed uint64) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	tmp, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	l := laboratory{root: strings.TrimSpace(string(root)), tmp: tmp, limit: cmp.Or(limit, 10*time.Minute)}

	begin := time.Now()
	if by, err := l.test(testsOf["translate"]); err != nil || by != "" {
		return fmt.Errorf("the tests have to pass before anything is broken: %s %v", by, err)
	}
	if limit == 0 { // a machine that is busy takes its time
		l.limit = max(time.Minute, 4*time.Since(begin))
	}
	if random > 0 {
		return l.random(random, seed)
	}
	var survivors []string
	var slowest time.Duration
	n := 0
	for _, m := range mutants {
		if !match.MatchString(m.name) {
			continue
		}
		n++
		begin := time.Now()
		by, err := l.try(m)
		took := time.Since(begin).Round(100 * time.Millisecond)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", m.name, err)
		case by == "" || took > l.limit:
			survivors = append(survivors, m.name)
			fmt.Printf("SURVIVED %-32s %5s\n", m.name, took)
		default:
			slowest = max(slowest, took)
			fmt.Printf("noticed  %-32s %5s  %s\n", m.name, took, by)
		}
	}
	if len(survivors) > 0 {
		return fmt.Errorf("%d of %d broken rules went unnoticed: %s", len(survivors), n, strings.Join(survivors, ", "))
	}
	fmt.Printf("mutants: %d broken rules, all noticed, the last to be after %s\n", n, slowest)
	return nil
}

// A laboratory runs tests on a tree of which one file is replaced.
type laboratory struct {
	root, tmp string
	limit     time.Duration
}

// testsOf names the packages whose tests have to notice a change of a package, the
// fastest first.
var testsOf = map[string][]string{
	"translate": {"./internal/checksum", "./translate", "./rfc"},
	"pool":      {"./pool"},
	"session":   {"./session", "./rfc"},

	"internal/gateway": {"./internal/gateway"},
}

// errBuild means that a changed file does not compile, so that it is no mutant.
var errBuild = errors.New("does not compile")

// try breaks a rule and returns the name of the test that notices, empty if none
// does.
func (l *laboratory) try(m mutant) (by string, err error) {
	dir, file := m.path()
	path := filepath.Join(l.root, dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	broken, err := m.apply(string(text))
	if err != nil {
		return "", err
	}
	return l.tryText(path, broken, testsOf[dir])
}

// tryText runs the tests of pkgs with another text in the place of the file at
// path.
func (l *laboratory) tryText(path, text string, pkgs []string) (by string, err error) {
	tmp, err := os.MkdirTemp(l.tmp, "one")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	copied, overlay := filepath.Join(tmp, filepath.Base(path)), filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: copied}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return "", err
	}
	return l.test(pkgs, "-overlay", overlay)
}

var failed = regexp.MustCompile(`--- FAIL: (\S+)`)

// test runs the tests of pkgs, one package after the other, and returns the name of
// the first that fails. An error means that there was nothing to run.
func (l *laboratory) test(pkgs []string, flags ...string) (by string, err error) {
	for _, pkg := range pkgs {
		ctx, cancel := context.WithTimeout(context.Background(), 3*l.limit) // the compiler takes its time, too
		args := append([]string{"test", "-vet=off", "-failfast", "-count=1", "-timeout", l.limit.String()}, flags...)
		cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
		cmd.Dir = l.root
		out, err := cmd.CombinedOutput()
		cancel()
		var exit *exec.ExitError
		switch {
		case err == nil:
			continue
		case !errors.As(err, &exit) || strings.Contains(string(out), "[build failed]") || strings.Contains(string(out), "[setup failed]"):
			return "", fmt.Errorf("go test %s: %w: %w\n%s", pkg, errBuild, err, out)
		}
		if name := failed.FindSubmatch(out); name != nil {
			return string(name[1]), nil
		}
		return pkg, nil // a panic or the time limit has no test's name to it
	}
	return "", nil
}
