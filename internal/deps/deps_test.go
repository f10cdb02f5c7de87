// Package deps pins what may import what.
package deps

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/steppe-nat64/steppe"

// Who may import which modules, and why no others: translate and pool go into
// other people's programs, so they bring next to nothing; the reasons for each
// module are in ARCHITECTURE.md, and what of ours the others may import.
var allowed = map[string][]string{
	"translate":       {module + "/internal/checksum", "github.com/gaissmai/bart", "golang.org/x/net/ipv6"},
	"pool":            {"github.com/hashicorp/golang-lru/v2"},
	"session":         {module + "/translate", module + "/internal/checksum", "github.com/gaissmai/bart", "golang.org/x/net/ipv6"},
	"fastpath":        {module + "/translate", module + "/internal/checksum", "github.com/gaissmai/bart", "golang.org/x/net/ipv6", "github.com/cilium/ebpf", "golang.org/x/sys"},
	"internal/pref64": {module + "/translate", module + "/internal/pacer", module + "/internal/checksum", "github.com/gaissmai/bart", "golang.org/x/net", "golang.org/x/sys"},
	"tun":             {module + "/translate", module + "/internal/checksum", "github.com/gaissmai/bart", "golang.org/x/sys", "github.com/songgao/water"},
}

func TestImports(t *testing.T) {
	for pkg, want := range allowed {
		for _, dep := range deps(t, "./"+pkg) {
			if dep == module+"/"+pkg || !strings.Contains(strings.SplitN(dep, "/", 2)[0], ".") {
				continue // itself, or the standard library
			}
			if !hasPrefix(dep, want) {
				t.Errorf("%s imports %s", pkg, dep)
			}
		}
	}
}

// TestArrows: each package has a row in the first table of ARCHITECTURE.md, and
// imports nothing of ours but what that names.
func TestArrows(t *testing.T) {
	page, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Packages\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := map[string][]string{} // what may be imported, by directory
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		dir := strings.Trim(cells[1], " `/")
		if _, err := os.Stat("../../" + dir); err != nil || rows[dir] != nil {
			t.Errorf("row of %s: is not there, or there twice", dir)
		}
		rows[dir] = []string{module + "/" + dir}
		for i, name := range strings.Split(cells[3], "`") {
			if i%2 == 1 {
				rows[dir] = append(rows[dir], module+"/"+name)
			}
		}
	}

	cmd := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		imports := strings.Fields(line)
		pkg := strings.TrimPrefix(imports[0], module+"/")
		row := pkg
		for rows[row] == nil && row != "." {
			row = path.Dir(row)
		}
		if rows[row] == nil {
			t.Errorf("ARCHITECTURE.md has no row for %s", pkg)
		}
		for _, dep := range imports[1:] {
			if strings.HasPrefix(dep, module+"/") && !hasPrefix(dep, rows[row]) {
				t.Errorf("%s imports %s, which its row in ARCHITECTURE.md does not name", pkg, dep)
			}
		}
	}
}

// TestBans: what serves tests does not reach users, and there is no formatting or logging
// on the packet path.
func TestBans(t *testing.T) {
	for _, pkg := range []string{"./translate", "./pool", "./session", "./fastpath", "./tun", "./cmd/tayga"} {
		for _, dep := range deps(t, pkg) {
			for ban, why := range map[string]string{
				"github.com/google/gopacket":         "it decodes packets for tests",
				"github.com/stretchr/testify":        "it is for tests",
				"github.com/ajstarks/svgo":           "it draws plots",
				module + "/internal/test/netlab":     "it is the laboratory",
				module + "/internal/test/packettest": "it builds packets for tests",
				module + "/internal/test/refxlat":    "it is the reference for tests",
				"testing":                            "programs are not tests",
			} {
				if dep == ban || strings.HasPrefix(dep, ban+"/") {
					t.Errorf("%s imports %s: %s", pkg, dep, why)
				}
			}
		}
	}
	for _, pkg := range []string{"./translate", "./pool", "./session"} {
		for _, dep := range deps(t, pkg) {
			switch dep {
			case "log", "log/slog", "net", "net/http", "os/exec":
				t.Errorf("%s imports %s: it neither logs nor talks to the network", pkg, dep)
			}
		}
	}
}

// TestOnly: what is large stays where it is used.
func TestOnly(t *testing.T) {
	homes := map[string]string{
		"github.com/cilium/ebpf": module + "/fastpath",
		"github.com/prometheus":  module + "/internal/metrics",
		"golang.org/x/perf":      module + "/internal/cmd/benchtool",
	}
	cmd := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}} {{join .TestImports \" \"}} {{join .XTestImports \" \"}}", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(line, " ")
		for _, dep := range strings.Fields(imports) {
			for large, home := range homes {
				if !hasPrefix(dep, []string{large}) {
					continue
				}
				if found[large] = true; pkg != home {
					t.Errorf("%s imports %s: only %s does", pkg, dep, home)
				}
			}
		}
	}
	for large := range homes {
		if !found[large] {
			t.Errorf("no package imports %s", large)
		}
	}
}

// TestEveryDependencyHasALine: ARCHITECTURE.md says of each module that go.mod
// requires what it is for, and of no other.
func TestEveryDependencyHasALine(t *testing.T) {
	page, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Dependencies\n")
	table, _, _ = strings.Cut(table, "\n## ")
	lines := map[string]bool{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) != 5 || strings.TrimSpace(cells[2]) == "" || strings.TrimSpace(cells[3]) == "" {
			continue
		}
		dir := ""
		for name := range strings.SplitSeq(strings.TrimSpace(cells[1]), ", ") {
			if strings.Contains(name, "/") {
				dir = path.Dir(name)
			}
			lines[path.Join(dir, path.Base(name))] = true // "github.com/a/b, c" is two
		}
	}

	out, err := exec.Command("go", "mod", "edit", "-json", "../../go.mod").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{}
	for _, m := range mod.Require {
		if !m.Indirect {
			required[m.Path] = true
			if !lines[m.Path] {
				t.Errorf("go.mod requires %s, and ARCHITECTURE.md does not say why", m.Path)
			}
		}
	}
	for name := range lines {
		if strings.Contains(name, ".") && !required[name] {
			t.Errorf("ARCHITECTURE.md has a line for %s, which go.mod does not require", name)
		}
	}
}

func deps(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", pkg)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	return strings.Fields(string(out))
}

func hasPrefix(dep string, prefixes []string) bool {
	for _, p := range prefixes {
		if dep == p || strings.HasPrefix(dep, p+"/") {
			return true
		}
	}
	return false
}
