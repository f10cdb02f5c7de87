package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

// A device is what the daemon needs of a TUN device: *tun.Device, or a test's.
type device interface {
	Name() string
	Features() tun.Features
	Link() (tun.Link, error)
	Watch(func(tun.Link)) error
	Probe() error
	Stop()
	Close() error
}

// A queue is what a worker needs of it: *tun.Queue, or a test's.
type queue interface {
	Read(ps []translate.Packet) (int, error)
	ReadTimeout(ps []translate.Packet, timeout time.Duration) (int, error)
	Write(ps []translate.Packet) (int, error)
	Failed() uint64
}

// A linkChanger changes the link of the device, which takes privilege: a kernelLink, or
// the helper.
type linkChanger interface {
	Up() error
	AddIP(netip.Prefix) error
	AddRoute(netip.Prefix) error
}

// lowestMTU is the least that an IPv6 link carries: RFC 8200 §5.
const lowestMTU = 1280

// openDevice attaches to the device, or makes it for own. It returns the state of
// its link, which has an MTU that IPv6 can live with.
func openDevice(c *taygaconf.Config, own tun.Owner) (device, []queue, tun.Link, error) {
	tc := tunConfig(c)
	tc.Owner = &own
	return readied(tun.Open(tc))
}

// attachBy is openDevice with another process that attaches.
func attachBy(c *taygaconf.Config, attach func() (tun.Attached, error)) (device, []queue, tun.Link, error) {
	return readied(tun.OpenAttached(tunConfig(c), attach))
}

// readied is the end of openDevice.
func readied(d *tun.Device, err error) (device, []queue, tun.Link, error) {
	if err != nil {
		return nil, nil, tun.Link{}, err
	}
	link, err := d.Link()
	if err == nil && link.MTU < lowestMTU {
		err = fmt.Errorf("tun device %s has an MTU of %d, less than the %d that IPv6 needs: ip link set %s mtu 1500",
			d.Name(), link.MTU, lowestMTU, d.Name())
	}
	if err != nil {
		d.Close()
		return nil, nil, tun.Link{}, err
	}
	var queues []queue
	for _, q := range d.Queues() {
		queues = append(queues, q)
	}
	return d, queues, link, nil
}

// tunConfig returns what the configuration asks of the device.
func tunConfig(c *taygaconf.Config) tun.Config {
	return tun.Config{
		Name: c.TunDevice, Queues: workers(c),
		Plain: !c.Offload.Checksum, NoTSO: !c.Offload.TSO, NoUSO: !c.Offload.USO,
	}
}

// tryOffloads finds out whether the kernel does what it has granted, and says so
// if that is less than the configuration wants. What does not work is not wanted
// any more: a device that comes back comes back to the same kernel, and to a
// process that may no longer make the socket to try it with.
func tryOffloads(c *taygaconf.Config, d device, log *logger) {
	granted, want := d.Features(), tun.Features(c.Offload)
	err := d.Probe()
	if got := d.Features(); got != granted {
		log.warningf("%v: going on without it", err)
		c.Offload = taygaconf.Offload(got)
	} else if err != nil {
		log.debugf("%v", err)
	}
	if granted != want {
		log.noticef("Note: offloads wanted: %s; granted by the kernel: %s", want, granted)
	}
}

// deviceExists reports whether there is an interface of that name.
func deviceExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// ownerless says what is wrong with a device that any local user may attach to, in
// words of the manual page.
func ownerless(name string) string {
	return fmt.Sprintf("tun device %s has several queues and no owner: any local user may read its packets and send others, see DEVICE in tayga(8)", name)
}

// reportOwner logs which other users may attach to the device, if any.
func (d *daemon) reportOwner() {
	d.foreign.owner = d.link.Owner
	if d.link.Ownerless {
		d.log.warningf("%s", ownerless(d.dev.Name()))
	}
	if text := foreignOwner(d.dev.Name(), d.link.Owner, d.owner); text != "" {
		d.log.warningf("%s", text)
	}
}

// foreignOwner says that a device with several queues belongs to a user other than
// root and the daemon's, empty if it does not. On an ownerless device, a program that
// was attached may have made its user the owner.
func foreignOwner(name string, is, own tun.Owner) string {
	if is.UID <= 0 || is.UID == own.UID {
		return ""
	}
	return fmt.Sprintf("tun device %s belongs to user %d, who may read its packets and send others, see DEVICE in tayga(8)", name, is.UID)
}

// explainBusy logs who may have the device, if any local user may: that takes no
// privilege, and keeps the daemon from its device.
func (d *daemon) explainBusy(err error) {
	if warning := checkOwner(d.conf); errors.Is(err, tun.ErrBusy) && warning != "" {
		d.log.warningf("%s", warning)
	}
}

// checkOwner returns that about a device that exists, empty if there is nothing
// wrong with it. Whom other devices should belong to, only the daemon knows.
func checkOwner(c *taygaconf.Config) string {
	if i, err := tun.Inspect(c.TunDevice); err != nil || !i.Ownerless() {
		return ""
	}
	return ownerless(c.TunDevice)
}

// makeDevice makes the device persistent, for root alone, as TAYGA does.
func makeDevice(c *taygaconf.Config) error {
	return tun.Persist(c.TunDevice, tun.Owner{UID: 0, GID: 0})
}

// removeDevice makes the device disappear when no program has it open.
func removeDevice(c *taygaconf.Config) error {
	return tun.Unpersist(c.TunDevice)
}
