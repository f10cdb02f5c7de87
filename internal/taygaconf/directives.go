package taygaconf

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// A directive is what may stand first on a line.
type directive struct {
	min, max int  // number of words after it
	once     bool // a second line with it is an error
	set      func(r *reader, words []string) error
}

// any number of words, as far as a line takes them
const anyNumber = maxWords - 1

// maxPrefixes is how many prefixes there can be, and how many pools. Each is held
// against all the others, and packets go through the prefixes one by one.
const maxPrefixes = 256

// directives is the language. The second half is our own; TAYGA refuses a file
// that holds any of it.
var directives = map[string]directive{
	"tun-device":      {1, 1, true, (*reader).tunDevice},
	"ipv4-addr":       {1, 1, true, (*reader).ipv4Addr},
	"ipv6-addr":       {1, 1, true, (*reader).ipv6Addr},
	"prefix":          {1, 1, false, (*reader).prefix},
	"map":             {2, 2, false, (*reader).addMap},
	"map-file":        {1, 1, true, (*reader).mapFile},
	"dynamic-pool":    {1, 3, false, (*reader).dynamicPool},
	"data-dir":        {1, 1, true, (*reader).dataDir},
	"strict-frag-hdr": {1, 1, false, (*reader).strictFragHdr},
	"wkpf-strict":     {1, 1, false, (*reader).wkpfStrict},
	"udp-cksum-mode":  {1, 1, false, (*reader).udpCksumMode},
	"log":             {0, anyNumber, true, (*reader).log},
	"offlink-mtu":     {1, 1, true, (*reader).offlinkMTU},
	"workers":         {1, 1, true, (*reader).workers},
	"tun-up":          {1, 1, false, (*reader).tunUp},
	"tun-ip":          {1, 1, false, (*reader).tunIP},
	"tun-route":       {1, 1, false, (*reader).tunRoute},

	"icmp-errors":                 {1, 1, true, (*reader).icmpErrors},
	"icmp-node-address":           {1, 1, true, (*reader).icmpNodeAddress},
	"icmp-pool":                   {1, anyNumber, false, (*reader).icmpPool},
	"embedded-source":             {1, anyNumber, false, (*reader).embeddedSource},
	"flow-labels":                 {1, 1, true, (*reader).flowLabels},
	"loop-check":                  {1, anyNumber, false, (*reader).loopCheck},
	"tcp-mss-clamp":               {1, 1, true, (*reader).mssClamp},
	"tos":                         {1, 1, true, (*reader).tos},
	"traffic-class":               {1, 1, true, (*reader).trafficClass},
	"icmp-rate":                   {1, 2, true, (*reader).icmpRate},
	"icmp-mtu-rate":               {1, 2, true, (*reader).icmpMTURate},
	"hairpin":                     {1, 1, true, (*reader).hairpin},
	"offload":                     {1, 3, true, (*reader).offload},
	"fast-path":                   {1, 1, true, (*reader).fastPath},
	"sandbox":                     {1, 1, true, (*reader).sandbox},
	"dynamic-pool-clients":        {1, anyNumber, false, (*reader).poolClients},
	"dynamic-pool-max-per-prefix": {2, 2, true, (*reader).poolQuota},
	"dynamic-pool-refresh":        {1, 1, true, (*reader).poolRefresh},
	"dynamic-pool-hold":           {1, 1, true, (*reader).poolHold},
	"dynamic-pool-forget":         {1, 1, true, (*reader).poolForget},
	"stateful-pool":               {1, 4, false, (*reader).statefulPool},
	"stateful-map":                {3, 3, false, (*reader).statefulMap},
	"stateful-filter":             {1, 1, true, (*reader).statefulFilter},
	"stateful-timeout":            {2, 2, false, (*reader).statefulTimeout},
	"stateful-clients":            {1, anyNumber, false, (*reader).statefulClients},
	"stateful-max-sessions":       {1, 1, true, (*reader).statefulMaxSessions},
	"stateful-max-per-prefix":     {2, 2, true, (*reader).statefulMaxPerPrefix},
	"stateful-max-held-syns":      {1, 1, true, (*reader).statefulMaxHeldSYNs},
	"stateful-port-block":         {1, 1, true, (*reader).statefulPortBlock},
	"stateful-log":                {1, 1, true, (*reader).statefulLog},
	"clat":                        {1, 1, true, (*reader).clat},
	"clat-uplink":                 {1, 1, true, (*reader).clatUplink},
	"clat-address":                {1, 1, true, (*reader).clatAddress},
	"clat-resolver":               {1, anyNumber, false, (*reader).clatResolver},
	"clat-share":                  {1, anyNumber, false, (*reader).clatShare},
	"clat-inbound":                {1, 1, true, (*reader).clatInbound},
	"status-socket":               {1, 1, true, (*reader).statusSocket},
	"metrics-listen":              {1, 1, true, (*reader).metricsListen},
}

