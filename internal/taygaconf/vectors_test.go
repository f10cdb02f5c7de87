package taygaconf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/steppe-nat64/steppe/internal/taygaconf/vectors"
)

func TestVectors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	bad := filepath.Join(dir, "bad")
	os.WriteFile(empty, nil, 0o644)
	os.WriteFile(bad, []byte(vectors.BadMaps), 0o644)

	for _, v := range vectors.All {
		t.Run(v.Name, func(t *testing.T) {
			text, env := v.File(dir, empty, bad)
			c, problems := Read(strings.NewReader(text), "tayga.conf", func(name string) (string, bool) {
				value, found := env[name]
				return value, found
			})
			failed := problems.Failed()
			if c.MapFile != "" && !failed {
				_, more, err := c.LoadMaps(c.MapFile)
				if err != nil {
					problems = append(problems, Problem{File: c.MapFile, Text: err.Error()})
					failed = true
				}
				problems = append(problems, more...) // bad lines are skipped at start
			}
			got := vectors.Accept
			if failed {
				got = vectors.Reject
			} else if len(problems) > 0 {
				got = vectors.Warn
			}
			if got != v.Want {
				t.Fatalf("vector %d: %s, want %s: %v", v.N, got, v.Want, problems)
			}
			if v.Want == vectors.Accept {
				return
			}
			p := problems[0]
			if p.Line != v.Line || !strings.Contains(p.Error(), v.Text) {
				t.Errorf("vector %d: got %q, want line %d and %q", v.N, p.Error(), v.Line, v.Text)
			}
		})
	}
}
