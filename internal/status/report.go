// Package status serves the status of a running daemon: one Report, requested over a unix
// socket and printed as a table or as JSON.
//
//	report.go  the report
//	shared.go  its part about hosts that share addresses, also as a table
//	fastpath.go the part of the fast path, as a table
//	clat.go    the part of a CLAT, also as a table
//	query.go   which sessions are listed, and pages of them
//	wire.go    requests and answers on the socket
//	socket.go  the file of the socket
//	server.go  the daemon's side, which trusts no client
//	client.go  the client's side, which trusts no answer
//	table.go   the report as a table
//
// It serves every client that may open the socket, and never blocks the daemon. The daemon
// fills in the values.
package status

import "time"

// A Report is what a daemon tells. Its JSON form is what tayga --status --json
// prints: fields are added to it, and keep their names and meanings.
type Report struct {
	// Note says what has to be known about all the rest: that it is not about the
	// network namespace of the client. A client fills it in.
	Note string `json:"note,omitempty"`

	Version string `json:"version"`
	PID     int    `json:"pid"`
	Netns   uint64 `json:"netns,omitempty"` // inode of the network namespace, 0 if not known
	Config  string `json:"config"`          // name of the configuration file
	// ConfigModified is when the configuration file had last been changed as it
	// was read.
	ConfigModified time.Time `json:"config_modified"`
	Started        time.Time `json:"started"`
	Uptime         uint64    `json:"uptime_seconds"`

	Device Device `json:"device"`
	// MSSClamp is what the MSS of TCP connections is lowered to, in bytes; 0: it is not.
	MSSClamp int     `json:"tcp_mss_clamp,omitempty"`
	Helper   *Helper `json:"helper,omitempty"` // nil if it needs no helper
	// Packets are those that occurred, by direction, verdict and reason. Those that the fast
	// path has translated are among them.
	Packets []Count `json:"packets"`
	// CLAT is nil if the daemon translates for other machines alone.
	CLAT *CLAT `json:"clat,omitempty"`
	// FastPath is the part of the kernel, nil if the daemon does not know of one.
	FastPath *FastPath `json:"fast_path,omitempty"`
	// ErrorsHeldBack counts ICMP errors that the rate limit kept from being sent.
	ErrorsHeldBack uint64 `json:"icmp_errors_held_back"`
	// MTUErrorsHeldBack counts those among them that would have told an MTU.
	MTUErrorsHeldBack uint64  `json:"icmp_mtu_errors_held_back"`
	Pool              *Pool   `json:"dynamic_pool"`            // nil without a dynamic pool
	Shared            *Shared `json:"stateful_pool,omitempty"` // nil without a stateful pool
	Maps              Maps    `json:"maps"`
	Reloads           Reloads `json:"reloads"`

	// One of these lists is there if it was asked for.
	LeaseList *List[Lease] `json:"lease_list,omitempty"`
	MapList   *List[Map]   `json:"map_list,omitempty"`
	// SessionList is a page of an answer, and all pages in what --status=sessions prints.
	SessionList *SessionList `json:"session_list,omitempty"`
}

// A Device is the TUN device as the daemon has last seen it.
type Device struct {
	Name     string   `json:"name"`
	Present  bool     `json:"present"` // or else deleted, and waited for
	Up       bool     `json:"up"`
	MTU      int      `json:"mtu"`
	Workers  int      `json:"workers"`  // one for each queue
	Offloads []string `json:"offloads"` // checksum, tso, uso
	// Refused counts the packets that the kernel did not take from each queue.
	Refused []uint64 `json:"refused_by_kernel"`
	// Foreign is how many queues other programs have open.
	Foreign   int  `json:"foreign_queues"`
	Ownerless bool `json:"ownerless"` // any local user may attach
	// Repaired counts how often other programs have changed settings of the device
	// that are ours, since it was attached to.
	Repaired int `json:"settings_repaired"`
}

// A Helper is the process that attaches to the device and sets it up, for a daemon
// without the capability.
type Helper struct {
	PID   int  `json:"pid"`
	Alive bool `json:"alive"` // or else the daemon has to be restarted before the device is deleted
}

// A Count counts packets and their bytes as they came in, IP headers included.
type Count struct {
	Direction string `json:"direction"` // 4to6, 6to4, none
	Verdict   string `json:"verdict"`   // forward, reply, split, drop
	Reason    string `json:"reason"`
	Packets   uint64 `json:"packets"`
	Bytes     uint64 `json:"octets"`
}

// A FastPath says what of Packets the program in the kernel has translated.
type FastPath struct {
	On  bool   `json:"on"`
	Off string `json:"off,omitempty"` // why it is not on, in one line
	// Kernel and Daemon are what each has translated, as plain packets, together all that
	// Packets has of it.
	Kernel Share `json:"kernel"`
	Daemon Share `json:"daemon"`
	// Counts are packets at the program, by what became of them.
	Counts []FastCount `json:"counts"`
}

// A Share is a part of what was translated. A super-packet is one packet.
type Share struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"octets"`
}

// A FastCount counts packets at the program, by the reason for which it translated them, or
// left them to the daemon.
type FastCount struct {
	Direction  string `json:"direction"` // 4to6, 6to4, none
	Reason     string `json:"reason"`
	Translated bool   `json:"translated"` // or else left to the daemon, unless Lost
	Packets    uint64 `json:"packets"`
	Segments   uint64 `json:"segments"` // a super-packet counts as many as it has on the wire
	Bytes      uint64 `json:"octets"`
}

// A Pool holds the figures of the dynamic pool.
type Pool struct {
	Size    int    `json:"addresses"` // that can be leased
	Held    int    `json:"held"`
	Dormant int    `json:"dormant"`
	Refused uint64 `json:"refused"` // requests for an address
}

// Maps holds the number of explicit maps, or of static bindings, by where they are written.
type Maps struct {
	Config  int `json:"config"`
	MapFile int `json:"map_file"`
}

// Reloads counts how often SIGHUP was handled, and how often that failed.
type Reloads struct {
	OK     uint64 `json:"ok"`
	Failed uint64 `json:"failed"`
}

// MaxList is how many entries a List has at most.
const MaxList = 10_000

// A List holds the first entries of something that may be long.
type List[T any] struct {
	Entries []T `json:"entries"`
	LeftOut int `json:"left_out"` // how many there are beyond
}

// Add appends what entry makes while there is room. Beyond that it only counts:
// there may be a million more, and each is put into words by entry.
func (l *List[T]) Add(entry func() T) {
	if len(l.Entries) == MaxList {
		l.LeftOut++
		return
	}
	l.Entries = append(l.Entries, entry())
}

// A Lease is an address of the dynamic pool and the host that has it.
type Lease struct {
	Addr  string    `json:"ipv4"`
	Host  string    `json:"ipv6"`
	State string    `json:"state"` // held or dormant
	Used  time.Time `json:"used"`  // last packet, to the second
}

// A Map is an explicit address mapping.
type Map struct {
	IPv4 string `json:"ipv4"`
	IPv6 string `json:"ipv6"`
}
