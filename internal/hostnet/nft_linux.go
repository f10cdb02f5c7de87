package hostnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	nlsock "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nft is a connection to nftables. It stays open: a sandbox may not allow another.
type nft struct {
	conn *nftables.Conn
	sock *nlsock.Conn // of conn
}

// nftTimeout is how long the kernel may take for an answer. Where it sends fewer answers than
// the library waits for, the connection is of use again after that.
const nftTimeout = 5 * time.Second

// mostTries is how often something is done again because rules have changed meanwhile.
const mostTries = 20

func openNFT() (*nft, error) {
	n := &nft{}
	var err error
	n.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *nlsock.Conn) error {
		n.sock = c
		return nil
	}))
	if err != nil {
		return nil, fmt.Errorf("nftables: %w: %w", errNoNFT, err)
	}
	return n, nil
}

// errNoNFT is wrapped by the errors of a kernel without nftables.
var errNoNFT = errors.New("the kernel lacks it")

// ignoreNone has nothing to undo where nothing can have been made.
func ignoreNone(err error) error {
	if errors.Is(err, errNoNFT) {
		return nil
	}
	return err
}

// tables returns the connection, or why there is none.
func (h *host) tables() (*nft, error) {
	if h.nftErr != nil {
		return nil, h.nftErr
	}
	return h.nft, nil
}

// do runs a request of the library. What the kernel has sent and the library not read is
// thrown away, or it would be taken for the answer to the next request.
func (n *nft) do(what string, f func() error) error {
	if err := n.sock.SetDeadline(time.Now().Add(nftTimeout)); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	err := f()
	if raw, rawErr := n.sock.SyscallConn(); rawErr == nil {
		raw.Control(func(fd uintptr) {
			buf := make([]byte, 1<<16)
			for {
				if _, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT); err != nil && err != unix.EINTR && err != unix.ENOBUFS {
					return
				}
			}
		})
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errors.New("no answer")
	}
	return fmt.Errorf("nftables: %s: %w", what, err)
}

// flush makes the changes that the library has collected, or none of them.
func (n *nft) flush(what string) error { return n.do(what, n.conn.Flush) }

// execute sends one message.
func (n *nft) execute(m nlsock.Message) (reply []nlsock.Message, err error) {
	err = n.do("request", func() error {
		reply, err = n.sock.Execute(m)
		return err
	})
	return reply, err
}

// generation returns the number that each change of the ruleset increases.
func (n *nft) generation() (uint32, error) {
	reply, err := n.execute(nlsock.Message{
		Header: nlsock.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: nlsock.Request},
		Data:   make([]byte, 4),
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) { // of an unknown subsystem
		return 0, fmt.Errorf("nftables: %w: %w", errNoNFT, err)
	}
	if err != nil {
		return 0, err
	}
	for _, m := range reply {
		if len(m.Data) < 4 {
			continue
		}
		attrs, err := nlsock.UnmarshalAttributes(m.Data[4:])
		if err != nil {
			return 0, err
		}
		for _, a := range attrs {
			if a.Type == unix.NFTA_GEN_ID && len(a.Data) == 4 {
				return binary.BigEndian.Uint32(a.Data), nil
			}
		}
	}
	return 0, errors.New("nftables: no generation")
}

// stable runs f again if the ruleset has changed meanwhile: what it listed is not of one
// moment then. f is told the generation.
func (n *nft) stable(f func(generation uint32) error) error {
	var err error
	for range mostTries {
		before, genErr := n.generation()
		if genErr != nil {
			return genErr
		}
		err = f(before)
		after, genErr := n.generation()
		if genErr != nil {
			return genErr
		}
		if after == before && !errors.Is(err, unix.ERESTART) {
			return err
		}
	}
	return errors.Join(errors.New("nftables: the rules change all the time"), err)
}

