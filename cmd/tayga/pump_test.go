package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
	"github.com/steppe-nat64/steppe/tun/tuntest"
)

// memDevice is a TUN device without a kernel. It needs no privilege and runs
// anywhere.
type memDevice struct {
	*tuntest.Queue                // the daemon's end
	kernel         *tuntest.Queue // the test's end
	links          chan tun.Link
	once           sync.Once
	stopped        chan struct{}
	atClose        func() // may be nil
}

func newMemDevice() *memDevice {
	ours, kernel := tuntest.Pair(0)
	return &memDevice{Queue: ours, kernel: kernel, links: make(chan tun.Link), stopped: make(chan struct{})}
}

func (d *memDevice) Name() string            { return "mem0" }
func (d *memDevice) Features() tun.Features  { return tun.Features{} }
func (d *memDevice) Probe() error            { return nil }
func (d *memDevice) Link() (tun.Link, error) { return tun.Link{MTU: 1500, Up: true}, nil }

func (d *memDevice) Stop() {
	d.once.Do(func() { close(d.stopped) })
	d.Queue.Close()
}

func (d *memDevice) Close() error {
	d.Stop()
	if d.atClose != nil {
		d.atClose()
	}
	return nil
}

func (d *memDevice) Watch(f func(tun.Link)) error {
	for {
		select {
		case l := <-d.links:
			f(l)
		case <-d.stopped:
			return tun.ErrClosed
		}
	}
}

// give sends packets to the daemon, as one batch.
func (d *memDevice) give(t *testing.T, packets ...[]byte) {
	t.Helper()
	ps := tun.NewPackets(len(packets))
	for i, b := range packets {
		ps[i].Off, ps[i].Len = tun.Headroom, copy(ps[i].Buf[tun.Headroom:], b)
	}
	n, err := d.kernel.Write(ps)
	require.NoError(t, err)
	require.Len(t, packets, n)
}

// next returns the next packet that leaves, which has to be well-formed.
func (d *memDevice) next(t *testing.T) []byte {
	t.Helper()
	late := time.AfterFunc(patience, func() { d.kernel.Close() })
	defer late.Stop()
	ps := tun.NewPackets(1)
	_, err := d.kernel.Read(ps)
	require.NoError(t, err, "nothing comes out")
	require.NoError(t, packettest.Check(ps[0].Bytes()))
	return ps[0].Bytes()
}

// inMemory makes a daemon over a memDevice.
func inMemory(t *testing.T, conf string) (*daemon, *memDevice, *recorder) {
	t.Helper()
	t.Chdir(t.TempDir())
	dev, r := newMemDevice(), &recorder{}
	d := &daemon{conf: confOf(t, conf), log: newLogger(r), dev: dev, queues: []queue{dev}}
	d.link, _ = dev.Link()
	require.NoError(t, d.install(taygaconf.MapFile{}))
	require.NoError(t, d.begin(taygaconf.MapFile{}))
	return d, dev, r
}

// inBackground runs the daemon in the background.
func (d *daemon) inBackground() (signals chan os.Signal, ended chan error) {
	signals, ended = make(chan os.Signal), make(chan error, 1)
	go func() { ended <- d.run(signals) }()
	return signals, ended
}

var (
	client   = netip.MustParseAddr("2001:db8:77::1") // leases 172.16.2.95
	server4  = netip.MustParseAddr("198.51.99.1")
	server6  = netip.MustParseAddr("2001:db8:64::198.51.99.1")
	leased   = netip.MustParseAddr("172.16.2.95")
	fromHost = packettest.Header{Src: client, Dst: server6}
	toHost   = packettest.Header{Src: server4, Dst: leased}
)

