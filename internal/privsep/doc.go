// Package privsep keeps privilege out of the process that reads packets. A second process
// of the same program, the helper, has CAP_NET_ADMIN. It attaches to the TUN device and
// sets up what tayga.conf asks for, on request, and does nothing else. It also attaches the
// program of the fast path, whose descriptor it was started with; without anything else to do
// it has no capability. pf and OpenSSH are built like that.
//
//	config.go         what the helper may do, sent once at its start
//	message.go        requests and replies
//	spawn_linux.go    how the helper is started
//	client_linux.go   the daemon's side, which checks every reply
//	server_linux.go   the helper's side, which checks every request
//
// Both are connected by a pair of sockets that keep the boundaries of messages (unix(7),
// SOCK_SEQPACKET). Descriptors of queues come with the reply (SCM_RIGHTS). The helper ends
// when the other end is closed, and with that when the daemon ends, however it does.
package privsep
