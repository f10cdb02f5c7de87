// Package sandbox takes away from a running process what it will not need any
// more, so that somebody who takes the process over finds little to do with it.
// Four things are given up, by all threads and for good, each if the kernel
// knows it:
//
//	no_new_privs  no program that is run gains a privilege (prctl(2))
//	landlock      files and devices but for the paths named are out of reach
//	capabilities  all but those named are dropped (capabilities(7))
//	seccomp       system calls that this program does not make fail (seccomp(2))
//
// What is open stays open: devices, sockets and files are to be opened before.
//
//	sandbox.go             what there is to ask for, and what came of it
//	sandbox_linux.go       the order of things, and all threads
//	landlock_linux.go      paths
//	capabilities_linux.go  capabilities
//	seccomp_linux.go       from a table of system calls to a filter
//	calls_linux.go         the table, for the processors that we know
//	foreign_linux.go       what a filter of others would kill the process for
//
// Three of the four are given up by each thread for itself. The Go runtime can
// make all of its threads do so, but it knows only those that it has made: in a
// program built with cgo, no_new_privs and seccomp are all there is, since the
// latter carries both to every thread by itself. Kernels of which a part is
// missing, and processors without a table, are no error either: the Report says
// what is not in force and why.
//
// Nor does any of it end the process. Under a seccomp filter of others, such as that
// of a service manager, each system call of these four is made in a child first, and
// what that does not survive is left out.
//
// A refused system call fails with EPERM and ends nothing. A translator whose
// runtime tries something new after an upgrade, or whose administrator asks for
// something that was forgotten here, goes on and says what was not permitted;
// killing it would turn every gap in the table into an outage of a network,
// and an attacker who is kept from a call gains nothing by having made it.
package sandbox
