// Package examples holds programs that use the library and nothing else of this
// module. docs/library.md shows them, word for word.
//
//	capture  translates a capture file
//	clat     a CLAT around a wireguard-go style TUN device
//	fast     a gateway with the kernel's help
//	leases   a translate.Dynamic over a store of the caller's
package examples
