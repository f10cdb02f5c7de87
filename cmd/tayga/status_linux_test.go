package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
)

// ask returns what tayga --status --json prints.
func (b *bench) ask(what status.What) *status.Report {
	b.Helper()
	out, errs, code := b.tayga("--status="+string(what), "--json", "-c", b.conf)
	require.Equal(b, 0, code, errs)
	assert.Empty(b, errs)
	r := new(status.Report)
	require.NoError(b, json.Unmarshal([]byte(out), r))
	return r
}

// What --status tells is what SIGUSR1 logs, and it follows what happens.
func TestStatus(t *testing.T) {
	b := newBench(t, gatewayConf+"status-socket DIR/sock\nmap-file DIR/maps\n")
	require.NoError(t, os.WriteFile(b.dir+"/maps", []byte("map 192.168.254.8 2001:db8:7::8\nmap 192.168.254.9 2001:db8:7::9\n"), 0o644))
	p := b.launch()
	r := b.ask(status.Summary)
	assert.False(t, r.Device.Up)
	b.connect()
	b.await(p, "Tun device nat64 is up")
	require.NoError(t, b.ping("192.168.255.1"))
	require.NoError(t, b.ping("2001:db8:1::64"))
	require.Error(t, b.ping("192.168.255.9"))
	b.lease(p)
	b.host.MTU("nat64", 1400)
	b.await(p, "MTU of 1400")
	reload := func(failed bool) {
		t.Helper()
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP)) // once: Signal sends it to the group, too
		text := "Reloaded "
		if failed {
			text = "going on with the maps as they were"
		}
		b.await(p, text)
	}
	require.NoError(t, os.WriteFile(b.dir+"/maps", []byte("map 192.168.254.8 2001:db8:7::8\n"), 0o644))
	reload(false)
	require.NoError(t, os.WriteFile(b.dir+"/maps", []byte("nonsense\n"), 0o644))
	reload(true)

	r = b.ask(status.Summary)
	assert.Equal(t, version(), r.Version)
	assert.Equal(t, p.Pid(), r.PID)
	assert.Equal(t, b.conf, r.Config)
	assert.Equal(t, "nat64", r.Device.Name)
	assert.True(t, r.Device.Present)
	assert.True(t, r.Device.Up)
	assert.Equal(t, 1400, r.Device.MTU)
	assert.Equal(t, r.Device.Workers, len(r.Device.Refused))
	assert.Contains(t, r.Device.Offloads, "checksum")
	assert.Equal(t, &status.Pool{Size: 254, Held: 1}, r.Pool) // 256, but for the lowest and the own one
	assert.Equal(t, status.Maps{Config: 1, MapFile: 1}, r.Maps)
	assert.Equal(t, status.Reloads{OK: 1, Failed: 1}, r.Reloads)
	assert.Nil(t, r.LeaseList)
	assert.Nil(t, r.MapList)

	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGUSR1))
	b.await(p, "dynamic pool: 254 addresses, 1 held, 0 dormant, 0 requests refused\n")
	require.NotEmpty(t, r.Packets)
	for _, c := range b.ask(status.Summary).Packets {
		assert.Contains(t, p.Output(), fmt.Sprintf("%s %s %s: %d packets, %d octets\n", c.Direction, c.Verdict, c.Reason, c.Packets, c.Bytes))
	}

	leases := b.ask(status.Leases).LeaseList
	require.Len(t, leases.Entries, 1)
	assert.Equal(t, "2001:db8:1::1", leases.Entries[0].Host)
	assert.Equal(t, "held", leases.Entries[0].State)
	assert.Contains(t, p.Output(), "DYN: [assigned] ["+leases.Entries[0].Addr+"]->[2001:db8:1::1]")
	assert.Equal(t, []status.Map{
		{IPv4: "192.168.254.7/32", IPv6: "2001:db8:7::7/128"},
		{IPv4: "192.168.254.8/32", IPv6: "2001:db8:7::8/128"},
	}, b.ask(status.MapList).MapList.Entries)

	out, errs, code := b.tayga("--status=leases", "-c", b.conf)
	assert.Equal(t, 0, code)
	assert.Empty(t, errs)
	assert.Contains(t, out, "device nat64: up, MTU 1400, workers: ")
	assert.Contains(t, out, "2001:db8:1::1 ")

	// An edit that broke the file since then is no reason to be silent.
	b.configure(gatewayConf + "status-socket DIR/sock\nnonsense\n")
	_, _, code = b.tayga("--status", "-c", b.conf)
	assert.Equal(t, 0, code)
	require.NoError(t, p.Stop(patience))
	assert.NoFileExists(t, b.dir+"/sock")
}

// A device that is gone, and came back, is told.
func TestStatusOfDeletedDevice(t *testing.T) {
	b := newBench(t, gatewayConf+"status-socket DIR/sock\n")
	p := b.launch()
	b.connect()
	require.Error(t, b.ping("192.168.255.9"))
	before := b.ask(status.Summary)
	b.host.Delete("nat64")
	b.await(p, "is gone")
	r := b.ask(status.Summary)
	assert.False(t, r.Device.Present)
	assert.Equal(t, before.Packets, r.Packets)
	_, errs, code := b.tayga("--mktun", "-c", b.conf) // which holds the device for a moment
	require.Equal(t, 0, code, errs)
	b.eventually(func() bool { return b.ask(status.Summary).Device.Present }, p.Output)
	require.NoError(t, p.Stop(patience))
}

