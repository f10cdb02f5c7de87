package recipes

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// A composition is a compose file, as far as the page needs it.
type composition struct {
	Services map[string]service
	Networks map[string]network
	Volumes  map[string]any
}

type service struct {
	Build struct{ Context, Dockerfile string }
	Image string

	Command  string
	CapDrop  []string `yaml:"cap_drop"`
	CapAdd   []string `yaml:"cap_add"`
	Security []string `yaml:"security_opt"`
	Devices  []string
	Sysctls  map[string]string
	Volumes  []string
	Networks attachments
	Restart  string
}

// attachments are the networks of a service: a list, or a mapping to addresses.
type attachments map[string]struct {
	IPv4 string `yaml:"ipv4_address"`
	IPv6 string `yaml:"ipv6_address"`
}

func (a *attachments) UnmarshalYAML(n *yaml.Node) error {
	type mapping attachments
	if n.Kind == yaml.MappingNode {
		return n.Decode((*mapping)(a))
	}
	var names []string
	if err := n.Decode(&names); err != nil {
		return err
	}
	*a = make(attachments)
	for _, name := range names {
		(*a)[name] = attachments{}[name]
	}
	return nil
}

type network struct {
	EnableIPv4 *bool `yaml:"enable_ipv4"`
	EnableIPv6 bool  `yaml:"enable_ipv6"`
	IPAM       struct {
		Config []struct {
			Subnet  netip.Prefix
			Gateway netip.Addr
			IPRange netip.Prefix `yaml:"ip_range"`
		}
	}
}

// dockerCaps are the capabilities that Docker leaves to a container.
const dockerCaps = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,audit_write,setfcap"

// An engine does what a container engine is documented to do, on a machine.
type engine struct {
	*testing.T
	r          *Recipe
	host       *Machine
	file       composition
	dir        string // of the compose file
	containers map[string]*container
	masquerade []string
}

type container struct {
	*netlab.Host
	service service
	links   int
}

// load reads a compose file. What it does not know about is an error.
func (e *engine) load(path string) {
	e.Helper()
	f, err := os.Open(path)
	require.NoError(e, err)
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	require.NoError(e, d.Decode(&e.file))
	e.dir = filepath.Dir(path)
}

// up makes the networks, and a host for each service on them.
func (e *engine) up() {
	e.Helper()
	e.containers = make(map[string]*container)
	for name, s := range e.file.Services {
		e.containers[name] = &container{Host: e.r.Host(name), service: s}
	}
	rules := "table inet docker { chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept;\n"
	for _, name := range slices.Sorted(maps.Keys(e.file.Networks)) {
		e.connect(name)
		rules += fmt.Sprintf("iifname %q accept;\n", name) // to another network, or to the same
	}
	rules += "}; };\ntable inet nat { chain post { type nat hook postrouting priority srcnat;\n" + strings.Join(e.masquerade, "\n") + "}; };\n"
	e.host.Write("/root/rules", rules)
	e.host.Sh("nft -f /root/rules; sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	for _, c := range e.containers {
		c.Sysctl("net.ipv6.conf.default.disable_ipv6", "1") // interfaces to come have no IPv6
		for key, value := range c.service.Sysctls {
			require.True(e, strings.HasPrefix(key, "net."), "%s is not the container's own", key)
			c.Sysctl(key, value)
		}
	}
}

// connect makes the bridge of a network and connects its services.
func (e *engine) connect(name string) {
	n := e.file.Networks[name]
	e.host.Sh(fmt.Sprintf("ip link add %s type bridge mcast_snooping 0; ip link set %[1]s up", name))
	v4 := n.EnableIPv4 == nil || *n.EnableIPv4
	for _, c := range n.IPAM.Config {
		require.True(e, c.Subnet.Contains(c.Gateway))
		require.True(e, !c.IPRange.IsValid() || c.Subnet.Contains(c.IPRange.Addr()))
		e.host.Sh(fmt.Sprintf("ip address add %s dev %s nodad", netip.PrefixFrom(c.Gateway, c.Subnet.Bits()), name))
		family := "ip"
		if c.Subnet.Addr().Is6() {
			family = "ip6"
		}
		e.masquerade = append(e.masquerade, fmt.Sprintf("%s saddr %s oifname != %q masquerade;", family, c.Subnet, name))
	}
	for _, s := range slices.Sorted(maps.Keys(e.containers)) {
		c := e.containers[s]
		at, ok := c.service.Networks[name]
		if !ok {
			continue
		}
		ifname, port := fmt.Sprintf("eth%d", c.links), s+"-"+name
		c.links++
		e.r.Link(c.Host, ifname, e.host.Host, port, 1500)
		e.host.Sh(fmt.Sprintf("ip link set %s master %s", port, name))
		for _, cfg := range n.IPAM.Config {
			addr := at.IPv6
			if cfg.Subnet.Addr().Is4() {
				require.True(e, v4)
				addr = at.IPv4
			}
			if addr == "" {
				addr = cfg.Gateway.Next().Next().String() // the next one that is free
			}
			c.Addr(ifname, fmt.Sprintf("%s/%d", addr, cfg.Subnet.Bits()))
			c.DefaultRoute(cfg.Gateway.String(), "")
		}
	}
}

