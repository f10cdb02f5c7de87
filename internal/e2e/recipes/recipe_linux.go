package recipes

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// Recipe is a page that is being followed, and the machines it is followed on.
type Recipe struct {
	*netlab.Lab

	t        testing.TB
	page     *page
	image    string
	dir      string // of what the machines write
	machines []*Machine
	cast     map[string][]*Machine
	followed map[int]bool // by index of block
}

// Root is the directory of this module, seen from the directory of a test that is
// two levels below it.
const Root = "../../.."

// Open reads a page, named from the root of this module, and provides an image
// whose apt-get can install what the page installs, and the packages given here.
// It skips the test unless STEPPE_RECIPES is 1.
func Open(t testing.TB, name string, packages ...string) *Recipe {
	t.Helper()
	return open(t, name, filepath.Join(Root, name), packages)
}

// open is Open for a page that lies anywhere.
func open(t testing.TB, name, path string, packages []string) *Recipe {
	t.Helper()
	if os.Getenv("STEPPE_RECIPES") != "1" {
		t.Skip("deployments are followed by make recipes (STEPPE_RECIPES=1)")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parsePage(name, string(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("STEPPE_REQUIRE_NETNS", "1")
	r := &Recipe{t: t, page: p, cast: make(map[string][]*Machine), followed: make(map[int]bool)}
	// What comes first is undone last: processes end, then their control groups
	// and files go.
	r.dir = t.TempDir()
	t.Cleanup(r.finish)
	r.Lab = netlab.New(t)
	t.Cleanup(r.explain)
	if r.image, err = debian(append(p.packages(), packages...)); err != nil {
		t.Fatal(err)
	}
	return r
}

// Machine adds a machine. It is a host without links, and not booted.
func (r *Recipe) Machine(name string) *Machine {
	r.t.Helper()
	group, err := newCgroup(name)
	if err != nil {
		r.t.Fatal(err)
	}
	m := &Machine{r: r, dir: filepath.Join(r.dir, name), cgroup: group, Host: r.Lab.Host(name)}
	r.machines = append(r.machines, m)
	r.cast[name] = []*Machine{m}
	return m
}

// Cast tells which machines a name on the page stands for. Each machine stands
// for its own name anyway.
func (r *Recipe) Cast(name string, machines ...*Machine) { r.cast[name] = machines }

// Boot boots all machines that were not booted yet, at the same time.
func (r *Recipe) Boot() {
	r.t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(r.machines))
	for i, m := range r.machines {
		if m.init == nil {
			wg.Go(func() { errs[i] = m.boot() })
		}
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			r.t.Error(err)
		}
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
}

// Package builds the Debian package of this module, as make deb does, and returns
// its path.
func (r *Recipe) Package() string {
	r.t.Helper()
	c := exec.Command("scripts/deb", r.dir)
	c.Dir = Root
	out, err := c.Output()
	if err != nil {
		r.t.Fatalf("recipes: build the package: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// Follow does what the page says below the heading of that title, subsections
// included, and compares what is printed with what the page shows.
func (r *Recipe) Follow(title string) {
	r.t.Helper()
	blocks, err := r.page.below(title)
	if err != nil {
		r.t.Fatal(err)
	}
	var printed []string // by each machine of the last commands
	for _, i := range blocks {
		b := r.page.blocks[i]
		r.followed[i] = true
		switch b.kind {
		case run:
			printed = nil
			for _, m := range r.players(b) {
				printed = append(printed, r.run(m, b))
			}
		case file:
			for _, m := range r.players(b) {
				m.Write(b.path, b.text)
			}
		case output:
			for _, p := range printed {
				if line := missing(p, b.text); line != "" {
					r.t.Fatalf("%s:%d: looked for %q, which the page shows, in:\n%s", r.page.name, b.line, line, p)
				}
			}
		}
	}
}

// run runs a block of commands.
func (r *Recipe) run(m *Machine, b block) string {
	r.t.Helper()
	begin := time.Now()
	out, err := m.Try(b.text)
	if err != nil {
		r.t.Fatalf("%s:%d: %v", r.page.name, b.line, err)
	}
	r.t.Logf("%s:%d: on %s, %v:\n%s%s", r.page.name, b.line, m.Name(),
		time.Since(begin).Round(time.Millisecond), b.text, out)
	return out
}

func (r *Recipe) players(b block) []*Machine {
	r.t.Helper()
	machines := r.cast[b.host]
	if len(machines) == 0 {
		r.t.Fatalf("%s:%d: the test has no machine %q", r.page.name, b.line, b.host)
	}
	return machines
}

// explain tells what the machines have logged, if the test failed, and which
// blocks were forgotten, if not.
func (r *Recipe) explain() {
	if !r.t.Failed() {
		for i, b := range r.page.blocks {
			if b.kind != shown && !r.followed[i] {
				r.t.Errorf("%s:%d: the test does not follow this block", r.page.name, b.line)
			}
		}
		return
	}
	for _, m := range r.machines {
		if m.init != nil {
			lines := strings.Split(m.Journal(""), "\n")
			r.t.Logf("the journal of %s:\n%s", m.Name(), strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
	}
}

// finish removes what the laboratory leaves behind.
func (r *Recipe) finish() {
	for _, m := range r.machines {
		if m.ended != nil {
			<-m.ended
		}
		if err := removeCgroup(m.cgroup); err != nil {
			r.t.Error(err)
		}
	}
}
