package qdisc_test

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/qdisc"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestBypassed: what is set up counts, and what the kernel does by itself does not.
func TestBypassed(t *testing.T) {
	lab := netlab.New(t)
	a, b := lab.Host("a"), lab.Host("b")
	lab.Link(a, "eth0", b, "eth0", 1500)
	tc := func(args string) {
		t.Helper()
		out, err := a.Command("tc", strings.Fields(args)...).CombinedOutput()
		require.NoError(t, err, "tc %s: %s", args, out)
	}
	filter := func(side string) {
		t.Helper()
		out, err := a.Command("tc", "filter", "add", "dev", "eth0", side, "bpf", "bytecode", "1,6 0 0 0,").CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	bypassed := func() (kind string) {
		t.Helper()
		require.NoError(t, a.Do(func() error {
			dev, err := net.InterfaceByName("eth0")
			if err == nil {
				kind, err = qdisc.Bypassed(dev.Index)
			}
			return err
		}))
		return kind
	}
	require.Empty(t, bypassed())
	tc("qdisc add dev eth0 clsact")
	require.Empty(t, bypassed(), "clsact without filters")
	filter("ingress")
	require.Empty(t, bypassed(), "filters at ingress")
	filter("egress")
	require.Equal(t, "clsact", bypassed())
	tc("qdisc del dev eth0 clsact")
	require.Empty(t, bypassed())
	for _, kind := range []string{"pfifo limit 100", "tbf rate 1mbit burst 10kb latency 50ms", "pfifo_head_drop limit 10"} {
		tc("qdisc replace dev eth0 root " + kind)
		require.Equal(t, strings.Fields(kind)[0], bypassed())
	}
	tc("qdisc replace dev eth0 root noqueue")
	require.Empty(t, bypassed(), "noqueue")
	require.NoError(t, a.Do(func() error {
		_, err := qdisc.Bypassed(1 << 20)
		require.Error(t, err)
		return nil
	}))
}
