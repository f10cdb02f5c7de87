package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the packets' loop calls, on something that costs next to nothing.
var benched = map[string]func(fd int) error{
	"read":  func(fd int) error { _, err := unix.Read(fd, one); return err },
	"write": func(fd int) error { _, err := unix.Write(fd, one); return err },
	"poll":  func(fd int) error { pollFd[0].Fd = int32(fd); _, err := unix.Poll(pollFd, -1); return err },
	// For this one the filter has to run.
	"fcntl": func(fd int) error { _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); return err },
}

var (
	one    = make([]byte, 1)
	pollFd = []unix.PollFd{{Events: unix.POLLIN}}
)

// BenchmarkCall is what a system call costs without the filter and with it, on a
// processor that is at rest or, where others work as well, in a moment when they
// do not: of many rounds the fastest one counts.
func BenchmarkCall(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"read", "write", "poll", "fcntl"} {
		for _, filter := range []string{"no", "yes"} {
			b.Run(fmt.Sprintf("call=%s/filter=%s", name, filter), func(b *testing.B) {
				cmd := exec.Command(self, name, filter, strconv.Itoa(b.N))
				cmd.Env = append(os.Environ(), inmateEnv+"=bench")
				out, err := cmd.Output()
				if err != nil {
					b.Fatal(err)
				}
				took, err := time.ParseDuration(string(out))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(took)/round, "ns/op")
			})
		}
	}
}

// round is how many calls are timed together.
const round = 1000

// benchInmate makes one call many times and prints how long the fastest round
// took.
func benchInmate() {
	call := benched[os.Args[1]]
	n, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	if os.Args[2] == "yes" {
		if err := Enter(Config{}).Seccomp; err != nil {
			panic(err)
		}
	}
	if err := call(fd); err != nil {
		panic(err) // refused calls are fast
	}
	best := time.Hour
	for range n/round + 1 {
		start := time.Now()
		for range round {
			call(fd)
		}
		best = min(best, time.Since(start))
	}
	fmt.Print(best)
}
