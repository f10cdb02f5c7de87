package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Smoke runs each benchmark for a moment and looks at nothing that depends on how
// fast the machine is:
//
//   - no packet costs an allocation;
//   - the benchmarks are those of a list that is kept, since a comparison is by name,
//     and one that has lost its name is compared with nothing, silently;
//   - a reload loses no packet.

// slow are the functions that do not measure a packet through the library. All
// others, also those to come, allocate nothing.
const slow = "E2E|Shared|Queues|Memory|MapFile|NewTable|SessionRate|SessionMemory"

// reloads is how often a reload may lose packets before it counts: a machine that is
// busy with something else loses some now and then.
const reloads = 3

func smoke(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("smoke", flag.ContinueOnError)
	list := fs.String("names", "bench/results/names.txt", "`file` with the names of all benchmarks")
	update := fs.Bool("update", false, "write that file instead of comparing with it")
	if err := fs.Parse(args); err != nil {
		return err
	}
	pattern := "^Benchmark(" + slow + ")$"
	packets, err := bench(ctx, "-bench", ".", "-skip", pattern, "-benchmem", "-benchtime", "3200x")
	if err != nil {
		return err
	}
	rest, err := bench(ctx, "-bench", pattern, "-benchtime", "1x", "-rounds", "1", "-seconds", "0.05", "-rate", "1000")
	if err != nil {
		return err
	}
	found := allocations(packets)
	names := kept(append(packets, rest...))
	if *update {
		err = os.WriteFile(*list, []byte(strings.Join(names, "\n")+"\n"), 0o644)
	} else {
		var text []byte
		text, err = os.ReadFile(*list)
		found = append(found, differences(strings.Fields(string(text)), names)...)
	}
	if err != nil {
		return err
	}
	lost := losses(rest)
	for i := 1; i < reloads && len(lost) > 0; i++ {
		fmt.Printf("once more: %s\n", strings.Join(lost, "; "))
		again, err := bench(ctx, "-bench", "^BenchmarkMapFile$", "-benchtime", "1x", "-rate", "1000")
		if err != nil {
			return err
		}
		lost = losses(again)
	}
	found = append(found, lost...)
	for _, f := range found {
		fmt.Printf("FAIL: %s\n", f)
	}
	if len(found) > 0 {
		return errFound
	}
	fmt.Printf("%d benchmarks: no allocation on the packet path, no name changed, no packet lost in a reload\n", len(names))
	return nil
}

// bench runs benchmarks, shows what they print, and returns their results.
func bench(ctx context.Context, args ...string) ([]*result, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "./bench", "-run", "^$", "-timeout", "10m"}, args...)...)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &out), os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go test %s: %w", strings.Join(args, " "), err)
	}
	return readResults(&out)
}

// stray is what the runtime may allocate meanwhile, for each operation. One allocation
// for a batch of 32 packets is more.
const stray = 0.01

// allocations lists the benchmarks that allocate, or do not say whether they do.
func allocations(all []*result) (found []string) {
	for _, r := range all {
		n := append(slices.Clone(r.Samples["mallocs/op"]), r.Samples["allocs/op"]...)
		if len(n) == 0 || slices.Max(n) > stray {
			found = append(found, fmt.Sprintf("%s: %v allocations of an operation, want 0", r.Name, n))
		}
	}
	return found
}

// kept lists the names to keep, sorted: those of measurements, whatever other
// programs there are to compare with.
func kept(all []*result) (names []string) {
	for _, r := range all {
		name := r.Name
		if strings.Contains(name, "/gateway=all") || strings.Contains(name, "/gateway=tayga") {
			continue
		}
		names = append(names, round.ReplaceAllString(name, ""))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// differences compares names with those that were kept. Where the laboratory cannot
// be built, its benchmarks are skipped, with a line that says so.
func differences(want, got []string) (found []string) {
	function := func(name string) string { f, _, _ := strings.Cut(name, "/"); return f }
	lab := func(name string) bool {
		return function(name) != "NewTable" && slices.Contains(strings.Split(slow, "|"), function(name))
	}
	skipped := !slices.ContainsFunc(got, lab)
	for _, name := range want {
		if !slices.Contains(got, name) && !(skipped && lab(name)) {
			found = append(found, "no benchmark any more: "+name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			found = append(found, "new benchmark: "+name)
		}
	}
	if len(found) > 0 {
		found = append(found, "names have changed: what they measured is compared with nothing. If that is meant, make bench-names")
	}
	return found
}

// losses lists the reloads that lost packets, where the machine loses none without a
// reload.
func losses(all []*result) (found []string) {
	for _, r := range all {
		lost, steady := r.Samples["reload-lost-packets"], r.Samples["steady-lost-packets"]
		if len(lost) == 0 || slices.Max(lost) == 0 {
			continue
		}
		if len(steady) > 0 && slices.Max(steady) > 0 {
			fmt.Printf("%s: packets are lost without a reload, too: the machine is too busy to tell\n", r.Name)
			continue
		}
		found = append(found, fmt.Sprintf("%s: %v packets lost in a reload", r.Name, slices.Max(lost)))
	}
	return found
}
