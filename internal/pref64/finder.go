package pref64

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// A Config says how a Finder finds the prefix of an uplink. Only Interface has to be given.
type Config struct {
	Interface string // name of the uplink

	// Servers are the resolvers to ask. Without them those are asked that routers of the
	// uplink advertise (RFC 8106), and without these those of Resolvers, which is called
	// before each query. By default it reads ResolvConf, by default /etc/resolv.conf.
	Servers    []netip.AddrPort
	Resolvers  func() []netip.AddrPort
	ResolvConf string

	// Listener has the sockets for advertisements. Without it, Open opens one of its own.
	Listener *Listener

	// Dial opens connections to resolvers, by default as BoundDialer(Interface) does: RFC 8880
	// §7.1.
	Dial Dialer

	// Own returns the networks of this machine, at most once a second. By default they are
	// those of the addresses that its interfaces have.
	Own func() []netip.Prefix

	// Report is called by Run with what goes wrong: a prefix that is refused (Refused), no answer from
	// a resolver, no solicitation. An error that is the same as the last one of its kind is
	// not reported again. A router that invents prefixes causes new ones all the time: limit
	// the rate of what is logged.
	Report func(error)

	withoutICMP bool // for tests: as without CAP_NET_RAW
}

// A Finder finds the prefix of one uplink, and follows it. One goroutine runs it.
type Finder struct {
	cfg     Config
	sockets *sockets
	from    *Listener // that has the sockets
	start   time.Time
	uplink  *Uplink
	restart chan struct{}

	found    Found
	ownAt    time.Duration // when Own was called last
	ownKnown bool
	reported map[string]string // the last error, by kind
}

// Open opens the sockets of a Finder, in the network namespace of the calling thread, or
// takes those of the Listener. It needs no privilege; with CAP_NET_RAW, here or when the
// Listener was opened, it also solicits advertisements, and receives those that the kernel
// does not process. On systems other than Linux it returns errors.ErrUnsupported.
func Open(cfg Config) (*Finder, error) {
	s, from, err := takeSockets(cfg)
	if err != nil {
		return nil, fmt.Errorf("pref64: %s: %w", cfg.Interface, err)
	}
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = "/etc/resolv.conf"
	}
	if cfg.Dial == nil {
		cfg.Dial = BoundDialer(cfg.Interface)
	}
	if cfg.Own == nil {
		cfg.Own = ownNetworks
	}
	return &Finder{
		cfg: cfg, sockets: s, from: from, start: time.Now(), uplink: NewUplink(0),
		restart: make(chan struct{}, 1), reported: map[string]string{},
	}, nil
}

// takeSockets returns the sockets for a Finder, and where they have to be given back.
func takeSockets(cfg Config) (*sockets, *Listener, error) {
	if cfg.Listener != nil {
		s, err := cfg.Listener.take(cfg.Interface)
		return s, cfg.Listener, err
	}
	own, err := openListener(1, cfg.withoutICMP)
	if err != nil {
		return nil, nil, err
	}
	defer own.Close() // so that the sockets are closed when they are given back
	s, err := own.take(cfg.Interface)
	return s, own, err
}

// Restart makes Run forget what it has found and begin anew: the uplink was down, the
// machine suspended, or the resolvers have changed. It may be called from any goroutine.
func (f *Finder) Restart() {
	select {
	case f.restart <- struct{}{}:
	default:
	}
}

// Close closes the sockets, or gives them back to the Listener. It is called once, after
// Run has returned, or instead of Run.
func (f *Finder) Close() error { return f.from.giveBack(f.sockets) }

