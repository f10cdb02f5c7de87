package pref64

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Name is the name that has IPv6 addresses only where DNS64 makes them: RFC 7050 §2.2.
const Name = "ipv4only.arpa."

const (
	maxPrefixes = 8   // that are kept of an answer, and of an uplink
	maxRecords  = 128 // that are read of an answer
)

// An Answer is what a resolver says about prefixes.
type Answer struct {
	Prefixes []netip.Prefix // in the order of the records, each once; empty if there is no DNS64
	TTL      time.Duration  // for which the answer is valid, also if it has no prefix; 0 if it does not say
	Others   int            // IPv6 addresses in it that have no well-known IPv4 address in them
}

var (
	errNotAnswer = errors.New("pref64: not the answer to this query")
	errTruncated = errors.New("pref64: answer is truncated")
)

// query returns a query for the addresses of Name. The resolver may not be told that
// checking is disabled, or DNS64 makes no address (RFC 7050 §3): the bit CD is 0.
func query(id uint16) ([]byte, error) {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(dnsmessage.Question{
		Name: dnsmessage.MustNewName(Name), Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET,
	}); err != nil {
		return nil, err
	}
	return b.Finish()
}

// ParseAnswer reads the answer to a query with that id for the IPv6 addresses of Name. The
// name does not exist, or has no such address: that is an Answer without prefix. The error
// says why a message is no answer. It keeps nothing of b. Whether the answer was validated
// does not matter: it can't be (RFC 8880 §7.1).
func ParseAnswer(id uint16, b []byte) (Answer, error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response || h.ID != id || h.OpCode != 0 || !asked(&p) {
		return Answer{}, errNotAnswer
	}
	switch {
	case h.Truncated:
		return Answer{}, errTruncated
	case h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError:
		return Answer{}, fmt.Errorf("pref64: the resolver reports an error: %s", strings.TrimPrefix(h.RCode.String(), "RCode"))
	}
	a, err := addresses(&p)
	if err != nil {
		return Answer{}, fmt.Errorf("pref64: malformed answer: %w", err)
	}
	if len(a.Prefixes) == 0 && a.Others == 0 {
		a.TTL = negativeTTL(&p)
	}
	return a, nil
}

// asked reads the questions, and reports whether they are that of query.
func asked(p *dnsmessage.Parser) bool {
	q, err := p.Question()
	if err != nil || !isName(q.Name) || q.Type != dnsmessage.TypeAAAA || q.Class != dnsmessage.ClassINET {
		return false
	}
	_, err = p.Question()
	return err == dnsmessage.ErrSectionDone
}

func isName(n dnsmessage.Name) bool { return strings.EqualFold(n.String(), Name) }

// addresses reads the answer section. The lowest TTL of the records that have a prefix
// counts, or without one that of the others.
func addresses(p *dnsmessage.Parser) (Answer, error) {
	var a Answer
	ttl, otherTTL := time.Duration(forever), time.Duration(forever)
	for range maxRecords {
		h, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return Answer{}, err
		}
		if h.Type != dnsmessage.TypeAAAA || h.Class != dnsmessage.ClassINET || !isName(h.Name) {
			if err := p.SkipAnswer(); err != nil {
				return Answer{}, err
			}
			continue
		}
		if h.Length != 16 {
			return Answer{}, errors.New("an IPv6 address of another length")
		}
		r, err := p.AAAAResource()
		if err != nil {
			return Answer{}, err
		}
		prefix, ok := search(netip.AddrFrom16(r.AAAA))
		switch {
		case !ok:
			a.Others++
			otherTTL = min(otherTTL, seconds(h.TTL))
			continue
		case !slices.Contains(a.Prefixes, prefix):
			if len(a.Prefixes) == maxPrefixes {
				continue
			}
			a.Prefixes = append(a.Prefixes, prefix)
		}
		ttl = min(ttl, seconds(h.TTL))
	}
	switch {
	case len(a.Prefixes) > 0:
		a.TTL = ttl
	case a.Others > 0:
		a.TTL = otherTTL
	}
	return a, nil
}

// negativeTTL returns for how long a negative answer is valid: RFC 2308 §5. The answer
// section may have been left before its end.
func negativeTTL(p *dnsmessage.Parser) time.Duration {
	if p.SkipAllAnswers() != nil {
		return 0
	}
	for range maxRecords {
		h, err := p.AuthorityHeader()
		if err != nil {
			break
		}
		if h.Type != dnsmessage.TypeSOA {
			if p.SkipAuthority() != nil {
				break
			}
			continue
		}
		r, err := p.SOAResource()
		if err != nil {
			break
		}
		return min(seconds(h.TTL), seconds(r.MinTTL))
	}
	return 0
}

// seconds returns a TTL as a duration. One with the highest bit set is 0: RFC 2181 §8.
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