// start starts a container of an image, with its volumes below e.dir and volumes,
// and waits until its translator runs.
func (e *engine) start(name string, img image, volumes string) *netlab.Process {
	e.Helper()
	c := e.containers[name]
	keep := strings.Split(strings.ToLower(strings.Join(c.service.CapAdd, ",")), ",")
	if !slices.Equal(c.service.CapDrop, []string{"ALL"}) {
		require.Empty(e, c.service.CapDrop)
		keep = append(keep, strings.Split(dockerCaps, ",")...)
	}
	// What changes the root and drops the rest takes these two, and drops them last.
	last := ""
	for _, cap := range []struct {
		name   string
		number int
	}{{"sys_chroot", unix.CAP_SYS_CHROOT}, {"setpcap", unix.CAP_SETPCAP}} {
		if !slices.Contains(keep, cap.name) {
			keep = append(keep, cap.name)
			last += fmt.Sprintf("%d,", cap.number)
		}
	}
	caps := "-all,+" + strings.Join(keep, ",+")
	noNewPrivs := "0"
	if slices.Contains(c.service.Security, "no-new-privileges:true") {
		noNewPrivs = "1"
	}
	const script = `
		root=$1 caps=$2 last=$3 noNewPrivs=$4 prctl=$5
		shift 5
		mount --make-rprivate /
		mount --bind "$root" "$root"
		cd "$root"
		mkdir -p dev proc sys etc
		mount -t proc proc proc
		mount -t sysfs -o ro sysfs sys
		mount -o bind,ro proc/sys proc/sys
		mount -t tmpfs tmpfs dev
		: >dev/null; mount --bind /dev/null dev/null
		while [ "$1" != -- ]; do
			case $1 in
			device) mkdir -p ".$(dirname "$2")"; : >".$2"; mount --bind "$2" ".$2"; shift 2 ;;
			volume) mkdir -p "$(dirname ".$3")"; [ -d "$2" ] && mkdir -p ".$3" || : >>".$3"; mount --bind "$2" ".$3"
				[ "$4" = rw ] || mount -o "remount,bind,$4" ".$3"; shift 4 ;;
			esac
		done
		shift
		exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			setpriv --inh-caps=-all --bounding-set "$caps" perl -e '
				my ($prctl, $last, $noNewPrivs, @command) = @ARGV;
				chroot(".") && chdir("/") or die "chroot: $!";
				for my $cap (split /,/, $last) { syscall($prctl, 24, $cap + 0, 0, 0, 0) == 0 or die "drop $cap: $!" }
				syscall($prctl, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!" if $noNewPrivs;
				exec { $command[0] } @command or die "exec: $!"' "$prctl" "$last" "$noNewPrivs" "$@"`
	args := []string{"--mount", "--pid", "--fork", "--kill-child=TERM", "sh", "-euc", script, "sh", img.root, caps, last, noNewPrivs, fmt.Sprint(unix.SYS_PRCTL)}
	for _, d := range c.service.Devices {
		args = append(args, "device", d)
	}
	for _, v := range c.service.Volumes {
		part := strings.Split(v, ":")
		source, mode := filepath.Join(e.dir, part[0]), "rw"
		if _, named := e.file.Volumes[part[0]]; named {
			source = filepath.Join(volumes, part[0])
			require.NoError(e, os.MkdirAll(source, 0o755))
		}
		if len(part) == 3 {
			mode = part[2]
		}
		args = append(args, "volume", source, part[1], mode)
	}
	args = append(append(append(args, "--"), img.entrypoint...), img.cmd...)
	p, err := c.Launch("unshare", args...)
	require.NoError(e, err)
	for end := time.Now().Add(time.Minute); !strings.Contains(p.Output(), "Workers: "); time.Sleep(20 * time.Millisecond) {
		require.True(e, time.Now().Before(end), "%s: %s", name, p.Output())
	}
	return p
}

