//go:build !linux

package bench

import "testing"

// countInstructions times f: instructions are counted on Linux only.
func countInstructions(b *testing.B, f func()) {
	b.ResetTimer()
	f()
	b.StopTimer()
}