// A reader fills in a Config from the lines of a file.
type reader struct {
	*source
	c    *Config
	name string         // the directive of this line
	at   map[string]int // the line on which a directive was first given

	prefixLines []int            // beside Config.Prefixes
	switchLines map[string][]int // beside the PrefixSwitches of a directive
	tunIPLines  []int            // beside Config.TunIPs
	timeouts    map[string]int   // the line on which a stateful-timeout was given
	badTable    bool             // a prefix, map or map-file was meant to be there
}

// read goes through a file and hands every line to its directive.
func (r *reader) read() {
	for {
		words := r.next()
		if words == nil {
			return
		}
		r.name = strings.ToLower(words[0])
		d, ok := directives[r.name]
		if !ok {
			r.errorf(r.line, "", "unknown directive %s%s", show(words[0]), r.meant())
			continue
		}
		first, seen := r.at[r.name]
		if !seen {
			r.at[r.name] = r.line
		}
		switch n := len(words) - 1; {
		case seen && d.once:
			r.errorf(r.line, r.name, "given before, on line %d: remove one of the two", first)
		case n < d.min:
			r.errorf(r.line, r.name, "%s", usage(d.min, "word is missing", "words are missing", n))
		case n > d.max:
			r.errorf(r.line, r.name, "%s is one word too many: put comments after a #", show(words[d.max+1]))
		default:
			if err := d.set(r, words[1:]); err != nil {
				r.errorf(r.line, r.name, "%v", err)
			}
		}
	}
}

func usage(want int, one, many string, have int) string {
	if want-have == 1 {
		return "one " + one + " after it"
	}
	return many + " after it"
}

// warn reports something strange on this line.
func (r *reader) warn(format string, args ...any) { r.warnf(r.line, r.name, format, args...) }

// Read reads a tayga.conf from src. name stands for it in messages; getenv
// gives the value of an environment variable (STATE_DIRECTORY is the only one)
// and may be nil. The Config is to be used only if the Problems have not
// failed; all that is wrong is reported at once.
func Read(src io.Reader, name string, getenv func(string) (string, bool)) (*Config, Problems) {
	return readAs(src, name, getenv, false)
}

// readAs is Read for a daemon that is a CLAT whatever the file says, or for any other.
func readAs(src io.Reader, name string, getenv func(string) (string, bool), clat bool) (*Config, Problems) {
	rep := &reporter{file: name}
	r := &reader{
		source: newSource(src, rep),
		c: &Config{
			File:       name,
			WKPFStrict: true,
			OfflinkMTU: 1280,
			Workers:    -1,
			ICMPErrors: translate.ErrorsTAYGA,
			Offload:    Offload{Checksum: true, TSO: true, USO: true},
			FastPath:   true,
			Sandbox:    true,
			LeaseTime:  pool.DefaultLeaseTime,
			Retention:  pool.DefaultRetention,
			CLAT:       CLAT{On: clat},
		},
		at:          make(map[string]int),
		switchLines: make(map[string][]int),
		timeouts:    make(map[string]int),
	}
	r.read()
	if !r.bad {
		r.check(getenv)
	}
	return r.c, rep.done()
}

// Load reads the file at path.
func Load(path string, getenv func(string) (string, bool)) (*Config, Problems) {
	return loadAs(path, getenv, false)
}

