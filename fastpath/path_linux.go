package fastpath

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Sizes say how many entries the cache has room for; 0 means 65,536. The memory is used as
// entries come: about 100 bytes each.
type Sizes struct{ Hosts, Sessions int }

// A Path is the program and its cache. To load and attach it takes CAP_BPF, CAP_PERFMON and
// CAP_NET_ADMIN; what is done later is done by the Cache.
type Path struct {
	*Cache
	program    *ebpf.Program
	attachment *Attachment
	l2         int
}

// Load loads the program for a TUN device. It translates nothing before it is attached and
// has rules. The error says in one line what the kernel lacks, or does not allow.
func Load(s Sizes) (*Path, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	return load(s, 0)
}

// Supported reports whether the kernel can have the program: Linux 6.6 and later on a 64-bit
// processor. What else may be missing, Load says.
func Supported() error {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		return errors.New("fastpath: it needs a 64-bit processor")
	}
	major, minor, err := release()
	if err != nil {
		return err
	}
	if major < 6 || major == 6 && minor < 6 {
		return fmt.Errorf("fastpath: it needs Linux 6.6 (tcx), not %d.%d", major, minor)
	}
	return nil
}

// release is the version of the kernel.
func release() (major, minor int, err error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return 0, 0, fmt.Errorf("fastpath: uname: %w", err)
	}
	text := unix.ByteSliceToString(u.Release[:])
	if _, err := fmt.Sscanf(text, "%d.%d", &major, &minor); err != nil {
		return 0, 0, fmt.Errorf("fastpath: kernel release %q: %w", text, err)
	}
	return major, minor, nil
}

// load loads the program for packets with l2 bytes before the IP header.
func load(s Sizes, l2 int) (*Path, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("fastpath: read the program: %w", err)
	}
	return loadSpec(spec, s, l2)
}

func loadSpec(spec *ebpf.CollectionSpec, s Sizes, l2 int) (*Path, error) {
	if err := spec.Variables["l2"].Set(uint32(l2)); err != nil {
		return nil, fmt.Errorf("fastpath: %w", err)
	}
	for name, n := range map[string]int{"hosts6": s.Hosts, "hosts4": s.Hosts, "sessions6": s.Sessions, "sessions4": s.Sessions} {
		if n < 0 || n > 1<<26 {
			return nil, fmt.Errorf("fastpath: room for %d entries: not in 0 to %d", n, 1<<26)
		}
		if n == 0 {
			n = 1 << 16
		}
		spec.Maps[name].MaxEntries = uint32(n)
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("fastpath: load: %s%s", oneLine(err), lacking())
	}
	p := &Path{Cache: new(Cache), program: c.DetachProgram("steppe"), l2: l2}
	for i, m := range p.all() {
		*m = c.DetachMap(mapNames[i])
	}
	c.Close()
	if err := p.mapMemory(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// lacking names the capabilities that the calling thread would need and does not have: the
// verifier says what a program without them must not do, and not which they are.
func lacking() string {
	var have [2]unix.CapUserData
	if unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &have[0]) != nil {
		return ""
	}
	has := func(c int) bool { return have[c/32].Effective>>(c%32)&1 != 0 }
	var names []string
	if !has(unix.CAP_BPF) && !has(unix.CAP_SYS_ADMIN) {
		names = append(names, "CAP_BPF")
	}
	if !has(unix.CAP_PERFMON) && !has(unix.CAP_SYS_ADMIN) {
		names = append(names, "CAP_PERFMON")
	}
	if !has(unix.CAP_NET_ADMIN) {
		names = append(names, "CAP_NET_ADMIN")
	}
	if names == nil {
		return ""
	}
	return " (without " + strings.Join(names, ", ") + ")"
}

// oneLine is what the kernel says, without the log of the verifier, of which the last line
// says what it refuses.
func oneLine(err error) string {
	var v *ebpf.VerifierError
	if errors.As(err, &v) && len(v.Log) > 0 {
		last := v.Log[len(v.Log)-1]
		for _, line := range v.Log {
			if !strings.HasPrefix(line, "processed ") && !strings.Contains(line, "verification time") && !strings.HasPrefix(line, "stack depth") {
				last = line
			}
		}
		return fmt.Sprintf("%v: the verifier refuses it: %s", v.Cause, last)
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	text, _, _ = strings.Cut(text, " (MEMLOCK") // which has no say since Linux 5.11
	return text
}

// Program returns the descriptor of the program, which another process can Attach. It stays
// that of the Path.
func (p *Path) Program() int { return p.program.FD() }

// Attach is the function Attach for the program of the Path, which has the attachment until
// Close. A device that was attached to before is left.
func (p *Path) Attach(ifindex int) error {
	if err := p.Detach(); err != nil {
		return err
	}
	a, err := Attach(p.Program(), ifindex)
	if err != nil {
		return err
	}
	p.attachment = a
	return nil
}

// Device is that of the attachment, 0 if there is none.
func (p *Path) Device() int {
	if p.attachment == nil {
		return 0
	}
	return p.attachment.Device()
}

// Detach detaches the program, if it is attached.
func (p *Path) Detach() error {
	if p.attachment == nil {
		return nil
	}
	err := p.attachment.Close()
	p.attachment = nil
	return err
}

// Close detaches and releases the program and the cache.
func (p *Path) Close() error {
	err := p.Detach()
	if p.program != nil {
		p.program.Close()
	}
	return errors.Join(err, p.Cache.Close())
}
