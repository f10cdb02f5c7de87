// Package fastpath translates plain packets in the kernel: a tc program at the egress of a TUN
// device does what package translate would do, byte for byte, and hands the packet back to
// the kernel as if it had been read from the device. All it is not sure of goes on to the
// device unchanged, where a translate.Worker translates, answers or drops it.
//
//	             ┌─ tcx egress of the TUN device ─┐
//	route ──────►│ plain, and host or session     ├── redirect ──► received from the device
//	             │ known to the Cache             │
//	             └──────────────┬─────────────────┘
//	                            ▼ all others, unchanged
//	                    device ─► translate.Worker ─► device
//
// The program (bpf/fastpath.c) knows rules, hosts and sessions, by maps that are a cache: a
// host or session that is not there goes to the translator, which knows, and tells the Cache
// ([Cache.Learn]). [Rules] have the prefixes, the MTUs, and which IPv4 addresses are those of
// peers. Each entry has the generation of the rules that it was made by: new rules make all
// entries void with one store.
//
// A table with one map of a host may be that of a CLAT, whose host is on the IPv4 side and its
// peers inside the first prefix on the other: the map is among the rules. Hosts with one of
// several maps are known on the IPv6 side alone.
//
// It translates TCP, UDP with a checksum, ICMP Echo, and protocols whose checksum does not
// cover addresses (ESP, GRE, SCTP), from a host and to it. Super-packets stay whole if TCP or
// UDP is their outermost and only transport. Left to the translator are fragments, options,
// extension headers, ICMP errors, hop limits that run out, sizes that have to be cut or
// answered, own addresses, hairpins, destinations with a map, unfinished checksums inside a
// tunnel, SYNs, and FINs and RSTs of sessions.
//
// [Prove] compares the program with a translator on the kernel that is running. An IPv4
// packet without DF gets an identification of a counter, as in translate: of the translator's own
// counters, if they are in [Cache.IdentMemory] and the rules have its secrets. RFC 6864 §4.3.
//
// To load and attach takes CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and Linux 6.6. A [Cache]
// takes nothing but the descriptors of its maps. On other systems than Linux all is
// [errors.ErrUnsupported].
package fastpath