func loadAs(path string, getenv func(string) (string, bool), clat bool) (*Config, Problems) {
	f, err := open(path)
	if err != nil {
		return &Config{File: path}, Problems{{File: path, Text: err.Error()}}
	}
	defer f.Close()
	return readAs(f, path, getenv, clat)
}

func (r *reader) tunDevice(words []string) error {
	if err := deviceName(words[0]); err != nil {
		return err
	}
	r.c.TunDevice = words[0]
	return nil
}

// deviceName takes what the kernel takes, but for patterns, which would give another
// device on every start.
func deviceName(name string) error {
	switch {
	case len(name) > 15:
		return fmt.Errorf("%s is longer than 15 characters", show(name))
	case name == "." || name == ".." || strings.ContainsAny(name, "/:"):
		return fmt.Errorf("%s is no name for a device", show(name))
	case strings.Contains(name, "%"):
		return fmt.Errorf("%s is a pattern: name one device", show(name))
	}
	return nil
}

func (r *reader) ipv4Addr(words []string) error {
	a, err := addr4(words[0])
	if err != nil {
		return err
	}
	warning, err := checkUnicast(a)
	if err != nil {
		return err
	}
	if warning != "" {
		r.warn("%s", warning)
	}
	r.c.IPv4 = a
	return nil
}

func (r *reader) ipv6Addr(words []string) error {
	a, err := addr6(words[0])
	if err != nil {
		return err
	}
	if _, err := checkUnicast(a); err != nil {
		return err
	}
	r.c.IPv6 = a
	return nil
}

func (r *reader) prefix(words []string) error {
	p, err := prefix(words[0], addr6, needed)
	if err == nil {
		err = r.addPrefix(p)
	}
	if err != nil {
		r.badTable = true
	}
	return err
}

// addPrefix checks an RFC 6052 prefix and takes it up.
func (r *reader) addPrefix(p netip.Prefix) error {
	switch p.Bits() {
	case 32, 40, 48, 56, 64, 96:
	default:
		return fmt.Errorf("length %d not allowed by RFC 6052: use 32, 40, 48, 56, 64 or 96", p.Bits())
	}
	if _, err := checkUnicast(p.Masked().Addr()); err != nil {
		return err
	}
	if p != p.Masked() {
		return hostBits(p)
	}
	if a := p.Addr().As16(); a[8] != 0 {
		r.warn("bits 64 to 71 of %s are not zero, against RFC 6052 §2.2", p)
	}
	if len(r.c.Prefixes) == maxPrefixes {
		return fmt.Errorf("more than %d prefixes", maxPrefixes)
	}
	for i, q := range r.c.Prefixes {
		switch {
		case p.Overlaps(q):
			return fmt.Errorf("%s overlaps prefix %s on line %d", p, q, r.prefixLines[i])
		case p.Addr().As16()[8] != 0 || q.Addr().As16()[8] != 0:
			// Such a prefix is only good as a map of all of IPv4.
			return fmt.Errorf("%s cannot be used with prefix %s on line %d: bits 64 to 71 of both must be zero (RFC 6052 §2.2)", p, q, r.prefixLines[i])
		}
	}
	r.c.Prefixes = append(r.c.Prefixes, p)
	r.prefixLines = append(r.prefixLines, r.line)
	return nil
}

func (r *reader) addMap(words []string) error {
	m, warnings, err := parseMap(words)
	if err != nil {
		r.badTable = true
		return err
	}
	for _, w := range warnings {
		r.warn("%s", w)
	}
	// A map of all of IPv4 into a /96 is how TAYGA 0.9.2 lets a prefix be
	// written too.
	if m.IPv4.Bits() == 0 && m.IPv6.Bits() == 96 {
		return r.addPrefix(m.IPv6)
	}
	r.c.Maps = append(r.c.Maps, Map{Map: m, File: r.file, Line: r.line})
	return nil
}

func (r *reader) mapFile(words []string) error {
	r.c.MapFile = words[0]
	return nil
}

