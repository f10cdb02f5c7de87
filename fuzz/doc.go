// Package fuzz holds fuzz targets over the exported API of steppe's packages.
// They look for broken promises, not for particular outputs: no panic, no octet
// written outside of the room that a packet has, no malformed packet out of a
// well-formed one, and the same outcome as the slow twin.
package fuzz
