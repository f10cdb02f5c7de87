package session_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// A model is a table that is slow and obvious: lists, and the rules in the order in which
// one would tell them. It shares no code with the table. Where the table chooses, the model
// checks the choice and follows it.
type model struct {
	filtered bool
	low, hi  uint16
	pool     []uint32
	limit    session.Limits
	now      int // seconds
	bindings []*mBinding
	sessions []*mSession
	held     []mHeld
	released map[mPort]int
}

type mBinding struct {
	host   translate.Addr6
	hport  uint16
	at     mPort
	pref64 uint8
	static bool
}

type mPort struct {
	proto uint8
	addr  uint32
	port  uint16
}

type mSession struct {
	*mBinding
	remote  uint32
	rport   uint16
	pref64  uint8
	state   string
	used    int
	inbound bool
}

type mHeld struct {
	f     translate.Tuple4
	until int
}

const modelQuarantine = 10

func (s *mSession) timeout() int {
	switch s.state {
	case "udp":
		return 300
	case "dns":
		return 3
	case "icmp":
		return 60
	case "v6-init", "v4-init":
		return 20
	case "trans", "both":
		return 240
	}
	return 7200
}

// tick ends what is over.
func (m *model) tick() {
	var kept []*mSession
	for _, s := range m.sessions {
		if s.state == "established" && m.now-s.used > s.timeout() {
			s.used += s.timeout()
			s.state = "trans"
		}
		if m.now-s.used <= s.timeout() {
			kept = append(kept, s)
		}
	}
	m.sessions = kept
	m.bindings = slices.DeleteFunc(m.bindings, func(b *mBinding) bool {
		used := slices.ContainsFunc(m.sessions, func(s *mSession) bool { return s.mBinding == b })
		if used || b.static {
			return false
		}
		if b.at.proto != tcp {
			m.released[b.at] = m.now
		}
		return true
	})
}

func (m *model) byHost(host translate.Addr6, port uint16, proto uint8) *mBinding {
	for _, b := range m.bindings {
		if b.host == host && b.hport == port && b.at.proto == proto {
			return b
		}
	}
	return nil
}

func (m *model) byPort(at mPort) *mBinding {
	for _, b := range m.bindings {
		if b.at == at {
			return b
		}
	}
	return nil
}

func (m *model) session(b *mBinding, remote uint32, rport uint16) *mSession {
	for _, s := range m.sessions {
		if s.mBinding == b && s.remote == remote && s.rport == rport {
			return s
		}
	}
	return nil
}

// packet does to a session what RFC 6146 §3.5.2.2 says.
func (m *model) packet(s *mSession, side int, flags uint8) {
	isSYN, isFIN, isRST := flags&syn != 0 && flags&rst == 0, flags&fin != 0 && flags&rst == 0, flags&rst != 0
	v4, v6 := side == 4, side == 6
	renew := true
	switch s.state {
	case "v4-init":
		if renew = v6 && isSYN; renew {
			s.state = "established"
		}
	case "v6-init":
		if renew = isSYN; v4 && isSYN {
			s.state = "established"
		}
	case "established":
		switch {
		case isRST:
			s.state = "trans"
		case isFIN && v4:
			s.state = "v4-fin"
		case isFIN:
			s.state = "v6-fin"
		}
	case "v4-fin":
		if isFIN && v6 {
			s.state = "both"
		}
	case "v6-fin":
		if isFIN && v4 {
			s.state = "both"
		}
	case "both":
		renew = false
	case "trans":
		if renew = !isRST; renew {
			s.state = "established"
		}
	}
	if renew {
		s.used = max(s.used, m.now)
	}
}

func (m *model) count(f func(*mSession) bool) (n int) {
	for _, s := range m.sessions {
		if f(s) {
			n++
		}
	}
	return n
}

// full reports whether a limit denies a new session.
func (m *model) full(in bool, proto uint8) bool {
	half := m.count(func(s *mSession) bool { return s.state == "v6-init" })
	fromOutside := m.count(func(s *mSession) bool { return s.inbound })
	own := len(m.sessions) - fromOutside
	switch {
	case len(m.sessions) >= m.limit.Sessions:
		return true
	case in:
		return fromOutside >= m.limit.Inbound || fromOutside >= m.limit.PerPrefix
	}
	return own >= m.limit.PerPrefix || proto == tcp && (half >= m.limit.HalfOpen || half >= m.limit.HalfOpenPerPrefix)
}

// free reports whether a port can surely be assigned, and whether it may be.
func (m *model) free(at mPort) (surely, perhaps bool) {
	if m.byPort(at) != nil || at.proto != icmp && (at.port < m.low || at.port > m.hi) {
		return false, false
	}
	r, was := m.released[at]
	if !was {
		return true, true
	}
	return m.now-r > 2*modelQuarantine+2, m.now-r > modelQuarantine
}

