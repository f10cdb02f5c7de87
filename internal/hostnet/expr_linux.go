package hostnet

import (
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// rule returns the rule for a chain.
func (r nftRule) rule(c *nftables.Chain, iptables bool) *nftables.Rule {
	rule := &nftables.Rule{Table: c.Table, Chain: c, Exprs: r.exprs(c.Table.Family, iptables)}
	if !iptables {
		rule.UserData = withComment(r.comment)
	}
	return rule
}

// exprs returns the expressions of a rule for a chain: as nft(8) makes them or, for a chain of
// iptables-nft, as iptables does. That gives a table up in which it finds others.
func (r nftRule) exprs(family nftables.TableFamily, iptables bool) (list []expr.Any) {
	add := func(e ...expr.Any) { list = append(list, e...) }
	device := func(key expr.MetaKey, name string) {
		if name == "" {
			return
		}
		size := unix.IFNAMSIZ
		if iptables {
			size = len(name) + 1
		}
		data := make([]byte, size)
		copy(data, name)
		add(&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data})
	}
	device(expr.MetaKeyIIFNAME, r.in)
	device(expr.MetaKeyOIFNAME, r.out)
	version := r.version
	for _, p := range []netip.Prefix{r.src, r.dst} {
		if some(p) && p.Addr().Is4() {
			version = 4
		} else if some(p) {
			version = 6
		}
	}
	if version != 0 && family == nftables.TableFamilyINet {
		proto := byte(unix.NFPROTO_IPV4)
		if version == 6 {
			proto = unix.NFPROTO_IPV6
		}
		add(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}})
	}
	add(prefixExprs(r.src, 12, 8, iptables)...)
	add(prefixExprs(r.dst, 16, 24, iptables)...)
	if r.answers {
		add(stateExprs(family, iptables)...)
	}
	if iptables {
		text := xt.Comment(r.comment)
		add(&expr.Match{Name: "comment", Info: &text}, &expr.Counter{})
	}
	switch r.do {
	case actionAccept:
		add(&expr.Verdict{Kind: expr.VerdictAccept})
	case actionDrop:
		add(&expr.Verdict{Kind: expr.VerdictDrop})
	case actionMasquerade:
		add(&expr.Masq{})
	case actionSNAT:
		f := uint32(unix.NFPROTO_IPV4)
		if r.to.Is6() {
			f = unix.NFPROTO_IPV6
		}
		add(&expr.Immediate{Register: 1, Data: r.to.AsSlice()},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: f, RegAddrMin: 1})
	}
	return list
}

// prefixExprs compares an address of the IP header, at one of two offsets, with a prefix.
func prefixExprs(p netip.Prefix, offset4, offset6 uint32, iptables bool) []expr.Any {
	if !some(p) {
		return nil
	}
	offset := offset4
	if p.Addr().Is6() {
		offset = offset6
	}
	data := p.Addr().AsSlice()
	size := len(data)
	whole := p.Bits()%8 == 0 && (!iptables || p.IsSingleIP())
	if whole {
		size = p.Bits() / 8
	}
	list := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(size)}}
	if !whole {
		list = append(list, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(size),
			Mask: net.CIDRMask(p.Bits(), 8*len(data)), Xor: make([]byte, size)})
	}
	return append(list, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data[:size]})
}

// stateExprs matches packets of known connections, and related ones.
func stateExprs(family nftables.TableFamily, iptables bool) []expr.Any {
	const known = 2 | 4 // of NF_CT_STATE_BIT: established, related
	if !iptables {
		return []expr.Any{
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(known), Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		}
	}
	size := net.IPv4len
	if family == nftables.TableFamilyIPv6 {
		size = net.IPv6len
	}
	none := make(net.IP, size)
	base := xt.ConntrackMtinfoBase{
		OrigSrcAddr: none, OrigSrcMask: net.IPMask(none), OrigDstAddr: none, OrigDstMask: net.IPMask(none),
		ReplSrcAddr: none, ReplSrcMask: net.IPMask(none), ReplDstAddr: none, ReplDstMask: net.IPMask(none),
		MatchFlags: uint16(xt.ConntrackState),
	}
	return []expr.Any{&expr.Match{Name: "conntrack", Rev: 3, Info: &xt.ConntrackMtinfo3{
		ConntrackMtinfo2: xt.ConntrackMtinfo2{ConntrackMtinfoBase: base, StateMask: known},
	}}}
}

// commentType is that of a comment in the data that nft(8) and iptables-nft keep for a rule:
// types and lengths, of a byte each.
const commentType = 0

// withComment returns that data.
func withComment(text string) []byte {
	return append([]byte{commentType, byte(len(text) + 1)}, append([]byte(text), 0)...)
}

// comment returns the comment of a rule, which any program may have written.
func comment(r *nftables.Rule) string {
	for _, e := range r.Exprs {
		if m, ok := e.(*expr.Match); ok {
			if c, ok := m.Info.(*xt.Comment); ok {
				return string(*c)
			}
		}
	}
	for data := r.UserData; len(data) >= 2; {
		size := int(data[1])
		if len(data) < 2+size {
			break
		}
		if data[0] == commentType && size > 0 {
			return string(data[2 : 2+size-1])
		}
		data = data[2+size:]
	}
	return ""
}
