// Package peer compares tayga with Debian's TAYGA 0.9.2 in a test network: how both
// handle a configuration, a packet and the lease file that the other has written. Where
// they differ, a table gives the reason. The tests also fail if a difference in the table
// does not exist.
//
// The package has tests only. The other tayga is not a dependency: if it is not installed,
// the tests are skipped and log the reason. STEPPE_REQUIRE_PEER=1 makes that a failure;
// make peers installs the package and sets it.
package peer
