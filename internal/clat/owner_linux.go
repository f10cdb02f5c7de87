package clat

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// tunOwners returns the names of the processes that are attached to a TUN device, as far as
// this process may see them.
func tunOwners(device string) (names []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/fdinfo")
	for _, dir := range files {
		process := filepath.Dir(dir)
		if !attached(process, device) {
			continue
		}
		if name, err := os.ReadFile(process + "/comm"); err == nil {
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	return names
}

// attached reports whether a process is attached to a TUN device: fdinfo names it ("iff:").
func attached(process, device string) bool {
	fds, err := os.ReadDir(process + "/fd")
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if to, err := os.Readlink(process + "/fd/" + fd.Name()); err != nil || to != "/dev/net/tun" {
			continue
		}
		text, err := os.ReadFile(process + "/fdinfo/" + fd.Name())
		if err != nil {
			continue
		}
		for line := range bytes.Lines(text) {
			if name, ok := strings.CutPrefix(string(line), "iff:"); ok && strings.TrimSpace(name) == device {
				return true
			}
		}
	}
	return false
}
