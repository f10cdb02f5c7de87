package privsep

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

// encodeChanges is for decodeChanges.
func encodeChanges(list []hostnet.Change) ([]byte, error) {
	b, err := json.Marshal(list)
	if err == nil && 1+len(b) > maxRequest {
		err = fmt.Errorf("the changes of the network have %d bytes: more than %d", len(b), maxRequest)
	}
	return b, err
}

// decodeChanges reads one list and nothing else.
func decodeChanges(b []byte) (list []hostnet.Change, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, errMalformed
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errMalformed
	}
	return list, nil
}

// maxAddrs is how many resolvers are told.
const maxAddrs = 16

// encodeAddrs is for decodeAddrs.
func encodeAddrs(addrs []netip.Addr) string {
	var words []string
	for _, a := range addrs[:min(len(addrs), maxAddrs)] {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

// decodeAddrs reads addresses with a blank between them.
func decodeAddrs(text string) (addrs []netip.Addr, err error) {
	for word := range strings.FieldsSeq(text) {
		a, err := netip.ParseAddr(word)
		if err != nil || len(addrs) == maxAddrs {
			return nil, errMalformed
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