// The whole daemon between two hosts that know one family each.
func TestDaemonInMemory(t *testing.T) {
	d, dev, r := inMemory(t, poolConf+"data-dir /data\nlog dyn self\n")
	signals, ended := d.inBackground()

	dev.give(t, packettest.IP(fromHost, packettest.UDP(1000, 53, []byte("question"))))
	out := dev.next(t)
	want := packettest.IP(packettest.Header{Src: leased, Dst: server4, TTL: 63}, packettest.UDP(1000, 53, []byte("question")))
	assert.Empty(t, packettest.Equal(want, out))

	dev.give(t, packettest.IP(toHost, packettest.UDP(53, 1000, []byte("answer"))))
	want = packettest.IP(packettest.Header{Src: server6, Dst: client, TTL: 63}, packettest.UDP(53, 1000, []byte("answer")))
	assert.Equal(t, want, dev.next(t))

	// Echo requests to both of its own addresses.
	own4, own6 := d.conf.IPv4, d.conf.IPv6
	dev.give(t,
		packettest.IP(packettest.Header{Src: server4, Dst: own4}, packettest.EchoRequest(1, 2, []byte("ping"))),
		packettest.IP(packettest.Header{Src: client, Dst: own6}, packettest.EchoRequest(1, 2, []byte("ping"))),
	)
	assert.Empty(t, packettest.Equal(packettest.IP(packettest.Header{Src: own4, Dst: server4}, packettest.EchoReply(1, 2, []byte("ping"))), dev.next(t)))
	assert.Equal(t, packettest.IP(packettest.Header{Src: own6, Dst: client}, packettest.EchoReply(1, 2, []byte("ping"))), dev.next(t))

	signals <- syscall.SIGUSR1
	signals <- syscall.SIGTERM
	require.NoError(t, <-ended)
	d.log.flush()
	lines := r.all()
	assert.Contains(t, lines, "6 DYN: [assigned] [172.16.2.95]->[2001:db8:77::1]")
	assert.Contains(t, lines, "6 SELF: [v4] [198.51.99.1]->[172.16.2.1] (32 bytes) (proto 1) echo request answered")
	assert.Contains(t, lines, "5 6to4 forward translated: 1 packets, 56 octets")
	assert.Contains(t, lines, "5 4to6 reply echo-reply: 1 packets, 32 octets")
	assert.Contains(t, lines, "5 dynamic pool: 253 addresses, 1 held, 0 dormant, 0 requests refused")
	assert.Equal(t, "5 Exiting on signal 15", lines[len(lines)-1])
	require.Len(t, leaseLines(t), 1, "the lease is saved")
}

// Once the device is free, the next daemon may read the leases. They were saved
// after that.
func TestLeasesAreSavedBeforeTheDeviceIsFree(t *testing.T) {
	d, dev, _ := inMemory(t, poolConf+"data-dir /data\n")
	var saved []string
	dev.atClose = func() { saved = leaseLines(t) }
	signals, ended := d.inBackground()
	dev.give(t, packettest.IP(fromHost, packettest.UDP(1000, 53, nil)))
	dev.next(t)
	signals <- syscall.SIGTERM
	require.NoError(t, <-ended)
	assert.Len(t, saved, 1)
	assert.Equal(t, leaseLines(t), saved, "and not again: the file may be the next one's by then")
}

// Only the source of a packet that gets through takes a lease: neither the
// router that sends an ICMP error, nor whom it is about, nor a host whose destination does not exist.
func TestWhoTakesALease(t *testing.T) {
	d, dev, _ := inMemory(t, poolConf)
	signals, ended := d.inBackground()
	router := netip.MustParseAddr("2001:db8:bad::1")
	about := packettest.IP(packettest.Header{Src: server6, Dst: netip.MustParseAddr("2001:db8:77::9")}, packettest.UDP(1, 2, nil))
	dev.give(t,
		packettest.IP(packettest.Header{Src: router, Dst: server6}, packettest.ICMP(3, 0, 0, about)),
		packettest.IP(packettest.Header{Src: client, Dst: netip.MustParseAddr("2001:db8:5::6")}, packettest.UDP(1, 2, nil)),
		packettest.IP(packettest.Header{Src: client, Dst: server6, TTL: 1}, packettest.UDP(1, 2, nil)),
		packettest.IP(packettest.Header{Src: client, Dst: d.conf.IPv6}, packettest.EchoRequest(1, 2, nil)),
	)
	assert.Equal(t, []byte{1, 0}, dev.next(t)[40:42], "no mapping for the destination")
	assert.Equal(t, []byte{3, 0}, dev.next(t)[40:42], "time exceeded")
	assert.Equal(t, []byte{129, 0}, dev.next(t)[40:42], "echo reply")
	assert.Zero(t, d.leases[0].pool.Stats().Held)
	dev.give(t, packettest.IP(fromHost, packettest.UDP(1, 2, nil)))
	dev.next(t)
	assert.Equal(t, 1, d.leases[0].pool.Stats().Held)
	signals <- syscall.SIGTERM
	require.NoError(t, <-ended)
}