// choose checks the port that the table has chosen for a host.
func (m *model) choose(host translate.Addr6, hport uint16, proto uint8, got mPort, r translate.FlowResult) string {
	pool := m.pool
	for _, b := range m.bindings {
		if b.host == host {
			pool = []uint32{b.at.addr}
			break
		}
	}
	fits := func(p uint16) (class, parity bool) { return (p < 1024) == (hport < 1024), p%2 == hport%2 }
	best := -1 // how well the best port fits that is surely free
	rank := func(p uint16) int {
		class, parity := fits(p)
		n := 0
		if class && proto != icmp {
			n += 2
		}
		if parity && proto == udp {
			n++
		}
		return n
	}
	for _, a := range pool {
		if !slices.Contains(pool, got.addr) && r == translate.FlowMapped {
			return "address of another pool"
		}
		if r == translate.FlowMapped && a != got.addr {
			continue // a new host gets any address that has a port
		}
		for p := int(m.low); p <= int(m.hi); p++ { // of ICMP these are enough: all rank the same
			if surely, _ := m.free(mPort{proto, a, uint16(p)}); surely {
				best = max(best, rank(uint16(p)))
			}
		}
	}
	if r == translate.FlowNoPort {
		if best >= 0 {
			return "a port is free"
		}
		return ""
	}
	if _, perhaps := m.free(got); !perhaps {
		return fmt.Sprint("assigned, out of range or in quarantine: ", got)
	}
	if rank(got.port) < best {
		return fmt.Sprint("another port fits better than ", got)
	}
	return ""
}

// out is Outbound. It returns what is wrong with the answer.
func (m *model) out(f translate.Tuple6, flags uint8, got translate.Tuple4, r translate.FlowResult) string {
	rport := f.RemotePort
	if f.Proto == icmp {
		rport = 0
	}
	b := m.byHost(f.Host, f.HostPort, f.Proto)
	want := translate.FlowMapped
	opening := flags&syn != 0 && flags&rst == 0
	s := m.session(b, f.Remote, rport)
	switch {
	case b != nil && s != nil:
		m.packet(s, 6, flags)
		s.pref64 = f.Pref64
	case f.Proto == tcp && !opening && b == nil:
		want = translate.FlowDrop
	case f.Proto == tcp && !opening:
	case m.full(false, f.Proto):
		want = translate.FlowLimit
	default:
		if b == nil {
			at := mPort{f.Proto, got.Local, got.LocalPort}
			if bad := m.choose(f.Host, f.HostPort, f.Proto, at, r); bad != "" {
				return bad
			}
			if r == translate.FlowNoPort {
				return ""
			}
			b = &mBinding{host: f.Host, hport: f.HostPort, at: at, pref64: f.Pref64}
			m.bindings = append(m.bindings, b)
		}
		s = &mSession{mBinding: b, remote: f.Remote, rport: rport, pref64: f.Pref64, used: m.now}
		s.state = map[uint8]string{tcp: "v6-init", udp: "udp", icmp: "icmp"}[f.Proto]
		if f.Proto == udp && rport == 53 {
			s.state = "dns"
		}
		for i, h := range m.held {
			if f.Proto == tcp && h.f == (translate.Tuple4{Local: b.at.addr, LocalPort: b.at.port, Remote: f.Remote, RemotePort: rport, Proto: tcp}) {
				s.state = "established"
				m.held = slices.Delete(m.held, i, i+1)
				break
			}
		}
		m.sessions = append(m.sessions, s)
	}
	if r != want {
		return fmt.Sprint(r, ", want ", want)
	}
	if r == translate.FlowMapped && (got.Local != b.at.addr || got.LocalPort != b.at.port || got.Remote != f.Remote || f.Proto != icmp && got.RemotePort != f.RemotePort) {
		return fmt.Sprintf("%+v, want %+v", got, b.at)
	}
	return ""
}

