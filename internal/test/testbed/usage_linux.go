package testbed

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// Usage is what the process takes from the machine.
type Usage struct {
	Memory, Peak   int64 // resident, in bytes: now, and the most since the start
	Threads, Files int
	CPU            time.Duration // since the start, in user mode and in the kernel
}

// Usage asks the kernel. Open files that come and go with a save may be counted
// or not.
func (b *Bed) Usage() (u Usage, err error) {
	dir := fmt.Sprintf("/proc/%d/", b.Process.Pid())
	text, err := os.ReadFile(dir + "status")
	if err != nil {
		return u, err
	}
	kib := func(key string) int64 { return 1024 * number(string(text), key) }
	u.Memory, u.Peak, u.Threads = kib("VmRSS"), kib("VmHWM"), int(number(string(text), "Threads"))
	if u.Memory == 0 || u.Peak == 0 || u.Threads == 0 {
		return u, errors.New("testbed: /proc does not tell what tayga takes")
	}
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		return u, err
	}
	u.Files = len(files)
	const schedClock = 2 // CPUCLOCK_SCHED of linux/posix-timers.h; see clock_getcpuclockid(3)
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^b.Process.Pid())<<3|schedClock, &ts); err != nil {
		return u, err
	}
	u.CPU = time.Duration(ts.Nano())
	return u, nil
}

// number reads the number after "key:" in a text of /proc; 0 if there is none.
func number(text, key string) int64 {
	_, rest, _ := strings.Cut("\n"+text, "\n"+key+":")
	word, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	word, _, _ = strings.Cut(word, " ")
	n, _ := strconv.ParseInt(word, 10, 64)
	return n
}

// Counts is what the binary says on SIGUSR1.
type Counts struct {
	// By is the number of packets by direction, verdict and reason: "6to4 drop
	// no-source".
	By map[string]uint64
	// ByKernel are those of By that the fast path has translated, and LeftByKernel those that
	// it has seen and left to the binary.
	ByKernel, LeftByKernel uint64
	// Full are packets that the queues of the device had no room for.
	Full uint64
	// Fast says which of both has translated what.
	Fast Fast
	// HeldBack are ICMP errors that the rate limit kept back, and NotTaken the
	// packets that the kernel did not take.
	HeldBack, NotTaken uint64
	// Of the pool: addresses, leases held and dormant, hosts that got none.
	Size, Held, Dormant, Refused uint64
}

// The lines. What else the binary says is not looked at.
var (
	countLine    = regexp.MustCompile(`(?m)^((?:4to6|6to4|none) \w+ \S+): (\d+) packets, \d+ octets$`)
	heldBackLine = regexp.MustCompile(`(?m)^ICMP errors held back by the rate limit: (\d+)$`)
	notTakenLine = regexp.MustCompile(`(?m)^refused by the kernel: (\d+) packets$`)
	fastLine     = regexp.MustCompile(`(?m)^fast path: (\S+ (translated|left to this process) \S+): (\d+) packets, `)
	poolLine     = regexp.MustCompile(`(?m)^dynamic pool: (\d+) addresses, (\d+) held, (\d+) dormant, (\d+) requests refused$`)
)

// Counts asks the binary by SIGUSR1.
func (b *Bed) Counts() (Counts, error) {
	from := b.Said()
	if err := b.Signal(syscall.SIGUSR1); err != nil {
		return Counts{}, err
	}
	if err := b.AwaitTrue("tayga does not answer SIGUSR1", func() bool {
		return poolLine.MatchString(b.Process.OutputFrom(from))
	}); err != nil {
		return Counts{}, err
	}
	return parseCounts(b.Process.OutputFrom(from)), nil
}

// parseCounts reads what was printed on SIGUSR1. A program may get a signal to its process
// and to its group as two, and answer twice: the last answer counts.
func parseCounts(text string) Counts {
	c := Counts{By: make(map[string]uint64)}
	for _, f := range countLine.FindAllStringSubmatch(text, -1) {
		c.By[f[1]] = decimal(f[2])
	}
	by := map[string]*uint64{"translated": &c.ByKernel, "left to this process": &c.LeftByKernel}
	last := make(map[string]uint64)
	for _, f := range fastLine.FindAllStringSubmatch(text, -1) {
		n := decimal(f[3])
		*by[f[2]] += n - last[f[1]]
		last[f[1]] = n
	}
	c.Fast, _ = ParseFast(text)
	if f := heldBackLine.FindStringSubmatch(text); f != nil {
		c.HeldBack = decimal(f[1])
	}
	if f := notTakenLine.FindStringSubmatch(text); f != nil {
		c.NotTaken = decimal(f[1])
	}
	if f := poolLine.FindStringSubmatch(text); f != nil {
		c.Size, c.Held, c.Dormant, c.Refused = decimal(f[1]), decimal(f[2]), decimal(f[3]), decimal(f[4])
	}
	return c
}