// TestRecipeContainers does what containers.md says with its files, without an
// engine: those of packaging/container are the ones on the page.
func TestRecipeContainers(t *testing.T) {
	r := Open(t, "docs/deploy/containers.md", append(outside, "nftables")...)
	container, err := filepath.Abs(Root + "/packaging/container")
	require.NoError(t, err)
	page, err := os.ReadFile(Root + "/docs/deploy/containers.md")
	require.NoError(t, err)
	for _, name := range []string{"Dockerfile", "compose.yaml", "tayga.conf"} {
		text, err := os.ReadFile(filepath.Join(container, name))
		require.NoError(t, err)
		require.Contains(t, string(page), "\n"+string(text)+"```\n", name)
	}

	host := r.Machine("host")
	n := newInternet(r, host.Host)
	r.Boot()
	n.serve()
	host.Sh("apt-get install -y nftables")
	e := &engine{T: t, r: r, host: host}
	e.load(container + "/compose.yaml")
	require.ElementsMatch(t, []string{"nat64", "app"}, slices.Collect(maps.Keys(e.file.Services)))
	e.up()
	nat64, app := e.containers["nat64"], e.containers["app"]
	build := nat64.service.Build
	context := filepath.Join(container, build.Context)
	img := r.follow(t, filepath.Join(context, build.Dockerfile), context)
	require.Equal(t, []string{"/run/tayga", "/usr/sbin/tayga", "/var/lib/tayga"}, leaves(t, img.root))
	volumes := t.TempDir()
	p := e.start("nat64", img, volumes)
	for _, line := range []string{"Privileged helper: ", "; capabilities: cap_net_admin\n", "Sandbox: landlock, seccomp, no_new_privs; capabilities: none\n",
		"Fast path: on: the kernel translates plain packets\n"} {
		require.Contains(t, p.Output(), line)
	}
	_, err = app.Dial("tcp", "[64:ff9b::9.9.1.2]:80", 2*time.Second)
	require.Error(t, err, "there is a way already")
	r.Follow("Start")
	_, err = app.Ping(netip.MustParseAddr("64:ff9b::9.9.1.2"), netlab.Echo{Size: 1000, Timeout: 10 * time.Second})
	require.NoError(t, err, p.Output())
	server, err := n.v4only.ServeTransfers(":5001")
	require.NoError(t, err)
	defer server.Close()
	for _, move := range []func(string, int64, time.Duration) (netlab.Transfer, error){app.Download, app.Upload} {
		got, err := move("[64:ff9b::9.9.1.2]:5001", 4<<20, time.Minute)
		require.NoError(t, err)
		require.Equal(t, "203.0.113.2", got.SeenAs.Addr().String())
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.Pid()))
	require.NoError(t, err)
	inside := []string{"--target", strings.TrimSpace(string(children)), "--mount", "--net", "--pid", "--root", "tayga", "--status=leases"}
	status, err := nat64.Command("nsenter", inside...).CombinedOutput()
	require.NoError(t, err, "%s", status)
	require.Contains(t, string(status), "2001:db8:1:")

	// Stopped and started again, it knows its leases.
	require.NoError(t, p.Signal(unix.SIGTERM))
	require.NoError(t, p.Wait(), p.Output())
	leases, err := os.ReadFile(filepath.Join(volumes, "leases", "dynamic.map"))
	require.NoError(t, err)
	require.Contains(t, string(leases), "172.30.0.")
	p = e.start("nat64", img, volumes)
	require.Contains(t, p.Output(), "Loaded 1 dynamic map from")
	r.Follow("Undo")
}

// leaves returns the files and empty directories below a directory, sorted.
func leaves(t *testing.T, root string) (list []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if entries, err := os.ReadDir(path); err != nil || len(entries) > 0 {
				return err
			}
		}
		list = append(list, strings.TrimPrefix(path, root))
		return nil
	}))
	return list
}
