package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// `data-dir /` left every file of the machine within reach, and no line said so.
func TestWideDataDir(t *testing.T) {
	const note = " the process may read, change and remove all that lies below /: a directory of its own would be better"
	conf := strings.NewReplacer("data-dir DIR", "data-dir DIR/root", "dynamic-pool", "#").Replace(gatewayConf)
	b := newBench(t, conf).installed()
	require.NoError(t, os.Symlink("/", b.dir+"/root"))
	p := b.launch("--pidfile", b.dir+"/pid")
	want := "because of data-dir " + b.dir + "/root" + note + "\n"
	assert.Contains(t, p.Output(), "Note: "+want)
	assert.NotContains(t, p.Output(), "because of pid file")
	require.NoError(t, p.Stop(patience))

	out, _, status := b.tayga("--check", "-c", b.conf)
	assert.Equal(t, 0, status)
	assert.Contains(t, out, b.conf+": sandbox: warning: "+want)
	b.configure(conf + "sandbox no\n")
	out, _, _ = b.tayga("--check", "-c", b.conf)
	assert.NotContains(t, out, "because of")
}

// Every directory that the process may do something to is looked at.
func TestWideReaches(t *testing.T) {
	for _, test := range []struct {
		name string
		conf taygaconf.Config
		o    options
		want []string // the beginning of each
	}{
		{"own", taygaconf.Config{DataDir: t.TempDir(), MapFile: "maps", StatusSocket: t.TempDir() + "/sock"}, options{pidfile: t.TempDir() + "/pid"}, nil},
		{"none", taygaconf.Config{StatusSocket: taygaconf.NoStatusSocket}, options{}, nil},
		{"etc", taygaconf.Config{DataDir: "/var/../etc/"}, options{}, []string{"data-dir /var/../etc/ the process may read, change and remove all that lies below /etc:"}},
		{"var-lib", taygaconf.Config{DataDir: "/var/lib"}, options{}, []string{"data-dir /var/lib the process may read, change and remove all that lies below /var/lib:"}},
		{"pid", taygaconf.Config{}, options{pidfile: "/run/tayga.pid"}, []string{"pid file /run/tayga.pid the process may remove all that lies below /run:"}},
		{"socket", taygaconf.Config{StatusSocket: "/sock"}, options{}, []string{"status-socket /sock the process may remove all that lies below /:"}},
		{"jail", taygaconf.Config{StatusSocket: "/sock", DataDir: "/"}, options{pidfile: "/pid", chroot: true}, []string{"data-dir / the process may"}},
		{"maps", taygaconf.Config{MapFile: "/etc/maps"}, options{}, []string{"map-file /etc/maps the process may read all that lies below /etc:"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			list := wideReaches(&test.conf, test.o)
			require.Len(t, list, len(test.want), "%v", list)
			for i, want := range test.want {
				assert.True(t, strings.HasPrefix(list[i].String(), "because of "+want), list[i].String())
			}
		})
	}
}

// Directories that hold more than maps are pointed out.
func TestWideDirectory(t *testing.T) {
	link := t.TempDir() + "/maps"
	require.NoError(t, os.Symlink("/etc/passwd", link))
	for _, test := range []struct{ data, file, want string }{
		{"/var/lib/tayga", "/etc/nat64.map", "/etc"},
		{"/var/lib/tayga", "/etc/tayga/maps", ""},
		{"/var/lib/tayga", "maps", ""},
		{"/data", "maps", ""},
		{"/data/", "/data/maps", ""},
		{"", "maps", "/"},
		{"", "etc/../maps", "/"},
		{"", "/maps", "/"},
		{"/data", "../etc/maps", "/etc"},
		{"", link, "/etc"},
	} {
		assert.Equal(t, test.want, wideMapDir(test.data, test.file), "%+v", test)
	}
}
