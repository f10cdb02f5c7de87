// Package sandbox drops the privileges that a running process does not need any more, to
// limit what an attacker who has taken it over can do. It applies four mechanisms to all
// threads, permanently, each if the kernel supports it:
//
//	no_new_privs  no program that is run gains a privilege (prctl(2))
//	landlock      only the named paths can be accessed (landlock(7))
//	capabilities  all but those named are dropped (capabilities(7))
//	seccomp       system calls that this program does not make fail (seccomp(2))
//
// Open descriptors stay usable: open devices, sockets and files before.
//
//	sandbox.go             the configuration and the report
//	sandbox_linux.go       the order of the steps, and all threads
//	landlock_linux.go      paths
//	capabilities_linux.go  capabilities
//	seccomp_linux.go       builds a filter from a table of system calls
//	calls_linux.go         the table of each kind of process, for the supported processors
//	foreign_linux.go       calls for which another seccomp filter would kill the process
//
// Three of the four apply to a single thread. The Go runtime can apply them to all
// threads that it has created, but not in a program built with cgo. There, only
// no_new_privs and seccomp are used, since seccomp(2) can apply both to all threads. A
// kernel that lacks a mechanism, or a processor without a table, is not an error: the
// Report says what is not in force and why.
//
// None of this ends the process. Under another seccomp filter, such as that of a service
// manager, each system call of these four is tried in a child process first, and a call
// that kills the child is left out.
//
// A denied system call fails with EPERM and does not kill the process. If the Go runtime
// makes a new call after an upgrade, or a configuration needs a call that is missing in
// the table, the translator continues and reports the error. Killing it would make every
// gap in the table a network outage, and would not restrict an attacker further.
package sandbox