// Run calls found with each change of the prefix that counts, its source or its router: the
// zero value if there is none any more. It returns when ctx is done, with its error, or when
// nothing can be received any more. Nothing that it has started runs after that.
func (f *Finder) Run(ctx context.Context, found func(Found)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	advertisements, ended := make(chan Advertisement), make(chan error, 1)
	var receiving sync.WaitGroup
	receiving.Go(func() { ended <- f.sockets.receive(ctx, advertisements) })
	defer func() {
		cancel()
		f.sockets.wake()
		receiving.Wait()
	}()
	q := newQueries(ctx)
	defer q.end()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("pref64: %s: %w", f.cfg.Interface, err)
		case a := <-advertisements:
			f.uplink.Learn(f.now(), a)
		case r := <-q.results:
			q.end()
			f.answered(r.answer, r.err)
		case <-f.restart:
			q.end()
			f.ownKnown = false
			f.uplink.Restart(f.now())
		case <-timer.C:
		}
		timer.Reset(f.step(q, found))
	}
}

// step does what is due, and returns for how long there is nothing else to do.
func (f *Finder) step(q *queries, found func(Found)) time.Duration {
	now := f.now()
	if !f.ownKnown || now-f.ownAt >= time.Second {
		f.uplink.SetOwn(f.cfg.Own())
		f.ownAt, f.ownKnown = now, true
	}
	do, next := f.uplink.Poll(now)
	if do.Solicit {
		f.report("solicit", f.sockets.solicit())
	}
	if do.Ask {
		servers := f.servers(now)
		q.begin(func(ctx context.Context) (Answer, error) { return Ask(ctx, f.cfg.Dial, servers) })
	}
	for _, r := range f.uplink.Refused(now) {
		f.report(r.Prefix.String(), r)
	}
	if p := f.uplink.Prefix(now); p.Prefix != f.found.Prefix || p.Source != f.found.Source || p.Router != f.found.Router {
		found(p)
		f.found = p
	}
	return next - now
}

// answered gives the result of a query to the uplink.
func (f *Finder) answered(a Answer, err error) {
	if err != nil {
		f.uplink.Failed(f.now())
	} else {
		f.uplink.Answered(f.now(), a)
		if len(a.Prefixes) == 0 && a.Others > 0 {
			err = fmt.Errorf("pref64: the resolver has %d IPv6 addresses for %s that DNS64 does not make", a.Others, Name)
		}
	}
	f.report("ask", err)
}

// servers returns the resolvers to ask.
func (f *Finder) servers(now time.Duration) []netip.AddrPort {
	if len(f.cfg.Servers) > 0 {
		return f.cfg.Servers
	}
	all := atPort(f.uplink.Resolvers(now))
	if len(all) == 0 {
		all = f.resolvers()
	}
	for i, s := range all {
		if a := s.Addr(); a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" {
			all[i] = netip.AddrPortFrom(a.WithZone(f.cfg.Interface), s.Port())
		}
	}
	return all
}

// resolvers returns those of the machine.
func (f *Finder) resolvers() []netip.AddrPort {
	if f.cfg.Resolvers == nil {
		return readResolvConf(f.cfg.ResolvConf)
	}
	given := f.cfg.Resolvers()
	return slices.Clone(given[:min(len(given), maxServers)])
}

// atPort returns the resolvers at addresses.
func atPort(addrs []netip.Addr) (all []netip.AddrPort) {
	for _, a := range addrs {
		all = append(all, netip.AddrPortFrom(a, portDomain))
	}
	return all
}

// report reports an error, unless it is the last one of its kind. No error ends it.
func (f *Finder) report(kind string, err error) {
	if err == nil {
		delete(f.reported, kind)
		return
	}
	if f.reported[kind] == err.Error() {
		return
	}
	if len(f.reported) >= maxReported {
		clear(f.reported) // prefixes that a router invents
	}
	f.reported[kind] = err.Error()
	if f.cfg.Report != nil {
		f.cfg.Report(err)
	}
}

// maxReported limits how many errors are remembered.
const maxReported = 64

func (f *Finder) now() time.Duration { return time.Since(f.start) }

// ownNetworks returns the networks of the addresses of this machine.
func ownNetworks() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() {
			all = append(all, p.Masked())
		}
	}
	return all
}

// readResolvConf reads a resolv.conf, the first 64 KiB of it.
func readResolvConf(name string) []netip.AddrPort {
	file, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer file.Close()
	text, _ := io.ReadAll(io.LimitReader(file, 64<<10))
	return atPort(ParseResolvConf(string(text)))
}