// deleteRules deletes rules by their handles, if the generation is still that in which they
// were listed: a table that was made anew counts its handles from the start, so a handle
// may be that of another rule by now. The library has no such condition.
func (n *nft) deleteRules(rules []*nftables.Rule, generation uint32) error {
	if len(rules) == 0 {
		return nil
	}
	id, err := nlsock.MarshalAttributes([]nlsock.Attribute{{Type: unix.NFNL_BATCH_GENID, Data: binary.BigEndian.AppendUint32(nil, generation)}})
	if err != nil {
		return err
	}
	subsystem := []byte{0, 0, 0, unix.NFNL_SUBSYS_NFTABLES} // nfgenmsg: its res_id
	batch := []nlsock.Message{{
		Header: nlsock.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: nlsock.Request},
		Data:   append(subsystem[:4:4], id...),
	}}
	for _, r := range rules {
		attrs, err := nlsock.MarshalAttributes([]nlsock.Attribute{
			{Type: unix.NFTA_RULE_TABLE, Data: []byte(r.Table.Name + "\x00")},
			{Type: unix.NFTA_RULE_CHAIN, Data: []byte(r.Chain.Name + "\x00")},
			{Type: unix.NFTA_RULE_HANDLE, Data: binary.BigEndian.AppendUint64(nil, r.Handle)},
		})
		if err != nil {
			return err
		}
		batch = append(batch, nlsock.Message{
			Header: nlsock.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELRULE, Flags: nlsock.Request | nlsock.Acknowledge},
			Data:   append([]byte{byte(r.Table.Family), 0, 0, 0}, attrs...),
		})
	}
	batch = append(batch, nlsock.Message{
		Header: nlsock.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: nlsock.Request},
		Data:   subsystem,
	})
	return n.do("delete rules", func() error {
		if _, err := n.sock.SendMessages(batch); err != nil {
			return err
		}
		for range rules {
			if _, err := n.sock.Receive(); err != nil {
				return err
			}
		}
		return nil
	})
}

// families are those of the tables that forwarded packets go through.
var families = []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyINet}

// familyName returns the name of a family.
func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	}
	return "inet"
}

// table returns a table, nil if it is not there.
func (n *nft) table(f nftables.TableFamily, name string) (found *nftables.Table, err error) {
	err = n.do("list tables", func() error {
		all, err := n.conn.ListTablesOfFamily(f)
		for _, t := range all {
			if t.Name == name && t.Family == f {
				found = t
			}
		}
		return err
	})
	return found, err
}

// chains returns all chains of a family.
func (n *nft) chains(f nftables.TableFamily) (all []*nftables.Chain, err error) {
	err = n.do("list chains", func() error {
		all, err = n.conn.ListChainsOfTableFamily(f)
		return err
	})
	return all, err
}

// rules returns the rules of a chain. Where the library cannot read one, all of the chain are
// returned without expressions: see bare.
func (n *nft) rules(c *nftables.Chain) (all []*nftables.Rule, err error) {
	err = n.do("list rules", func() error {
		all, err = n.conn.GetRules(c.Table, c)
		return err
	})
	if err == nil {
		return all, nil
	}
	return n.bareRules(c)
}

// bareRules lists the rules of a chain with as little as it takes to find ours.
func (n *nft) bareRules(c *nftables.Chain) (list []*nftables.Rule, err error) {
	attrs, err := nlsock.MarshalAttributes([]nlsock.Attribute{
		{Type: unix.NFTA_RULE_TABLE, Data: []byte(c.Table.Name + "\x00")},
		{Type: unix.NFTA_RULE_CHAIN, Data: []byte(c.Name + "\x00")},
	})
	if err != nil {
		return nil, err
	}
	reply, err := n.execute(nlsock.Message{
		Header: nlsock.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, Flags: nlsock.Request | nlsock.Dump},
		Data:   append([]byte{byte(c.Table.Family), 0, 0, 0}, attrs...),
	})
	if err != nil {
		return nil, err
	}
	for _, m := range reply {
		r, err := bare(c, m.Data)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// bare reads a rule without its expressions. A comment of iptables, which is one of them, is
// found by how our comments begin; of other rules it is said that they may drop.
func bare(c *nftables.Chain, message []byte) (*nftables.Rule, error) {
	if len(message) < 4 {
		return nil, errors.New("nftables: short message")
	}
	attrs, err := nlsock.UnmarshalAttributes(message[4:])
	if err != nil {
		return nil, err
	}
	r := &nftables.Rule{Table: c.Table, Chain: c}
	for _, a := range attrs {
		switch {
		case a.Type == unix.NFTA_RULE_HANDLE && len(a.Data) == 8:
			r.Handle = binary.BigEndian.Uint64(a.Data)
		case a.Type == unix.NFTA_RULE_USERDATA:
			r.UserData = a.Data
		case a.Type&^unix.NLA_F_NESTED == unix.NFTA_RULE_EXPRESSIONS:
			if i := bytes.Index(a.Data, []byte(tagPrefix)); i >= 0 {
				text, _, _ := bytes.Cut(a.Data[i:], []byte{0})
				comment := xt.Comment(text)
				r.Exprs = append(r.Exprs, &expr.Match{Name: "comment", Info: &comment})
			}
		}
	}
	if comment(r) == "" {
		r.Exprs = []expr.Any{&expr.Reject{}}
	}
	return r, nil
}
