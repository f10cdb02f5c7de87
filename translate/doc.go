// Package translate turns IPv4 packets into IPv6 packets and back, in place and
// without state of its own: RFC 7915, with the addresses of RFC 6052 and RFC 7757.
//
// A [Table] says which addresses stand for which, a [Translator] has a table and a
// [Config], and each goroutine a [Worker], whose loop is
//
//	for {
//		n := read(ps) // with Headroom and Tailroom around each packet
//		w.TranslateBatch(time.Since(start), ps[:n])
//		for i := range ps[:n] {
//			p := &ps[i]
//			for p.Result.Verdict == translate.Split {
//				send(more[:w.Fragment(p, more)])
//			}
//			if p.Result.Verdict != translate.Drop {
//				send(p)
//			}
//		}
//	}
//
// What is left to the caller:
//
//   - Buffers are the caller's, before and after; [Packet.Bytes] is what to send.
//   - The time, by any monotonic clock: if it stands still, the worker originates few
//     ICMP errors.
//   - A translated packet may still be a super-packet, and its checksum partial, if
//     it came so: see [Packet.Offload].
//   - Transport checksums are not verified: what was wrong stays wrong. ICMP errors,
//     which are written anew, are the exception.
//   - Addresses that nobody has: a prefix gives every IPv4 address outside the pools
//     an IPv6 one. Where both are routed to the translator, packets to them go round
//     in it until their hop limit ends, unless a route or a filter ends it.
package translate
