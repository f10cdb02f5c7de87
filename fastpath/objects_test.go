//go:build linux

package fastpath

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// cflags are those of generate.go.
var cflags = []string{"-O2", "-g", "-Wall", "-Werror", "-mcpu=v3"}

// compile compiles the program in a directory for one byte order.
func compile(dir, order, object string) error {
	cmd := exec.Command("clang", append(cflags, "-target", "bpf"+order, "-c", "fastpath.c", "-o", object)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// TestObjects: the committed objects are what the source gives. Another compiler may give
// another program: with one of another version than the objects were made by, the test is
// skipped.
func TestObjects(t *testing.T) {
	made, err := os.ReadFile("bpf/compiler")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("clang", "--version").Output()
	if err != nil {
		if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
			t.Fatalf("STEPPE_REQUIRE_NETNS=1, but there is no clang: %v", err)
		}
		t.Skipf("needs clang: %v", err)
	}
	if is, _, _ := strings.Cut(string(out), "\n"); is != strings.TrimSpace(string(made)) {
		t.Skipf("the objects were made by %q; here is %q", strings.TrimSpace(string(made)), is)
	}
	for _, order := range []string{"el", "eb"} {
		object := filepath.Join(t.TempDir(), order+".o")
		if err := compile("bpf", order, object); err != nil {
			t.Fatal(err)
		}
		want, err := describe(object)
		if err != nil {
			t.Fatal(err)
		}
		got, err := describe("bpf_bpf" + order + ".o")
		if err != nil {
			t.Fatal(err)
		}
		for i := range max(len(want), len(got)) {
			if i >= len(want) || i >= len(got) || want[i] != got[i] {
				t.Errorf("bpf_bpf%s.o is not what the source gives, from line %d of its description on: make generate", order, i)
				break
			}
		}
	}
}

// describe lists the instructions, with what the loader fills in, and the maps of an object.
func describe(object string) (lines []string, err error) {
	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		return nil, err
	}
	for _, ins := range spec.Programs["steppe"].Instructions {
		lines = append(lines, fmt.Sprintf("%d %d %d %d %d %s %v", ins.OpCode, ins.Dst, ins.Src, ins.Offset, ins.Constant, ins.Reference(), btf.CORERelocationMetadata(&ins)))
	}
	lines = append(lines, spec.Programs["steppe"].License)
	for _, name := range mapNames {
		m := spec.Maps[name]
		lines = append(lines, fmt.Sprint(name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags))
	}
	return lines, nil
}