// dynamicPool takes a pool and, which is our own, the prefix that it is bound to.
// Whether that is there is for checkPool to say.
func (r *reader) dynamicPool(words []string) error {
	var pref64 netip.Prefix
	if len(words) > 1 {
		var err error
		if pref64, err = poolPref64(words[1:]); err != nil {
			return err
		}
	}
	p, err := prefix(words[0], addr4, needed)
	switch {
	case err != nil:
		return err
	case p.Bits() == 0:
		return fmt.Errorf("%s is all of IPv4: use a length of 4 to 31", p)
	case p.Bits() == 32:
		return fmt.Errorf("length 32 leaves no address to assign: use 31 or less")
	}
	warning, err := checkNetwork4(p.Masked())
	switch {
	case err != nil:
		return err
	case p != p.Masked():
		return hostBits(p)
	}
	if warning != "" {
		r.warn("%s", warning)
	}
	if p.Bits() < largestPool {
		part := netip.PrefixFrom(p.Addr(), largestPool)
		r.warn("%s is too large: only %s of it is given out", p, part)
		p = part
	}
	before := r.c.PoolLines()
	if len(before) == maxPrefixes {
		return fmt.Errorf("more than %d pools", maxPrefixes)
	}
	for _, l := range before {
		if p.Overlaps(l.Prefix) {
			return fmt.Errorf("%s overlaps dynamic-pool %s on line %d", p, l.Prefix, l.Line)
		}
	}
	r.c.addPool(PoolLine{p, pref64, r.line})
	return nil
}

// largestPool is the shortest length of a pool, which has 2^28 addresses then.
const largestPool = 4

// poolPref64 reads "via PREFIX".
func poolPref64(words []string) (netip.Prefix, error) {
	switch {
	case !strings.EqualFold(words[0], "via"):
		return netip.Prefix{}, fmt.Errorf("%s is one word too many: write via and a prefix, or put comments after a #", show(words[0]))
	case len(words) == 1:
		return netip.Prefix{}, errors.New("a prefix is missing after via")
	}
	p, err := prefix(words[1], addr6, needed)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("via: %w", err)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("via: %w", hostBits(p))
	}
	return p, nil
}

func (r *reader) dataDir(words []string) error {
	if !strings.HasPrefix(words[0], "/") {
		return fmt.Errorf("%s is not an absolute path: begin it with a /", show(words[0]))
	}
	r.c.DataDir = words[0]
	return nil
}

func (r *reader) strictFragHdr([]string) error {
	r.warn("has no effect: RFC 7915 gives a Fragment Header to fragments only; the line can go")
	return nil
}

func (r *reader) wkpfStrict(words []string) (err error) {
	r.c.WKPFStrict, err = boolean(words[0])
	return err
}

// udpCksumMode goes by the first letters, as TAYGA does.
func (r *reader) udpCksumMode(words []string) error {
	word := strings.ToLower(words[0])
	switch {
	case strings.HasPrefix(word, "dr"):
		r.c.UDPZero = translate.UDPZeroDrop
	case strings.HasPrefix(word, "calc"):
		r.c.UDPZero = translate.UDPZeroCompute
	case strings.HasPrefix(word, "forw"), strings.HasPrefix(word, "fwd"):
		r.c.UDPZero = translate.UDPZeroForward
	default:
		return fmt.Errorf("%s is none of drop, calc, fwd", show(words[0]))
	}
	return nil
}

func (r *reader) log(words []string) error {
	names := []string{"drop", "reject", "icmp", "self", "dyn"}
	kinds := []Log{LogDrop, LogReject, LogICMP, LogSelf, LogDyn}
	for _, w := range words {
		kind, err := choice(w, names, kinds)
		if err != nil {
			return err
		}
		r.c.Log |= kind
	}
	return nil
}

func (r *reader) offlinkMTU(words []string) (err error) {
	r.c.OfflinkMTU, err = number(words[0], 1280, 65535)
	return err
}

func (r *reader) workers(words []string) (err error) {
	r.c.Workers, err = number(words[0], 0, MaxWorkers)
	return err
}

func (r *reader) tunUp(words []string) (err error) {
	if strings.EqualFold(words[0], "up") {
		r.warn("up taken for yes: TAYGA itself knows only yes and no")
		r.c.TunUp = true
		return nil
	}
	r.c.TunUp, err = boolean(words[0])
	return err
}