// Without a word in the file there is a socket in /run/tayga, for the daemon's
// group, if there can be one.
func TestStatusSocket(t *testing.T) {
	device := fmt.Sprintf("st%d", os.Getpid()) // what is in /run is everybody's
	conf := strings.Replace(gatewayConf, "nat64", device, 1)
	path := status.DefaultPath(device)
	t.Cleanup(func() { os.Remove(path) })
	b := newBench(t, conf)
	b.openDir()
	require.NoError(t, os.Chmod(b.dir, 0o777))
	b.configure(conf)

	p := b.launch("-u", "nobody", "-g", "nogroup")
	fi, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.ModeSocket|0o660, fi.Mode())
	assert.EqualValues(t, 65534, fi.Sys().(*syscall.Stat_t).Gid)
	as := func(gid uint32) (out string, err error) {
		cmd := b.host.Command(b.self, "--status", "-c", b.conf)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 12345, Gid: gid}
		text, err := cmd.CombinedOutput()
		return string(text), err
	}
	if reachable(b.self) {
		out, err := as(65534)
		assert.NoError(t, err, out)
		assert.Contains(t, out, "device "+device)
		out, err = as(12345)
		assert.Error(t, err)
		assert.Equal(t, "tayga: status: "+path+": permission denied: it is for root and the group that tayga runs as\n", out)
	}

	// In another network namespace the name of the device is free, the path is not.
	other := newBench(t, conf)
	second := other.launch()
	out, errs, code := other.tayga("--status", "-c", b.conf)
	assert.Equal(t, 0, code)
	assert.Contains(t, out, fmt.Sprintf("process %d,", p.Pid()))
	assert.Equal(t, "tayga: the daemon that listens on "+path+" runs in another network namespace\n", errs)
	// Who looked at stdout alone took the figures for those of the second daemon.
	note := "the daemon that listens on " + path + " runs in another network namespace"
	assert.True(t, strings.HasPrefix(out, "note: "+note+"\n"), out)
	out, _, code = other.tayga("--status", "--json", "-c", b.conf)
	assert.Equal(t, 0, code)
	var r status.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	assert.Equal(t, note, r.Note)
	assert.Empty(t, b.ask(status.Summary).Note, "in its own")
	assert.NotContains(t, second.Output(), "status")
	require.NoError(t, second.Stop(patience))
	require.NoError(t, p.Stop(patience))

	// The user nobody may not remove the file; the next daemon replaces it.
	_, errs, code = b.tayga("--status", "-c", b.conf)
	assert.Equal(t, 1, code)
	assert.Equal(t, "tayga: status: "+path+": connection refused: no tayga runs there\n", errs)
	p = b.launch()
	b.ask(status.Summary)
	require.NoError(t, p.Stop(patience))
	assert.NoFileExists(t, path)
	_, errs, _ = b.tayga("--status", "-c", b.conf)
	assert.Equal(t, "tayga: status: "+path+": no such file or directory: no tayga runs there\n", errs)

	b.configure(conf + "status-socket no\n")
	p = b.launch()
	assert.NoFileExists(t, path)
	_, errs, code = b.tayga("--status", "-c", b.conf)
	assert.Equal(t, 1, code)
	assert.Equal(t, "tayga: "+b.conf+": status-socket no: there is no socket to ask on\n", errs)
	require.NoError(t, p.Stop(patience))

	b.configure(conf + "status-socket DIR/absent/sock\n")
	out, _, code = b.tayga("-d", "-c", b.conf)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "status-socket: status: listen on "+b.dir+"/absent/sock: no such file or directory\n")
	assert.Empty(t, b.devices())
}

// reachable reports whether users other than root can run a program.
func reachable(program string) bool {
	for dir := filepath.Dir(program); dir != "/"; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err != nil || fi.Mode()&0o001 == 0 {
			return false
		}
	}
	return true
}

// The socket answers from a jail, after all privileges are gone.
func TestStatusInJail(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/data\nstatus-socket DIR/sock", 1))
	b.openDir()
	require.NoError(t, os.Mkdir(b.dir+"/data", 0o755))
	require.NoError(t, os.Chown(b.dir+"/data", 65534, 65534))
	p := b.launch("-u", "nobody", "-g", "nogroup", "-r")
	for range 3 {
		assert.Equal(t, p.Pid(), b.ask(status.Leases).PID)
	}
	require.NoError(t, p.Stop(patience))
}

// Without a word it is this namespace only if both numbers are known and the same.
func TestWhoseStatus(t *testing.T) {
	assert.Empty(t, whose("/sock", 7, 7))
	assert.Equal(t, "the daemon that listens on /sock runs in another network namespace", whose("/sock", 7, 8))
	for _, unknown := range [][2]uint64{{0, 7}, {7, 0}, {0, 0}} {
		assert.Equal(t, "it is not known whether the daemon that listens on /sock runs in this network namespace", whose("/sock", unknown[0], unknown[1]))
	}
}

func TestStatusUsage(t *testing.T) {
	b := newBench(t, "")
	_, errs, code := b.tayga("--status", "-c", b.conf)
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "tayga: "+b.conf+":1: prefix: missing")
	_, errs, code = b.tayga("--status=everything", "-c", b.conf)
	assert.Equal(t, 1, code)
	assert.Equal(t, "tayga: status: \"everything\" is none of summary, leases, maps, sessions\n", errs)
	_, errs, code = b.tayga("--json")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "tayga: --json goes with --status and --doctor only\n")
}
