package session_test

import (
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// A Table is what translate asks for the flows of hosts that share addresses.
var _ translate.Sessions = (*session.Table)(nil)
