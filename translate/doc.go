// Package translate translates IPv4 packets to IPv6 and back, in place and without
// state of its own: RFC 7915, with the addresses of RFC 6052 and RFC 7757.
//
// A [Table] maps addresses between the families. A [Translator] has a table and a
// [Config]. Each goroutine has a [Worker], whose loop is
//
//	for next := translate.Never; ; {
//		n := read(ps, next) // waits until next at most; Headroom and Tailroom around each packet
//		now := time.Since(start)
//		w.TranslateBatch(now, ps[:n])
//		finish(ps[:n])
//		n, next = w.Emit(now, ps) // packets that are not the translation of one in ps
//		finish(ps[:n])
//	}
//
// where finish does for each packet p
//
//	for p.Result.Verdict == translate.Split {
//		send(more[:w.Fragment(p, more)])
//	}
//	if p.Result.Verdict != translate.Drop {
//		send(p)
//	}
//
// For callers:
//
//   - The caller owns the buffers, before and after a call. [Packet.Bytes] is the packet
//     to send.
//   - The time is that of any monotonic clock. If it does not advance, the worker
//     originates few ICMP errors.
//   - A packet that was a super-packet or had a partial checksum may still be one, or
//     have one, after translation: see [Packet.Offload].
//   - Transport checksums are not verified: a wrong one stays wrong. The checksums of ICMP
//     errors are the exception.
//   - A prefix maps every IPv4 address outside the pools to an IPv6 address, whether or
//     not a host has it. A packet to an unused address may be routed to the translator
//     again. Set CheckLoops of [PrefixRule] for a prefix from which no host is numbered,
//     such as 64:ff9b::/96: the packet is then answered. Otherwise it loops until its hop
//     limit runs out, unless a route or a filter prevents it.
package translate
