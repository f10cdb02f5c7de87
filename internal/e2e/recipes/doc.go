// Package recipes follows the pages of docs/deploy in the laboratory, as a reader
// would: on freshly installed Debian machines, by the commands and files of the
// page, letter for letter. So a page can't drift from what works.
//
//	r := recipes.Open(t, "docs/deploy/gateway.md", "nginx")
//	gw, guest, www := r.Machine("gateway"), r.Machine("guest"), r.Machine("www")
//	r.Link(gw.Host, "eth1", guest.Host, "eth0", 1500)
//	…                            // addresses and routes that the page takes for granted
//	r.Boot()
//	www.Sh("apt-get install -y nginx")
//	gw.Copy(recipes.Root+"/bin/tayga", "/root/tayga")
//	r.Follow("Install")          // all blocks below this heading of the page
//	r.Follow("The translator")
//	…                            // what the test wants to see beyond the page's own checks
//
// Tests begin with TestRecipe, one for each page, and run by make recipes.
//
// # What a page looks like to a test
//
// A fenced block is run, written, or compared if its info string has a second
// word. Everything else is for readers only.
//
//	```sh gateway                     commands, run by root on the machine "gateway"
//	```conf gateway:/etc/tayga.conf   the whole content of a file on "gateway"
//	```text output                    what the commands just before it have printed
//
// Since the info string is invisible to a reader, the text says the same:
// between the heading and a block, or the block before and a block, the name of
// the machine occurs as a word, unless it is the machine of the block before in
// the same section; and the path of a file occurs in backquotes. Open fails where
// it doesn't.
//
// Each sh block is one run of bash -e, with a home of /root and nothing else left
// over from the block before; Debian is configured to ask no questions.
// Each line of a text block has to be found in the output, in this order; … in it
// stands for anything. Nothing is replaced in a block: pages name the addresses of
// the laboratory, which are those set aside for documentation.
//
// A name may stand for several machines: after r.Cast("guest", g1, g2, g3) the
// blocks of "guest" are followed on each. All runnable blocks of a page have to
// be followed until the end of the test; what was forgotten is an error.
//
// # What a machine is
//
// A [Machine] is a netlab.Host that runs Debian 13 on its own systemd: an overlay
// over one image, in namespaces for processes, mounts, names and control groups.
// Packages are installed by apt-get, units start by systemctl, a file goes to
// the path that the page names, and [Machine.Reboot] shows what lasts. The
// machine outside sees none of it. Three things are different from a machine of
// its own:
//
//   - The network is up before systemd is, set up by the test: links, addresses,
//     and the default route. Duplicate addresses are not looked for.
//   - Kernel modules, clock and parameters outside net.* belong to the machine
//     outside and can't be changed.
//   - apt-get has no network. What the apt-get install lines of the page ask for,
//     and what is given to Open, was downloaded before.
//
// The image is made by mmdebstrap on first use, of what Debian calls important
// packages, with network and about a minute of time. It is kept, with what was
// downloaded, in steppe-recipes below os.UserCacheDir, or in the directory that
// STEPPE_RECIPES_CACHE names. To start afresh, delete it.
//
// # What it needs
//
// What package netlab needs, and cgroup2, mmdebstrap, nsenter, unshare and
// setpriv. The tests run with STEPPE_RECIPES=1 only, which make recipes sets. If
// something is missing then, they fail.
package recipes