// in is Inbound.
func (m *model) in(f translate.Tuple4, flags uint8, got translate.Tuple6, r translate.FlowResult) string {
	rport := f.RemotePort
	if f.Proto == icmp {
		rport = 0
	}
	opening := flags&syn != 0 && flags&rst == 0
	b := m.byPort(mPort{f.Proto, f.Local, f.LocalPort})
	want := translate.FlowMapped
	s := m.session(b, f.Remote, rport)
	open := !m.filtered || b != nil && b.static
	known := m.count(func(s *mSession) bool { return s.mBinding == b && s.remote == f.Remote }) > 0
	pref64 := uint8(0)
	if b != nil {
		pref64 = b.pref64
	}
	switch {
	case !slices.Contains(m.pool, f.Local):
		want = translate.FlowUnshared
	case b == nil && f.Proto == tcp && opening:
		want = translate.FlowHold
	case b == nil && f.Proto == tcp:
		want = translate.FlowDrop
	case b == nil:
		want = translate.FlowNoBinding
	case s != nil:
		m.packet(s, 4, flags)
		pref64 = s.pref64
	case f.Proto == tcp && opening && !open:
		want = translate.FlowHold
	case !open && !known:
		want = translate.FlowFiltered
	case f.Proto == tcp && !opening:
	case m.full(true, f.Proto):
		want = translate.FlowLimit
	default:
		state := map[uint8]string{tcp: "v4-init", udp: "udp", icmp: "icmp"}[f.Proto]
		m.sessions = append(m.sessions, &mSession{mBinding: b, remote: f.Remote, rport: rport, pref64: b.pref64, used: m.now, inbound: true, state: state})
	}
	if r != want {
		return fmt.Sprint(r, ", want ", want)
	}
	if r == translate.FlowMapped && (got.Host != b.host || got.HostPort != b.hport || got.Remote != f.Remote || got.Pref64 != pref64) {
		return fmt.Sprintf("%+v, want %+v", got, b)
	}
	return ""
}

// hold is Hold.
func (m *model) hold(f translate.Tuple4, got bool) string {
	for _, h := range m.held {
		if h.f == f {
			if got {
				return "held twice"
			}
			return ""
		}
	}
	if got != (len(m.held) < m.limit.HeldSYN) {
		return fmt.Sprint("held: ", got)
	}
	if got {
		m.held = append(m.held, mHeld{f, m.now + 6})
	}
	return ""
}

// modelBed runs operations on a table and on a model.
type modelBed struct {
	*bed
	m   *model
	ops []string
}