// decimal reads digits; more of them than fit give the largest number.
func decimal(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// Sum adds up the packets whose direction, verdict and reason contain all of the
// given words; all of them if there is none.
func (c Counts) Sum(words ...string) (n uint64) {
next:
	for key, packets := range c.By {
		for _, w := range words {
			if !strings.Contains(" "+key+" ", " "+w+" ") {
				continue next
			}
		}
		n += packets
	}
	return n
}

var errNoRest = errors.New("testbed: the device does not come to rest")

// Rest waits until the device has had nothing to do for a while and returns its
// counters.
func (b *Bed) Rest() (c netlab.Counters, err error) {
	const quiet = 500 * time.Millisecond
	var last netlab.Counters
	since := time.Now()
	for end := since.Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if c, err = b.Gateway.Counters(Device); err != nil {
			return c, err
		}
		if c != last {
			last, since = c, time.Now()
		}
		if time.Since(since) > quiet {
			return c, nil
		}
		if time.Now().After(end) {
			return c, errNoRest
		}
	}
}

// AddUp compares what the binary has counted with what its device has, once all
// is quiet: every packet that the kernel handed over, or that the fast path
// translated, was counted once, and none
// gave more than one packet back, but for those that were cut. Settle has to come
// first, and the device may not change in between.
//
// With "offload no" every packet that was forwarded or replied was written, too,
// and each that was cut gave two at least. Otherwise that cannot be told from
// outside, since many datagrams may be written as one packet.
func (b *Bed) AddUp() (Counts, error) {
	c, in, out, err := b.outside()
	if err != nil {
		return c, err
	}
	in, out = in-b.settled.in, out-b.settled.out
	cut := int64(c.Sum("split"))
	switch {
	case in != 0:
		return c, fmt.Errorf("testbed: %d packets counted, but %d more handed over by %s", c.Sum(), in, Device)
	case c.LeftByKernel > c.Sum()-c.ByKernel+c.Full:
		return c, fmt.Errorf("testbed: %d packets left to the binary, which has counted %d, besides %d dropped by the device",
			c.LeftByKernel, c.Sum()-c.ByKernel, c.Full)
	case c.Sum("forward")+c.Sum("reply")+c.Sum("split")+c.Sum("drop") != c.Sum():
		return c, fmt.Errorf("testbed: a verdict is missing in %v", c.By)
	case cut == 0 && out > 0, b.plain && cut == 0 && out < 0, b.plain && out < 2*cut:
		return c, fmt.Errorf("testbed: %d packets more written than forwarded and replied, for %d that were cut", out, cut)
	}
	return c, nil
}

// Settle is the beginning for AddUp: at start the binary may try with a few
// packets what the device is good for, and does not translate those.
func (b *Bed) Settle() error {
	const most = 20
	c, in, out, err := b.outside()
	if err != nil {
		return err
	}
	if in < 0 || in > most || out < 0 || out > most || c.Sum("split") > 0 {
		return fmt.Errorf("testbed: %d packets read and %d written before any was counted", in, out)
	}
	b.settled.in, b.settled.out = in, out
	return nil
}

// outside returns the binary's counts, and how many packets more the device says
// it has handed over and taken than were counted, and forwarded or replied.
func (b *Bed) outside() (c Counts, in, out int64, err error) {
	for range 20 {
		dev, err := b.Rest()
		if err != nil {
			return c, 0, 0, err
		}
		if c, err = b.Counts(); err != nil {
			return c, 0, 0, err
		}
		now, err := b.Gateway.Counters(Device)
		if err != nil {
			return c, 0, 0, err
		}
		c.Full = dev.SendDrops
		if now == dev { // or else the kernel has just had something to tell its neighbours
			in = int64(dev.Sent + c.ByKernel - c.Sum())
			out = int64(dev.Received + c.NotTaken + c.ByKernel - c.Sum("forward") - c.Sum("reply"))
			return c, in, out, nil
		}
	}
	return c, 0, 0, errNoRest
}
