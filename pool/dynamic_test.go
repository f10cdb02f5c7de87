package pool_test

import (
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// pool does not import translate, so what it is for is checked here.
var _ translate.Selector = (*pool.Pool)(nil)