func newModelBed(t testing.TB, filter bool, r *rand.Rand) *modelBed {
	limit := session.Limits{Sessions: 20 + r.IntN(20), HalfOpen: 3 + r.IntN(20), Inbound: 3 + r.IntN(20), PrefixLen: 32, PerPrefix: 10 + r.IntN(30), HalfOpenPerPrefix: 2 + r.IntN(20), HeldSYN: 3}
	low, high := uint16(1018+r.IntN(12)), uint16(1030+r.IntN(8))
	b := newBed(t, func(c *session.Config) {
		c.Limits = limit
		c.Pools = []session.Pool{{Prefix: prefix("192.0.2.0/31"), Low: low, High: high}}
		c.Quarantine = modelQuarantine * time.Second
		c.Timeouts.DNS = 3 * time.Second
		c.Timeouts.TCPOpening = 20 * time.Second
		c.Static = []session.Static{
			{Proto: tcp, Addr: at("192.0.2.1:80"), Host: at("[2001:db8::1]:1001")},
			{Proto: udp, Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.0"), low), Host: at("[2001:db8::2]:1000")},
		}
		if filter {
			c.Filtering = session.AddressDependent
		}
	})
	m := &model{filtered: filter, low: low, hi: high, pool: []uint32{pool - 1, pool}, limit: limit, released: map[mPort]int{}}
	m.bindings = []*mBinding{
		{host: host6(1), hport: 1001, at: mPort{tcp, pool, 80}, static: true},
		{host: host6(2), hport: 1000, at: mPort{udp, pool - 1, low}, static: true},
	}
	m.now = int(b.now / time.Second)
	return &modelBed{bed: b, m: m}
}

// step does one operation, chosen by r.
func (b *modelBed) step(r *rand.Rand) {
	b.Helper()
	bad, m := "", b.m
	proto := []uint8{tcp, tcp, udp, icmp}[r.IntN(4)]
	flags := []uint8{syn, syn | ack, ack, ack, fin | ack, rst, syn | rst, fin | rst}[r.IntN(8)]
	remote, rport := server+uint32(r.IntN(2)), uint16(52+r.IntN(2))
	to6 := translate.Tuple6{Host: host6(uint64(r.IntN(4))), HostPort: uint16(1000 + r.IntN(3)*12), Remote: remote, RemotePort: rport, Proto: proto, Pref64: uint8(r.IntN(2))}
	if r.IntN(4) == 0 {
		to6.HostPort++
	}
	to4 := translate.Tuple4{Local: pool - uint32(r.IntN(2)), LocalPort: []uint16{80, m.low, 1024, 7}[r.IntN(4)], Remote: remote, RemotePort: rport, Proto: proto}
	if n := len(m.bindings); r.IntN(8) > 0 {
		x := m.bindings[r.IntN(n)].at
		to4.Local, to4.LocalPort, to4.Proto = x.addr, x.port, x.proto
	}
	switch op := r.IntN(12); op {
	default:
		got, res := b.out(to6, flags)
		b.ops = append(b.ops, fmt.Sprintf("%d out %+v %#x: %+v %v", m.now, to6, flags, got, res))
		bad = m.out(to6, flags, got, res)
	case 5, 6, 7, 8:
		got, res := b.in(to4, flags)
		b.ops = append(b.ops, fmt.Sprintf("%d in %+v %#x: %+v %v", m.now, to4, flags, got, res))
		bad = m.in(to4, flags, got, res)
		if res == translate.FlowHold && bad == "" {
			_, ok := b.Hold(b.now, &to4)
			bad = m.hold(to4, ok)
		}
	case 9:
		d := []int{0, 1, 2, 3, 6, 21, 60, 241, 301, 7200}[r.IntN(10)]
		m.now += d
		b.now += time.Duration(d) * time.Second
		b.ops = append(b.ops, fmt.Sprint("time ", m.now))
		b.expire()
		m.tick()
	case 10:
		n := 0
		for {
			if _, _, ok := b.Unanswered(b.now); !ok {
				break
			}
			n++
		}
		before := len(m.held)
		m.held = slices.DeleteFunc(m.held, func(h mHeld) bool { return m.now > h.until })
		if n != before-len(m.held) {
			bad = fmt.Sprint("unanswered: ", n)
		}
	case 11:
		bad = b.compare()
	}
	if bad != "" {
		for _, o := range b.ops[max(0, len(b.ops)-30):] {
			b.Log(o)
		}
		b.Fatal(bad)
	}
}

// compare compares all sessions, by listing and by errors.
func (b *modelBed) compare() string {
	names := map[string]string{"both": "v4-fin-v6-fin"}
	var want, got []string
	for _, s := range b.m.sessions {
		name := s.state
		if n := names[name]; n != "" {
			name = n
		}
		want = append(want, fmt.Sprint(s.at.proto, s.host, s.hport, s.at.addr, s.at.port, s.remote, s.rport, name, s.timeout()-b.m.now+s.used, s.pref64))
	}
	for _, s := range b.all() {
		a, z := s.Addr.Addr().As4(), s.Remote.Addr().As4()
		h := s.Host.Addr().As16()
		u := func(b []byte) (n uint64) {
			for _, x := range b {
				n = n<<8 | uint64(x)
			}
			return n
		}
		host := translate.Addr6{Hi: u(h[:8]), Lo: u(h[8:])}
		f := translate.Tuple4{Local: uint32(u(a[:])), LocalPort: s.Addr.Port(), Remote: uint32(u(z[:])), RemotePort: s.Remote.Port(), Proto: s.Proto}
		got = append(got, fmt.Sprint(s.Proto, host, s.Host.Port(), f.Local, f.LocalPort, f.Remote, f.RemotePort, s.State, int(s.Expires/time.Second), s.Pref64))
		to, r := b.InboundError(b.now, &f)
		if r != translate.FlowMapped || to.Host != host || to.HostPort != s.Host.Port() {
			return fmt.Sprint("error about ", f, ": ", to, r)
		}
		if back, r := b.OutboundError(b.now, &to); r != translate.FlowMapped || back.Local != f.Local || back.LocalPort != f.LocalPort {
			return fmt.Sprint("error about ", to, ": ", back, r)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		return fmt.Sprintf("sessions\n%v\nwant\n%v", got, want)
	}
	if st := b.Stats(); st.Sessions != len(want) || st.HeldSYN != len(b.m.held) || st.Bindings[tcp]+st.Bindings[udp]+st.Bindings[icmp] != len(b.m.bindings) {
		return fmt.Sprintf("%+v, want %d sessions, %d bindings, %d SYNs", st, len(want), len(b.m.bindings), len(b.m.held))
	}
	return ""
}

// TestModel: generated operations, compared with the model.
func TestModel(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 64))
		b := newModelBed(t, seed%2 == 1, r)
		for range 500 {
			b.step(r)
		}
	}
}

// bytesSource is a source of random numbers that a fuzzer controls; it goes on with those
// of a seed.
type bytesSource struct {
	b    []byte
	rest *rand.PCG
}

func (s *bytesSource) Uint64() uint64 {
	if len(s.b) == 0 {
		return s.rest.Uint64()
	}
	x := uint64(s.b[0])
	s.b = s.b[1:]
	return x<<56 | x<<24 // small ranges use the upper bits of either half
}

// FuzzModel compares sequences of operations with the model.
func FuzzModel(f *testing.F) {
	f.Add(false, []byte("a SYN, an answer, and what follows"))
	f.Add(true, []byte{0, 255, 128, 64, 32})
	f.Fuzz(func(t *testing.T, filter bool, ops []byte) {
		r := rand.New(&bytesSource{ops, rand.NewPCG(1, 2)})
		b := newModelBed(t, filter, r)
		for range 10 + len(ops)/4 {
			b.step(r)
		}
	})
}
