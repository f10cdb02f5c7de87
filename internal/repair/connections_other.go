//go:build !linux

package repair

import "os"

// Connections returns none.
func Connections() []Connection { return nil }

// Here and Boot name nothing.
func Here() string { return "" }

func Boot() string { return "" }

// IsTerminal reports false.
func IsTerminal(*os.File) bool { return false }
