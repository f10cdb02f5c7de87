package peer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A difference is a reason for the two programs to make different packets.
type difference struct {
	name string
	// where it is laid down what is right: a row of the matrix in rfc/, or a
	// choice in rfc/README.md. Empty if no RFC has anything to say.
	where        string
	theirs, ours string // what 0.9.2 does, and what we do
}

func (d difference) String() string {
	where := d.where
	if where == "" {
		where = "no rule"
	}
	return d.name + " (" + where + "): 0.9.2 " + d.theirs + "; we " + d.ours
}

// same is no difference.
var same difference

// The differences: what is laid down somewhere, and what is left open.
var (
	dontFragment    = difference{"dont-fragment", "7915-5-03", "sets DF in all that are no fragments", "clear it up to 1260 bytes"}
	identification  = difference{"identification", "7915-5.1-05", "numbers no packets, since all have DF set", "number all"}
	precedence      = difference{"precedence", "1812-4.3.2.5-01", "sends errors with a TOS of 0", "with the precedence of network control"}
	checksumZero    = difference{"checksum-becomes-zero", "768-0-01", "sends a UDP checksum that becomes 0", "send 0xffff"}
	zeroFrom6       = difference{"zero-checksum-from-ipv6", "7915-5-02", "drops UDP without a checksum from IPv6, too", "pass it on without one, which IPv4 allows"}
	otherChecksums  = difference{"udp-lite-and-dccp", "7915-4.5-08", "leaves the checksums of UDP-Lite and DCCP wrong", "update them"}
	echoChecksums   = difference{"echo-checksums", "errors-with-wrong-checksums", "drops Echo messages with a wrong checksum", "update it, and what was wrong stays wrong"}
	usedUp          = difference{"hop-limit-0", "1812-5.3.1-01", "is silent about a TTL of 0", "answer as if it were 1"}
	sourceRoute     = difference{"source-route", "7915-4.1-22", "ignores source routes", "refuse unexpired ones"}
	routingHeader   = difference{"routing-header", "7915-5.1-18", "ignores Segments Left", "refuse a Routing header that is not used up"}
	quotedRouting   = difference{"quoted-routing-header", "7915-5.1-19", "ignores Segments Left in a quote", "drop the error"}
	afterFragment   = difference{"extension-after-fragment", "7915-5.1.1-01", "takes an extension header after a Fragment Header for a protocol", "refuse the packet"}
	largeFragment   = difference{"fragment-with-df", "too-big-fragments", "cuts fragments that have DF set", "refuse them as too big"}
	laterFragment   = difference{"later-fragment", "1812-4.3.2.7-03", "sends errors about later fragments", "about first ones only"}
	tinyFragment    = difference{"tiny-fragment", "tiny-fragments", "passes TCP fragments that could overwrite a header", "refuse them"}
	foreign4        = difference{"protocols-from-ipv4", "7915-4.1-14", "passes protocols that are something else in IPv6", "refuse them"}
	foreign6        = difference{"protocols-from-ipv6", "7915-5.1-11", "passes ICMPv4 that comes from IPv6", "refuse it"}
	suffixBits      = difference{"suffix-bits", "6052-2.2-12", "wants zeros after an embedded IPv4 address", "do not look"}
	nonGlobal       = difference{"non-global", "6052-3.1-01", "lets shared and protocol assignment addresses through the well-known prefix", "refuse them"}
	privateHop      = difference{"private-hop", "non-global-hops", "drops errors from private routers under the well-known prefix", "pass them on from the own address"}
	reserved6       = difference{"reserved-ipv6", "7915-5.1-15", "takes all of ::/8 but the well-known prefix for invalid", "treat it like other addresses, but for ::, ::1 and ::ffff:0:0/96"}
	localUse        = difference{"local-use-prefix", "8215-5-03", "takes 64:ff9b:1::/48 for invalid", "treat it like any other address"}
	hairpin         = difference{"hairpin", "7757-4.2-01", "refuses packets to the IPv4 address of a mapped host", "hairpin them"}
	illegalEmbedded = difference{"illegal-embedded", "7915-8-01", "answers packets to loopback and multicast addresses inside a prefix", "drop them silently"}
	told            = difference{"told", "7915-4.4-01", "drops silently what it cannot translate", "tell the source"}
	linkLocal       = difference{"link-local", "3927-7-01", "answers packets to 169.254.0.0/16 inside a prefix", "drop them silently"}
	thisNetwork     = difference{"this-network", "7915-4.1-18", "passes addresses of 0.0.0.0/8", "drop them"}
	echoUnmapped    = difference{"echo-unmapped", "7915-5.4-02", "tells about Echo messages that an address has no mapping", "do not"}
	parameter4      = difference{"parameter-problem-from-ipv4", "7915-4.2-19", "drops Parameter Problem", "translate it and its pointer"}
	parameter6      = difference{"parameter-problem-from-ipv6", "7915-5.2-14", "drops Parameter Problem", "translate it and its pointer"}
	addressCode     = difference{"address-unreachable", "7915-5.2-07", "drops Address Unreachable", "translate it"}
	smallTooBig     = difference{"small-packet-too-big", "7915-5.2-11", "passes MTUs on that no IPv4 link may have", "drop the error"}
	quotedShort     = difference{"short-quote", "7915-4.3-06", "drops errors that quote less than a transport header", "translate what is there"}
	quotedZero      = difference{"quoted-zero-checksum", "udp-zero-quoted", "drops errors about UDP without a checksum", "translate them"}
	quotedReply     = difference{"quoted-echo-reply", "7915-4.3-04", "drops errors about Echo Replies", "translate them"}
	quotedFragment  = difference{"quoted-fragment", "7915-4.3-07", "loses the fragment data of a quoted IPv4 header", "make it a Fragment Header"}
	extension       = difference{"extension", "4884-3-01", "takes extensions off", "carry them"}
	replacedSource  = difference{"replaced-source", "6791-3-01", "drops most errors from routers without mapping", "pass them on from the own address"}
	noFragHdr       = difference{"strict-frag-hdr", "7915-4-04", "adds Fragment Headers where they serve nothing", "do not"}

	classE       = difference{"class-e", "", "takes 240.0.0.0/4 for invalid", "do not, as later versions of TAYGA"}
	ownMapping   = difference{"own-addresses", "", "maps its own addresses to each other", "map them like others"}
	leasedTarget = difference{"leased-destination", "", "sends what is for the IPv6 address of a host with a lease to its IPv4 address", "refuse it as unmapped"}
)