func (r *reader) tunIP(words []string) error {
	p, err := prefix(words[0], addr, whole)
	if err != nil {
		return err
	}
	r.c.TunIPs = append(r.c.TunIPs, p)
	r.tunIPLines = append(r.tunIPLines, r.line)
	return nil
}

// tunRoute takes a destination. Host bits of an IPv4 route are
// refused by the kernel; those of an IPv6 route it clears.
func (r *reader) tunRoute(words []string) error {
	p, err := prefix(words[0], addr, whole)
	if err != nil {
		return err
	}
	if p != p.Masked() {
		if p.Addr().Is4() {
			return hostBits(p)
		}
		r.warn("%s taken for %s", p, p.Masked())
	}
	r.c.TunRoutes = append(r.c.TunRoutes, p.Masked())
	return nil
}

func (r *reader) icmpErrors(words []string) (err error) {
	r.c.ICMPErrors, err = choice(words[0], []string{"tayga", "rfc7915"},
		[]translate.ICMPErrors{translate.ErrorsTAYGA, translate.ErrorsRFC7915})
	return err
}

func (r *reader) icmpNodeAddress(words []string) (err error) {
	r.c.NodeAddress, err = boolean(words[0])
	return err
}

func (r *reader) icmpPool(words []string) error {
	const most = 256
	for _, w := range words {
		a, err := addr(w)
		if err != nil {
			return err
		}
		if warning, err := checkUnicast(a); err != nil {
			return err
		} else if warning != "" {
			return fmt.Errorf("%s", warning)
		}
		pool := &r.c.ICMPPool6
		if a.Is4() {
			pool = &r.c.ICMPPool4
		}
		if len(*pool) == most {
			return fmt.Errorf("more than %d addresses of one family", most)
		}
		*pool = append(*pool, a)
	}
	return nil
}

func (r *reader) icmpRate(words []string) (err error) {
	r.c.ICMPRate, err = errorRate(words)
	return err
}

// icmpMTURate warns of what breaks without path MTU errors.
func (r *reader) icmpMTURate(words []string) (err error) {
	r.c.ICMPMTURate, err = errorRate(words)
	if r.c.ICMPMTURate.PerSecond < 0 {
		r.warn("without these errors hosts do not learn that their packets are too large, and connections stall")
	}
	return err
}

// errorRate reads a number of ICMP errors a second and, if there is another word,
// at once.
func errorRate(words []string) (rate ErrorRate, err error) {
	const most = 1000000
	switch word := strings.ToLower(words[0]); {
	case (word == "off" || word == "unlimited") && len(words) > 1:
		return rate, fmt.Errorf("%s is one word too many: %s has no burst", show(words[1]), word)
	case word == "off":
		return ErrorRate{PerSecond: -1}, nil
	case word == "unlimited":
		return ErrorRate{PerSecond: translate.UnlimitedErrors}, nil
	}
	if rate.PerSecond, err = number(words[0], 1, most); err != nil {
		return ErrorRate{}, fmt.Errorf("rate: %w, nor off or unlimited", err)
	}
	if len(words) > 1 {
		if rate.Burst, err = number(words[1], 1, most); err != nil {
			return ErrorRate{}, fmt.Errorf("burst: %w", err)
		}
	}
	return rate, nil
}

func (r *reader) hairpin(words []string) (err error) {
	r.c.Hairpin, err = choice(words[0], []string{"off", "simple", "intrinsic"},
		[]translate.Hairpin{translate.HairpinOff, translate.HairpinSimple, translate.HairpinIntrinsic})
	return err
}

func (r *reader) flowLabels(words []string) (err error) {
	r.c.FlowLabels, err = boolean(words[0])
	return err
}

// mssClamp reads the largest MSS that SYNs keep: RFC 9293 §3.7.1. The lowest is what a
// host may send to another without asking, IPv4's 536 bytes.
func (r *reader) mssClamp(words []string) (err error) {
	switch strings.ToLower(words[0]) {
	case "auto":
		r.c.MSSClamp = translate.MSSAuto
		return nil
	case "off":
		return nil
	}
	r.c.MSSClamp, err = number(words[0], 536, 65535)
	if err != nil {
		return fmt.Errorf("%w, nor auto or off", err)
	}
	return nil
}

