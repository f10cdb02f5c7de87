// Package packaging has the files of the Debian package of steppe, besides the programs and
// their manual pages, and what keeps network managers from the device of a CLAT; make deb runs scripts/deb, which builds it. Its test (make deb-check)
// installs the package in a separate Debian, in place of Debian's tayga, and runs it there.
package packaging
