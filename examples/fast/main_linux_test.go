package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// asFast makes the test binary behave as the program.
const asFast = "STEPPE_TEST_AS_FAST"

func TestMain(m *testing.M) {
	if os.Getenv(asFast) != "" {
		main()
		return
	}
	os.Setenv(asFast, "1") // for the processes that tests start
	os.Exit(m.Run())
}

// TestFast: TCP passes, super-packets and all, and hardly a packet of it comes to the program:
// it stands still while the transfer goes on.
func TestFast(t *testing.T) {
	lab := netlab.New(t)
	client, gateway, server := lab.Host("client"), lab.Host("gateway"), lab.Host("server")
	lab.Link(client, "eth0", gateway, "lan0", 1500)
	lab.Link(gateway, "wan0", server, "eth0", 1500)
	gateway.Forwarding()
	client.Addr("eth0", "2001:db8:a::2/64")
	gateway.Addr("lan0", "2001:db8:a::1/64")
	gateway.Addr("wan0", "203.0.113.1/24")
	server.Addr("eth0", "203.0.113.2/24")
	client.DefaultRoute("2001:db8:a::1", "")
	server.DefaultRoute("203.0.113.1", "")
	self, err := os.Executable()
	require.NoError(t, err)
	p, err := gateway.Launch(self, "198.51.100.2", "2001:db8:a::2")
	require.NoError(t, err)
	for end := time.Now().Add(30 * time.Second); !strings.Contains(p.Output(), "ready"); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(end), p.Output())
	}
	require.NotContains(t, p.Output(), "without the kernel's help")
	gateway.Route("2001:db8:64::/96", "", "fast0")
	gateway.Route("198.51.100.0/24", "", "fast0")
	const size = 8 << 20
	s, err := server.ServeTransfers(":7000")
	require.NoError(t, err)
	defer s.Close()
	for range 2 {
		_, err = client.Download("[2001:db8:64::cb00:7102]:7000", size, 30*time.Second)
		require.NoError(t, err)
		_, err = client.Upload("[2001:db8:64::cb00:7102]:7000", size, 30*time.Second)
		require.NoError(t, err)
	}
	// What the device itself has seen is what came to the program.
	c, err := gateway.Counters("fast0")
	require.NoError(t, err)
	require.Less(t, c.Sent, uint64(100))
	require.Error(t, p.Kill())
}
