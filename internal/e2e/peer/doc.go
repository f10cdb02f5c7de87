// Package peer holds tayga side by side with Debian's TAYGA 0.9.2 in a
// laboratory: what both make of a configuration, of a packet and of the leases
// that the other has left. Where they differ, a table says why, and the tests
// fail if it says so without need.
//
// There are only tests here. The other tayga is a peer, not a dependency: where
// it is not installed they skip, with the reason. STEPPE_REQUIRE_PEER=1 turns
// that into a failure; make peers installs the package and does so.
package peer