var differences = []difference{
	dontFragment, identification, precedence, checksumZero, zeroFrom6, otherChecksums, echoChecksums, usedUp, sourceRoute,
	routingHeader, quotedRouting, afterFragment, largeFragment, laterFragment, tinyFragment, foreign4, foreign6,
	suffixBits, nonGlobal, privateHop, localUse, reserved6, hairpin, illegalEmbedded, told, linkLocal, thisNetwork, echoUnmapped, parameter4,
	parameter6, addressCode, smallTooBig, quotedShort, quotedZero, quotedReply, quotedFragment, extension,
	replacedSource, noFragHdr, classE, ownMapping, leasedTarget,
}

// Every difference has a trial, and the matrix knows the rows that they name.
func TestDifferences(t *testing.T) {
	var matrix strings.Builder
	files, err := filepath.Glob("../../../rfc/*.tsv")
	require.NoError(t, err)
	for _, f := range append(files, "../../../rfc/README.md") {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		matrix.Write(text)
	}
	_, because := tally()
	for _, d := range differences {
		assert.NotZero(t, because[d], "%s: no trial shows it", d.name)
		if d.where != "" {
			row, choice := "\n"+d.where+"\t", "| `"+d.where+"` |"
			assert.True(t, strings.Contains(matrix.String(), row) || strings.Contains(matrix.String(), choice),
				"%s: %s is laid down nowhere", d.name, d.where)
		}
		delete(because, d)
	}
	delete(because, same)
	assert.Empty(t, because, "differences that are not on the list")
}
