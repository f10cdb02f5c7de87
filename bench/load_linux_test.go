package bench

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A load is traffic of one kind, and what is measured about it.
type load struct {
	name  string // key=value, as in the name of a benchmark
	unit  string // of the figure that counts
	lower bool   // less of it is better
	cards string // how the gateway's network cards receive, see setCards
	run   func(x *lab, w *way, d time.Duration) (sample, error)
}

// A sample is a measurement: figures by unit.
type sample map[string]float64

// loads are what BenchmarkE2E puts on a gateway. Bytes of TCP and UDP are those
// of payload.
var loads = []load{
	tcpLoad("6to4", 1), tcpLoad("4to6", 1),
	tcpLoad("6to4", 4), tcpLoad("4to6", 4),
	udpLoad("6to4", 64), udpLoad("4to6", 64),
	udpLoad("6to4", 1400), udpLoad("4to6", 1400),
	{name: "load=request/size=1", unit: "p50-ns", lower: true, run: (*lab).requests},
	udpOfCards(64, cardsGRO), udpOfCards(64, cardsUDP), udpOfCards(1400, cardsGRO), udpOfCards(1400, cardsUDP),
}

func tcpLoad(dir string, streams int) load {
	return load{
		name: fmt.Sprintf("load=tcp/dir=%s/streams=%d", dir, streams),
		unit: "bit/s",
		run: func(x *lab, w *way, d time.Duration) (sample, error) {
			return x.tcp(w, dir, streams, d)
		},
	}
}

func udpLoad(dir string, size int) load {
	return load{
		name: fmt.Sprintf("load=udp/dir=%s/size=%d", dir, size),
		unit: "packets/s",
		run: func(x *lab, w *way, d time.Duration) (sample, error) {
			return x.udp(w, dir, size, d)
		},
	}
}

// udpOfCards is UDP that a gateway receives by other cards.
func udpOfCards(size int, cards string) load {
	l := udpLoad("6to4", size)
	l.name += "/cards=" + cards
	l.cards = cards
	return l
}

// warmUp is how long a load runs before it is measured: a TCP connection takes a
// while to find its rate.
const warmUp = 300 * time.Millisecond

// A window is what happened between two moments.
type window struct {
	counted []float64 // how far each counter moved
	seconds float64
	cpu     time.Duration // what the translator took
	machine machine       // what the whole machine did
	paths   translated    // what ours has translated
}

// observe waits until the load is warm, and then looks at counters for a time of
// d or a little more. The first of them has to move.
func observe(w *way, d time.Duration, counters ...*atomic.Uint64) (o window, err error) {
	for end := time.Now().Add(stuck); counters[0].Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return o, fmt.Errorf("%s: nothing arrives", w.name)
		}
	}
	time.Sleep(warmUp)
	before := make([]uint64, len(counters))
	paths, err := w.translated()
	if err != nil {
		return o, err
	}
	machine0, err := readMachine()
	if err != nil {
		return o, err
	}
	cpu0, err := w.cpu()
	if err != nil {
		return o, err
	}
	begin := time.Now()
	for i, c := range counters {
		before[i] = c.Load()
	}
	time.Sleep(d)
	o.seconds = time.Since(begin).Seconds()
	for i, c := range counters {
		o.counted = append(o.counted, float64(c.Load()-before[i]))
	}
	cpu1, err := w.cpu()
	if err != nil {
		return o, err
	}
	machine1, err := readMachine()
	if err != nil {
		return o, err
	}
	o.cpu = cpu1 - cpu0
	o.machine = machine{machine1.busy - machine0.busy, machine1.dropped - machine0.dropped}
	if o.counted[0] == 0 {
		return o, fmt.Errorf("%s: it has stopped", w.name)
	}
	o.paths, err = w.since(paths)
	return o, err
}

// add notes what the translator and the machine did. It is an error if the translator took
// another path than the one that is to be measured.
func (o *window) add(s sample, w *way, unit string, per func(time.Duration) float64) (sample, error) {
	s["busy-"+unit] = per(o.machine.busy)
	s["backlog-drops"] = float64(o.machine.dropped)
	if w.process != nil {
		s["cpu-"+unit] = per(o.cpu)
	}
	if w.socket != "" {
		s["kernel-%"] = 100 * o.paths.share()
	}
	if w.fast {
		s["segments/packet"] = float64(o.paths.segments) / float64(o.paths.packets)
	}
	return s, w.checkPaths(o.paths)
}

// tcp measures goodput: what arrives at the readers.
func (x *lab) tcp(w *way, dir string, streams int, d time.Duration) (sample, error) {
	var received atomic.Uint64
	var all sync.WaitGroup
	var pairs []pair
	defer func() {
		for _, p := range pairs {
			p.shutdown()
		}
		all.Wait()
		for _, p := range pairs {
			p.close()
		}
	}()
	for range streams {
		p, err := x.connect(w)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
		from, to := p.client, p.server
		if dir == "4to6" {
			from, to = to, from
		}
		all.Go(func() { flood(from) })
		all.Go(func() { drain(to, &received) })
	}
	o, err := observe(w, d, &received)
	if err != nil {
		return nil, err
	}
	s := sample{"bit/s": o.counted[0] * 8 / o.seconds}
	return o.add(s, w, "s/GB", func(d time.Duration) float64 { return d.Seconds() / (o.counted[0] / 1e9) })
}