func (r *reader) tos(words []string) (err error) {
	r.c.TOS6to4, err = tosByte(words[0])
	return err
}

func (r *reader) trafficClass(words []string) (err error) {
	r.c.TOS4to6, err = tosByte(words[0])
	return err
}

// tosByte reads what a translated packet gets as its TOS or Traffic Class: RFC
// 7915 §4.1, §5.1.
func tosByte(word string) (translate.TOS, error) {
	if strings.EqualFold(word, "copy") {
		return translate.TOS{}, nil
	}
	n, err := number(word, 0, 255)
	if err != nil {
		return translate.TOS{}, fmt.Errorf("%s is neither copy nor a number from 0 to 255", show(word))
	}
	return translate.TOS{Override: true, Value: uint8(n)}, nil
}

func (r *reader) offload(words []string) error {
	if len(words) == 1 {
		all, err := !strings.EqualFold(words[0], "no"), error(nil)
		if !strings.EqualFold(words[0], "auto") {
			all, err = boolean(words[0])
		}
		if err == nil {
			r.c.Offload = Offload{all, all, all}
			return nil
		}
	}
	o := Offload{Checksum: true} // the others do not go without
	for _, w := range words {
		switch strings.ToLower(w) {
		case "checksum":
		case "tso":
			o.TSO = true
		case "uso":
			o.USO = true
		default:
			return fmt.Errorf("%s is neither auto nor no, nor one of checksum, tso and uso", show(w))
		}
	}
	r.c.Offload = o
	return nil
}

// fastPath reads auto, the fast path where the kernel has what it takes, or off. There is
// no word for a daemon that does not start without it.
func (r *reader) fastPath(words []string) (err error) {
	r.c.FastPath, err = choice(words[0], []string{"auto", "off"}, []bool{true, false})
	return err
}

func (r *reader) sandbox(words []string) (err error) {
	r.c.Sandbox, err = choice(words[0], []string{"auto", "no"}, []bool{true, false})
	return err
}

func (r *reader) poolClients(words []string) error {
	return clientPrefixes(&r.c.PoolClients, words)
}

func (r *reader) poolQuota(words []string) error {
	bits, err := number(strings.TrimPrefix(words[0], "/"), 1, 128)
	if err != nil {
		return fmt.Errorf("length: %w", err)
	}
	leases, err := number(words[1], 1, 1<<30)
	if err != nil {
		return fmt.Errorf("number of leases: %w", err)
	}
	r.c.PoolQuota = PoolQuota{Bits: bits, Leases: leases}
	return nil
}

func (r *reader) poolRefresh(words []string) (err error) {
	r.c.PoolRefresh, err = choice(words[0], []string{"both", "outbound"},
		[]pool.Refresh{pool.RefreshBoth, pool.RefreshOutbound})
	return err
}

func (r *reader) poolHold(words []string) (err error) {
	r.c.LeaseTime, err = duration(words[0])
	return err
}

func (r *reader) poolForget(words []string) (err error) {
	r.c.Retention, err = duration(words[0])
	return err
}

// statusSocket takes a path that the kernel takes.
func (r *reader) statusSocket(words []string) error {
	const most = 103 // what every system takes: 108 bytes with a zero, or 104
	path := words[0]
	switch on, err := boolean(path); {
	case err == nil && on:
		path = ""
	case err == nil:
		path = NoStatusSocket
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("%s is neither no nor an absolute path", show(path))
	case len(path) > most:
		return fmt.Errorf("%s is longer than the %d characters that a socket's path can have", show(path), most)
	}
	r.c.StatusSocket = path
	return nil
}

// metricsListen takes an address of this machine and a port.
func (r *reader) metricsListen(words []string) error {
	a, err := netip.ParseAddrPort(words[0])
	if err != nil || a.Port() == 0 {
		return fmt.Errorf("%s is not an address and port such as 127.0.0.1:9464 or [::1]:9464", show(words[0]))
	}
	r.c.MetricsListen = a
	return nil
}
