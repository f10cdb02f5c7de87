package bench

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCongestion: where the machine is set to bbr, the benchmarks failed, since a
// namespace may not be set to cubic by the sysctl unless the machine allows that.
func TestCongestion(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
	setCongestion(fd)
	got, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		t.Fatal(err)
	}
	if got = strings.TrimRight(got, "\x00"); got != "cubic" && got != "reno" {
		t.Errorf("TCP uses %q", got)
	}
	defer func(all []string) { congestion = all }(congestion)
	congestion = []string{"no-such-one"}
	setCongestion(fd) // stays what it is
}
