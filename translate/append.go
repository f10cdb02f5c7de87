package translate

import "time"

// Append translates one packet, appends the result to dst, and returns the extended
// slice. It is for callers with one packet at a time that do not keep buffers: it copies
// the packet twice. packet starts with its IP header, is plain (its checksums are
// complete), is not changed, and must not overlap dst's free capacity.
//
// The verdict says what was appended: Forward, one packet of the other family; Reply,
// one packet for the side from which packet came; Split, several packets one after
// the other, the first of which was too large: the length in each IP header says
// where the next one starts; Drop, nothing. A packet of more than 65,575 bytes,
// which no IP header can describe, is dropped as BadHeader.
//
// Where hosts share IPv4 addresses, call Emit too: fragments that waited leave by it.
//
// It allocates when dst has to grow, and once for the worker. now is that of Translate.
func (w *Worker) Append(now time.Duration, dst, packet []byte) ([]byte, Result) {
	if w.scratch == nil {
		w.scratch = NewPackets(2, len6+maxLen)
	}
	p, piece := &w.scratch[0], w.scratch[1:]
	if !p.Set(packet) {
		p.Set(nil) // it is counted, too
	}
	res := w.Translate(now, p)
	for p.Result.Verdict == Split {
		w.Fragment(p, piece)
		dst = append(dst, piece[0].Bytes()...)
	}
	if res.Verdict == Drop {
		return dst, res
	}
	return append(dst, p.Bytes()...), res
}
