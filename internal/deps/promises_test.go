package deps

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inlined are functions that the compiler has to inline: those whose comments say so, and
// those that are called several times a packet, where a call costs more than the work.
var inlined = map[string][]string{
	"internal/checksum": {"Fold", "Sum8", "Minus", "Update"},
	"pool":              {"(*hashKeys).hash", "(*table).find", "(*Pool).shard", "word"},
	"translate": {
		"(*Worker).Emit", "(*Packet).Bytes", "(*Packet).window", "drop",
		"make4", "make6", "addr4.array", "addr6.array", "addr4.sum", "addr6.sum",
		"class4", "illegal6", "(*Config).illegal4", "(*Worker).staysLocal",
		"(*Worker).flow4", "(*Worker).flow6", "(*flow).is4", "(*flow).is6",
		"identCounter.tag", "identCounter.value", "identCounter.before",
		"(*Table).unlisted4", "(*hosts).hash4", "(*hosts).hash6", "(*entry).to4", "(*entry).to6",
		"(*prefix6052).contains", "(*prefix6052).extract", "(*prefix6052).embed",
		"checksumOffset", "minTransport", "putFrag", "word", "TOS.apply", "origin.mapped",
	},
	"tun": {"encodeVirtio", "decodeVirtio", "word"},
}

// TestInlining compiles the packages and looks for the functions above in what the
// compiler says that it can inline.
func TestInlining(t *testing.T) {
	for pkg, names := range inlined {
		out, err := exec.Command("go", "build", "-gcflags=-m", "../../"+pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", pkg, err, out)
		}
		can := make(map[string]bool)
		for line := range strings.Lines(string(out)) {
			if _, name, found := strings.Cut(line, ": can inline "); found {
				can[strings.TrimSpace(name)] = true
			}
		}
		if len(can) == 0 {
			t.Fatalf("%s: the compiler says nothing about inlining:\n%s", pkg, out)
		}
		for _, name := range names {
			if !can[name] {
				t.Errorf("%s: %s is not inlined", pkg, name)
			}
		}
	}
}

var (
	saysInlined = regexp.MustCompile(`\binlin(ed|es?)\b`)
	saysSize    = regexp.MustCompile(`cache\s+line|\d\s+bytes\s+(a|each|per)\b|KiB\s+(a|each|per)\b|costs\s+\d+\s+[KM]iB`)
)

// TestPromisesHaveGuards: a comment that says that a function is inlined needs a line in
// the list above, and one about the size of a type needs a TestSizes in its package. The
// comment on the slots of flows said 64 bytes where they had 56.
func TestPromisesHaveGuards(t *testing.T) {
	for pkg, names := range inlined {
		files, err := filepath.Glob("../../" + pkg + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pkg, len(files), err)
		}
		sizes, guarded := "", false
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "_test.go") {
				guarded = guarded || f.Scope.Lookup("TestSizes") != nil
				continue
			}
			for _, c := range f.Comments {
				if saysSize.MatchString(c.Text()) {
					sizes = name
				}
			}
			for _, d := range f.Decls {
				f, isFunc := d.(*ast.FuncDecl)
				if isFunc && saysInlined.MatchString(f.Doc.Text()) && !slices.ContainsFunc(names, func(s string) bool {
					return s == f.Name.Name || strings.HasSuffix(s, "."+f.Name.Name)
				}) {
					t.Errorf("%s: %s is said to be inlined, and nothing checks it", name, f.Name.Name)
				}
			}
		}
		if sizes != "" && !guarded {
			t.Errorf("%s: a comment promises a size, and the package has no TestSizes", sizes)
		}
	}
}
