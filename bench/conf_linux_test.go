package bench

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestConfText: benchmarks left sockets in /run/tayga, and kept a daemon of the
// machine itself from having its own there.
func TestConfText(t *testing.T) {
	conf := []string{"ipv4-addr 192.0.2.1"}
	assert.Equal(t, "tun-device nat64-0\nipv4-addr 192.0.2.1\nstatus-socket no\n", confText("nat64-0", "/tmp/tayga", conf))
	assert.NotContains(t, confText("nat64-0", *peerBinary, conf), "status-socket", "Debian's knows no such directive")
	own := append(conf, "status-socket /tmp/sock")
	assert.NotContains(t, confText("nat64-0", "/tmp/tayga", own), "status-socket no")
}
