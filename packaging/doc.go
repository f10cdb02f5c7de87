// Package packaging holds what a Debian package of steppe is made of, besides the
// programs and their pages; scripts/deb builds it, make deb calls that. Its test
// (make deb-check) installs the package in a Debian of its own, in the place of
// Debian's tayga, and runs it there.
package packaging