// TestForgedSource: any IPv6 host of a NAT64 network could send from an address
// inside the prefix. The packet left with the IPv4 address in it, which masquerading
// for the pool let pass.
func TestForgedSource(t *testing.T) {
	const conf = "tun-device nat64\nipv4-addr 172.16.2.1\nipv6-addr 2001:db8:1::64\ndynamic-pool 172.16.2.0/24\nlog drop\n"
	for _, c := range []struct {
		name, conf, prefix string
		drop               bool
	}{
		{"well-known-prefix", conf + "prefix 64:ff9b::/96\n", "64:ff9b::", true},
		{"well-known-prefix-forward", conf + "prefix 64:ff9b::/96\nembedded-source forward\nloop-check no\n", "64:ff9b::", false},
		{"own-prefix", conf + "prefix 2001:db8:64::/96\n", "2001:db8:64::", false},
		{"own-prefix-drop", conf + "prefix 2001:db8:64::/96\nembedded-source drop\n", "2001:db8:64::", true},
		{"second-prefix-drop", conf + "prefix 2001:db8:65::/96\nprefix 2001:db8:64::/96\nembedded-source drop 2001:db8:64::/96\n", "2001:db8:64::", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, dev, r := inMemory(t, c.conf)
			signals, ended := d.inBackground()
			server := netip.MustParseAddr(c.prefix + "198.51.99.1")
			forged := netip.MustParseAddr(c.prefix + "8.8.8.8")
			dev.give(t,
				packettest.IP(packettest.Header{Src: forged, Dst: server}, packettest.UDP(1000, 53, nil)),
				packettest.IP(packettest.Header{Src: client, Dst: server}, packettest.UDP(1000, 53, nil)))
			source := leased
			if !c.drop {
				source = netip.MustParseAddr("8.8.8.8")
			}
			assert.Equal(t, source.AsSlice(), dev.next(t)[12:16])
			signals <- syscall.SIGTERM
			require.NoError(t, <-ended)
			d.log.flush()
			assert.Equal(t, c.drop, strings.Contains(strings.Join(r.all(), "\n"), "source address inside the prefix"))
		})
	}
}

// Packets leave in the order in which they came, although some are dropped and
// others cut into pieces.
func TestOrderInABatch(t *testing.T) {
	d, dev, _ := inMemory(t, poolConf)
	d.leases[0].pool.Assign(client.As16())
	signals, ended := d.inBackground()
	mark := func(port uint16) []byte {
		return packettest.IP(toHost, packettest.UDP(53, port, []byte("mark")))
	}
	big := packettest.IP(packettest.Header{Src: server4, Dst: leased, ID: 7}, packettest.UDP(53, 2000, packettest.Bytes(60000, 1)))
	broken := mark(9)
	broken[10] ^= 1 // header checksum
	dev.give(t, broken, mark(1), broken, big, mark(2), broken, mark(3), broken)

	var order []string
	var pieces [][]byte
	for len(order) < 3 {
		b := dev.next(t)
		if b[6] == 44 {
			assert.LessOrEqual(t, len(b), 1280)
			pieces = append(pieces, b)
			continue
		}
		if len(pieces) > 0 && len(order) == 1 {
			order = append(order, "pieces")
		}
		order = append(order, string('0'+rune(b[43])))
	}
	assert.Equal(t, []string{"1", "pieces", "2"}, order)
	whole, err := packettest.Reassemble(pieces)
	require.NoError(t, err)
	assert.Equal(t, packettest.IP(packettest.Header{Src: server6, Dst: client, TTL: 63}, packettest.UDP(53, 2000, packettest.Bytes(60000, 1))), whole)
	assert.EqualValues(t, 3, dev.next(t)[43])
	signals <- syscall.SIGTERM
	require.NoError(t, <-ended)
}

// What is allowed and probably not meant is said at start.
func TestWarnings(t *testing.T) {
	d, _, r := inMemory(t, poolConf+"map 10.0.0.0/24 2001:db8:a::/120\nmap 10.0.0.7 2001:db8:b::7\n")
	d.log.flush()
	assert.Contains(t, r.all(), "4 map 10.0.0.7/32 2001:db8:b::7/128: lies inside 10.0.0.0/24 of another map; the longest match wins")

	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "map 10.0.0.%d 2001:db8:b::%x\n", i, i)
	}
	d, _, r = inMemory(t, poolConf+"map 10.0.0.0/24 2001:db8:a::/120\n"+b.String())
	d.log.flush()
	assert.Contains(t, r.all(), "4 180 more warnings like these")
}

