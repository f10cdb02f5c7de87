package main

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"

	"github.com/steppe-nat64/steppe/internal/pref64"
)

// resolvConf is where the resolvers of the machine stand: resolv.conf(5).
const resolvConf = "/etc/resolv.conf"

// readResolvConf returns the resolvers of the machine, none if that is not known.
func readResolvConf() []netip.Addr { return readResolvers(resolvConf) }

// readResolvers reads a file that may belong to another user, such as that of a resolver: it does not
// wait for what is no file.
func readResolvers(name string) []netip.Addr {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 64<<10))
	return pref64.ParseResolvConf(string(text))
}

// resolvConfDirs are the directories in which that file may be replaced: its own and, if it
// is a symbolic link, that of the file it leads to.
func resolvConfDirs() []string {
	dirs := []string{filepath.Dir(resolvConf)}
	if target, err := filepath.EvalSymlinks(resolvConf); err == nil && filepath.Dir(target) != dirs[0] {
		dirs = append(dirs, filepath.Dir(target))
	}
	return dirs
}
