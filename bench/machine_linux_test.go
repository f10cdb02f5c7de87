package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A machine is what the whole machine has done so far.
type machine struct {
	busy    time.Duration // of all processors: user mode, kernel, interrupts
	dropped uint64        // packets that found a processor's backlog full
}

// readMachine reads /proc/stat, in ticks of a hundredth of a second, and softnet_stat.
func readMachine() (m machine, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m, err
	}
	if m.busy, err = parseBusy(string(text)); err != nil {
		return m, err
	}
	if text, err = os.ReadFile("/proc/net/softnet_stat"); err == nil {
		m.dropped, err = parseDropped(string(text))
	}
	return m, err
}

// parseBusy adds up the line of all processors: user, nice, system, irq and softirq; not idle
// and iowait, in which nothing ran, and steal, in which other machines did.
func parseBusy(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 8 || f[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	ticks := int64(0)
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	const userHZ = 100 // for every program: linux/param.h
	return time.Duration(ticks) * time.Second / userHZ, nil
}

// parseDropped adds up the second column, of each processor.
func parseDropped(softnet string) (n uint64, err error) {
	for line := range strings.Lines(softnet) {
		f := strings.Fields(line)
		if len(f) < 2 {
			return 0, fmt.Errorf("softnet_stat: %q", line)
		}
		d, err := strconv.ParseUint(f[1], 16, 64)
		if err != nil {
			return 0, fmt.Errorf("softnet_stat: %w", err)
		}
		n += d
	}
	return n, nil
}
