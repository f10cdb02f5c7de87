// Package dnstest is a DNS server for tests, which answers as a test says: as DNS64 does,
// and as a server that lies.
package dnstest

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// A Server answers queries. Its methods may be called from several goroutines at once.
type Server struct {
	// Answer returns the messages to send for a query, given that of Reply. network is
	// "udp" or "tcp"; by TCP only the first message is sent.
	Answer func(network string, query, reply dnsmessage.Message) [][]byte

	mu      sync.Mutex
	queries []Query
}

// A Query is one that a server has received.
type Query struct {
	Network string
	Message dnsmessage.Message
}

// Queries returns the queries so far.
func (s *Server) Queries() []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Query(nil), s.queries...)
}

// Reply returns a reply to a query that has no record yet.
func Reply(query dnsmessage.Message) dnsmessage.Message {
	return dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionDesired: query.RecursionDesired, RecursionAvailable: true},
		Questions: query.Questions,
	}
}

// AAAA returns records of the name that a message asks for.
func AAAA(m dnsmessage.Message, ttl uint32, addrs ...string) []dnsmessage.Resource {
	var all []dnsmessage.Resource
	for _, a := range addrs {
		all = append(all, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(a).As16()},
		})
	}
	return all
}

// SOA returns the record of a zone, for a negative answer.
func SOA(ttl, minimum uint32) []dnsmessage.Resource {
	name := dnsmessage.MustNewName("arpa.")
	return []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeSOA, Class: dnsmessage.ClassINET, TTL: ttl},
		Body:   &dnsmessage.SOAResource{NS: name, MBox: name, MinTTL: minimum},
	}}
}

// Pack returns a message as bytes. It panics for one that can't be packed, which is a fault
// of the test.
func Pack(m dnsmessage.Message) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// Always returns an Answer with these addresses.
func Always(ttl uint32, addrs ...string) func(string, dnsmessage.Message, dnsmessage.Message) [][]byte {
	return func(_ string, q, r dnsmessage.Message) [][]byte {
		r.Answers = AAAA(q, ttl, addrs...)
		return [][]byte{Pack(r)}
	}
}

// ServePacket answers what comes to c, until it is closed.
func (s *Server) ServePacket(c net.PacketConn) {
	b := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		for _, m := range s.answer("udp", b[:n]) {
			c.WriteTo(m, from)
		}
	}
}

// ServeConn answers one query by TCP.
func (s *Server) ServeConn(c net.Conn) {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return
	}
	if all := s.answer("tcp", b); len(all) > 0 {
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(all[0]))), all[0]...))
	}
}

func (s *Server) answer(network string, b []byte) [][]byte {
	var q dnsmessage.Message
	if q.Unpack(b) != nil || len(q.Questions) != 1 {
		return nil
	}
	s.mu.Lock()
	s.queries = append(s.queries, Query{network, q})
	s.mu.Unlock()
	return s.Answer(network, q, Reply(q))
}
