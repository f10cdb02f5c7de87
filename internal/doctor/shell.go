package doctor

import (
	"fmt"
	"strings"
)

// quote returns a word as sh wants it.
func quote(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=@%+,-"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// words returns a command line as sh wants it.
func words(args ...string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = quote(a)
	}
	return strings.Join(quoted, " ")
}

// set returns the command that changes a kernel setting.
func (e *examination) set(path string, value int) string {
	if e.Machine.Tools.Sysctl {
		name := "net/" + path
		if !strings.Contains(name, ".") { // as some names of interfaces do
			name = strings.ReplaceAll(name, "/", ".")
		}
		return words("sysctl", "-w", fmt.Sprintf("%s=%d", name, value))
	}
	return fmt.Sprintf("echo %d >%s", value, quote("/proc/sys/net/"+path))
}