// ioSize is the size of reads and writes of TCP.
const ioSize = 256 << 10

// flood writes until the connection is shut down.
func flood(fd int) {
	buf := make([]byte, ioSize)
	for {
		if _, err := write(fd, buf); err != nil {
			return
		}
	}
}

// drain reads until the connection is shut down.
func drain(fd int, total *atomic.Uint64) {
	buf := make([]byte, ioSize)
	for {
		n, err := read(fd, buf)
		if n <= 0 || err != nil {
			return
		}
		total.Add(uint64(n))
	}
}

// udp measures datagrams that arrive, of a sender that sends as fast as it can.
func (x *lab) udp(w *way, dir string, size int, d time.Duration) (sample, error) {
	tx, rx, err := x.udpPair(w, dir)
	if err != nil {
		return nil, err
	}
	defer unix.Close(rx)
	defer unix.Close(tx)
	var sent, received atomic.Uint64
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Go(func() { sprayUDP(tx, size, &sent, &stop) })
	all.Go(func() { countUDP(rx, size, &received, &stop) })
	o, err := observe(w, d, &received, &sent)
	stop.Store(true)
	all.Wait()
	if err != nil {
		return nil, err
	}
	s := sample{
		"packets/s": o.counted[0] / o.seconds,
		"bit/s":     o.counted[0] / o.seconds * 8 * float64(size),
		"sent/s":    o.counted[1] / o.seconds,
	}
	return o.add(s, w, "ns/packet", func(d time.Duration) float64 { return float64(d) / o.counted[0] })
}

// batchUDP is the number of datagrams per system call.
const batchUDP = 64

// sprayUDP sends datagrams until it is told to stop.
func sprayUDP(fd, size int, n *atomic.Uint64, stop *atomic.Bool) {
	m := newMessages(batchUDP, size)
	for !stop.Load() {
		k, _ := m.send(fd) // errors are those of earlier datagrams, or of full queues
		n.Add(uint64(k))
	}
}

// countUDP counts datagrams until it is told to stop and there are no more. It
// looks for them twice a millisecond, and the socket's buffer holds more than
// come meanwhile: a reader that sleeps until the next one comes would be woken
// for each, at the expense of the process that delivers it.
func countUDP(fd, size int, n *atomic.Uint64, stop *atomic.Bool) {
	m := newMessages(batchUDP, size)
	pause := unix.NsecToTimespec((500 * time.Microsecond).Nanoseconds())
	for {
		last := stop.Load()
		k, err := m.receive(fd)
		n.Add(uint64(k))
		if err != nil || k < batchUDP {
			if last {
				return
			}
			unix.Nanosleep(&pause, nil)
		}
	}
}

// requests measures how long a request of one byte takes to its answer of one
// byte, one after the other on one TCP connection.
func (x *lab) requests(w *way, d time.Duration) (sample, error) {
	p, err := x.connect(w)
	if err != nil {
		return nil, err
	}
	var all sync.WaitGroup
	defer func() {
		p.shutdown()
		all.Wait()
		p.close()
	}()
	for _, fd := range []int{p.client, p.server} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return nil, err
		}
	}
	all.Go(func() { echo(p.server) })

	paths, err := w.translated()
	if err != nil {
		return nil, err
	}
	took := make([]time.Duration, 0, 1<<20)
	var buf [1]byte
	begin := time.Now()
	for len(took) < cap(took) {
		at := time.Now()
		if at.Sub(begin) > warmUp+d {
			break
		}
		if _, err := write(p.client, buf[:]); err != nil {
			return nil, fmt.Errorf("%s: request: %w", w.name, err)
		}
		if n, err := read(p.client, buf[:]); n != 1 {
			return nil, fmt.Errorf("%s: no answer: %w", w.name, err)
		}
		if at.Sub(begin) > warmUp {
			took = append(took, time.Since(at))
		}
	}
	if len(took) == 0 {
		return nil, fmt.Errorf("%s: no request was answered in time", w.name)
	}
	if paths, err = w.since(paths); err == nil {
		err = w.checkPaths(paths)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(took)
	return sample{
		"p50-ns":   float64(took[len(took)/2]),
		"p99-ns":   float64(took[len(took)*99/100]),
		"p99.9-ns": float64(took[len(took)*999/1000]),
	}, nil
}

// echo sends single bytes back until the connection is shut down.
func echo(fd int) {
	var buf [1]byte
	for {
		if n, err := read(fd, buf[:]); n != 1 || err != nil {
			return
		}
		if _, err := write(fd, buf[:]); err != nil {
			return
		}
	}
}
