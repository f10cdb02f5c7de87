package doctor

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// attachedTo returns the names of the processes that have a TUN device: fdinfo of it names
// the device, tun_chr_show_fdinfo.
func attachedTo(link string) (names []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/fdinfo/*")
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil || !slices.Contains(strings.Split(string(text), "\n"), "iff:\t"+link) {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(path)), "comm"))
		if name := strings.TrimSpace(string(comm)); err == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// active asks systemd, for the network namespace that it is in.
func active(unit string) bool {
	own, err1 := os.Readlink("/proc/self/ns/net")
	its, err2 := os.Readlink("/proc/1/ns/net")
	return err1 == nil && err2 == nil && own == its && exec.Command("systemctl", "is-active", "--quiet", unit).Run() == nil
}

// noNftables asks the kernel for the generation of its rules.
func noNftables() error {
	r := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
	r.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	_, err := r.Execute(unix.NETLINK_NETFILTER, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil
	}
	return err
}
