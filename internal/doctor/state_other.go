//go:build !linux

package doctor

// State returns nothing.
func State(Touch) string { return "" }