// A change of the device's MTU is followed at once.
func TestMTUIsFollowed(t *testing.T) {
	d, dev, r := inMemory(t, poolConf)
	d.leases[0].pool.Assign(client.As16())
	signals, ended := d.inBackground()
	packet := packettest.IP(packettest.Header{Src: server4, Dst: leased, DF: true}, packettest.UDP(53, 1000, packettest.Bytes(1400, 1)))

	dev.give(t, packet)
	assert.Equal(t, byte(6), dev.next(t)[0]>>4, "forwarded")

	dev.links <- tun.Link{MTU: 1400, Up: true}
	dev.links <- tun.Link{MTU: 1400} // down: by then the one before has been seen to
	dev.links <- tun.Link{MTU: 1400, Up: true}
	dev.give(t, packet)
	answer := dev.next(t)
	assert.Equal(t, byte(4), answer[0]>>4)
	assert.Equal(t, []byte{3, 4}, answer[20:22], "fragmentation needed")
	assert.Equal(t, []byte{0, 0, 1380 >> 8, 1380 & 255}, answer[24:28], "next-hop MTU")

	dev.links <- tun.Link{MTU: 1200, Up: true} // too small: the one before stays
	dev.links <- tun.Link{MTU: 1200, Up: true}
	dev.give(t, packet)
	assert.Equal(t, []byte{0, 0, 1380 >> 8, 1380 & 255}, dev.next(t)[24:28])

	signals <- syscall.SIGTERM
	require.NoError(t, <-ended)
	d.log.flush()
	assert.Contains(t, r.all(), "6 Tun device mem0 has an MTU of 1400 now")
	assert.Contains(t, r.all(), "5 Tun device mem0 is down: nothing arrives until it is up again")
	assert.Contains(t, r.all(), "6 Tun device mem0 is up")
	assert.Contains(t, r.all(), "4 Tun device mem0 has an MTU of 1200 now, less than the 1280 that IPv6 needs: going on with the one before")
}

// A device that is deleted ends the session once, without a flood of lines.
func TestDeviceGone(t *testing.T) {
	for name, vanish := range map[string]func(*memDevice){
		"read":  func(d *memDevice) { d.kernel.Close() },
		"watch": func(d *memDevice) { d.links <- tun.Link{Gone: true} },
	} {
		t.Run(name, func(t *testing.T) {
			d, dev, _ := inMemory(t, poolConf)
			closed := false
			dev.atClose = func() { closed = true }
			go vanish(dev)
			err := d.session(nil)
			assert.True(t, errors.Is(err, tun.ErrGone), err)
			assert.True(t, closed)
		})
	}
}

// A queue that fails for another reason ends the daemon, with the reason.
func TestQueueFails(t *testing.T) {
	d, _, _ := inMemory(t, poolConf)
	d.queues = []queue{brokenQueue{}}
	_, ended := d.inBackground()
	assert.EqualError(t, <-ended, "tun: read mem0: input/output error")
}

type brokenQueue struct{ queue }

func (brokenQueue) Read([]translate.Packet) (int, error) {
	return 0, errors.New("tun: read mem0: input/output error")
}
func (brokenQueue) Failed() uint64 { return 0 }

// nullQueue is there for what it does not do.
type nullQueue struct{ sent int }

func (q *nullQueue) Read([]translate.Packet) (int, error) { return 0, tun.ErrClosed }
func (q *nullQueue) Failed() uint64                       { return 0 }
func (q *nullQueue) ReadTimeout([]translate.Packet, time.Duration) (int, error) {
	return 0, tun.ErrClosed
}
func (q *nullQueue) Write(ps []translate.Packet) (int, error) {
	q.sent += len(ps)
	return len(ps), nil
}

// No packet costs an allocation, whatever becomes of it.
func TestPumpAllocatesNothing(t *testing.T) {
	c := confOf(t, poolConf)
	g := installed(t, c, time.Now())
	g.Pools()[0].Assign(client.As16())
	workers := 0
	for name, kinds := range map[string]taygaconf.Log{"log=none": 0, "log=all": taygaconf.LogDrop | taygaconf.LogReject | taygaconf.LogICMP | taygaconf.LogSelf} {
		t.Run(name, func(t *testing.T) {
			q := &nullQueue{}
			workers++
			p := newPump(q, g.Worker(workers), newPacketLog(kinds, newLogger(&recorder{})))
			for i := range p.log.limits {
				p.log.limits[i].left.Store(0) // lines are allowed to allocate
			}
			broken := packettest.IP(toHost, packettest.UDP(1, 2, nil))
			broken[10] ^= 1 // header checksum
			packets := [][]byte{
				packettest.IP(fromHost, packettest.TCP(1, 2, []byte("x"))),
				packettest.IP(toHost, packettest.UDP(1, 2, packettest.Bytes(4000, 1))),
				broken,
				packettest.IP(packettest.Header{Src: server4, Dst: c.IPv4}, packettest.EchoRequest(1, 2, nil)),
				packettest.IP(packettest.Header{Src: server4, Dst: netip.MustParseAddr("172.16.2.200")}, packettest.UDP(1, 2, nil)),
			}
			run := func() {
				for i, b := range packets {
					p.batch[i].Off, p.batch[i].Len = tun.Headroom, copy(p.batch[i].Buf[tun.Headroom:], b)
				}
				p.translate(time.Since(started), p.batch[:len(packets)])
				p.emit(time.Since(started))
			}
			assert.Zero(t, testing.AllocsPerRun(50, run))
			assert.Greater(t, q.sent, 50*5)
		})
	}
}
