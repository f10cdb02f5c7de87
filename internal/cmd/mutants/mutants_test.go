package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMutantsApply: the list has kept up with the code, so that a broken rule is
// one, and there are enough of them.
func TestMutantsApply(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range mutants {
		dir, file := m.path()
		text, err := os.ReadFile(filepath.Join("../../..", dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if broken, err := m.apply(string(text)); err != nil || broken == string(text) || seen[m.name] {
			t.Errorf("%s: %v, or it changes nothing, or comes twice", m.name, err)
		}
		seen[m.name] = true
	}
	if len(mutants) < 30 {
		t.Errorf("%d mutants, want 30", len(mutants))
	}
}
