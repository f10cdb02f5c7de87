package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A comparison is one run of ab.
type comparison struct {
	*options
	sides      [2]*side // base, head
	begin      time.Time
	load       string // at the start
	rounds     int    // so far, of the screening and after it
	series     map[key]*series
	onlyIn     [2]map[key]bool
	candidates []*candidate
}

func compare(ctx context.Context, o options) (err error) {
	repo, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "bench-ab")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	x := &comparison{options: &o, begin: time.Now(), load: load(), series: map[key]*series{}}
	for i, rev := range []string{o.base, o.head} {
		name := []string{"base", "head"}[i]
		fmt.Fprintf(os.Stderr, "building %s\n", name)
		x.sides[i], err = prepare(ctx, name, repo, rev, tmp, o.packages)
		defer func() { err = errors.Join(err, x.sides[i].remove(repo)) }()
		if err != nil {
			return err
		}
		if x.sides[i].raw, err = create(o.out + "." + name + ".txt"); err != nil {
			return err
		}
		defer x.sides[i].raw.Close()
		x.onlyIn[i] = map[key]bool{}
	}
	x.printHead(os.Stdout)
	if err := x.screening(ctx); err != nil {
		return err
	}
	x.candidates = x.rules.screen(x.series)
	if err := x.rules.settle(x.candidates, func(all []*candidate) error { return x.again(ctx, all) }); err != nil {
		return err
	}
	return x.finish()
}

func create(name string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	return os.Create(name)
}

// screening runs everything.
func (x *comparison) screening(ctx context.Context) error {
	var jobs []job
	for _, pkg := range x.packages {
		for _, bench := range x.bench {
			jobs = append(jobs, job{pkg, bench})
		}
	}
	begin := time.Now()
	for n := range x.options.rounds {
		if err := x.round(ctx, jobs, x.series); err != nil {
			return err
		}
		each := time.Since(begin) / time.Duration(n+1)
		progress("round %d of %d, %v left until all have run", n+1, x.options.rounds,
			(each * time.Duration(x.options.rounds-n-1)).Round(time.Second))
	}
	if len(x.series) == 0 {
		return fmt.Errorf("no benchmark that both revisions have is called %s", strings.Join(x.bench, "|"))
	}
	return nil
}

// again measures candidates for some rounds more.
func (x *comparison) again(ctx context.Context, all []*candidate) error {
	jobs, fresh := only(all), map[key]*series{}
	for _, c := range all {
		fresh[c.key] = &c.fresh
	}
	for n := range x.rules.confirm {
		if err := x.round(ctx, jobs, fresh); err != nil {
			return err
		}
		if n == 0 {
			progress("%d more rounds with the %d figures that seem to differ", x.rules.confirm, len(all))
		}
	}
	return nil
}

// only makes jobs that run the candidates and nothing else, one for each function.
func only(all []*candidate) (jobs []job) {
	seen := map[key]bool{}
	for _, c := range all {
		name := key{pkg: c.pkg, name: c.name}
		if seen[name] {
			continue // another unit
		}
		seen[name] = true
		parts := strings.Split(c.name, "/")
		for i, p := range parts {
			parts[i] = "^" + regexp.QuoteMeta(p) + "$"
		}
		parts[0] = "^Benchmark" + parts[0][1:]
		bench := strings.Join(parts, "/")
		i := slices.IndexFunc(jobs, func(j job) bool {
			return j.pkg == c.pkg && strings.HasPrefix(j.bench, parts[0]+"/")
		})
		if i < 0 {
			jobs = append(jobs, job{c.pkg, bench})
		} else {
			jobs[i].bench += "|" + bench
		}
	}
	return jobs
}

// round runs each job on both sides, one right after the other; the next round
// begins with the other side.
func (x *comparison) round(ctx context.Context, jobs []job, all map[key]*series) error {
	got := [2]figures{{}, {}}
	x.rounds++
	for _, s := range x.sides {
		fmt.Fprintf(s.raw, "# round %d\n", x.rounds)
	}
	for _, j := range jobs {
		for i := range x.sides {
			i = (i + x.rounds) % 2
			if err := x.sides[i].run(ctx, x.options, j, got[i]); err != nil {
				return err
			}
		}
	}
	for i := range got {
		for k := range got[i] {
			if _, ok := got[1-i][k]; !ok {
				x.onlyIn[i][k] = true
			}
		}
	}
	add(all, got[0], got[1])
	return nil
}

// progress goes to a terminal or a log, apart from the result.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
