package hostnet

import "errors"

var errNoTables = errors.New("tables of nftables can't be changed yet")

func (*host) openLegacy() {}

func (*NAT) look(*host) (bool, error)       { return false, errNoTables }
func (*NAT) adopt(*host, *entry) error      { return errNoTables }
func (*NAT) note(*host, *entry) error       { return errNoTables }
func (*NAT) make(*host, *entry, kind) error { return errNoTables }
func (*NAT) undo(*host, *entry) error       { return nil }

func (*Guard) look(*host) (bool, error)       { return false, errNoTables }
func (*Guard) adopt(*host, *entry) error      { return errNoTables }
func (*Guard) note(*host, *entry) error       { return errNoTables }
func (*Guard) make(*host, *entry, kind) error { return errNoTables }
func (*Guard) undo(*host, *entry) error       { return nil }

func (*Accept) look(*host) (bool, error)       { return false, errNoTables }
func (*Accept) adopt(*host, *entry) error      { return errNoTables }
func (*Accept) note(*host, *entry) error       { return errNoTables }
func (*Accept) make(*host, *entry, kind) error { return errNoTables }
func (*Accept) undo(*host, *entry) error       { return nil }
