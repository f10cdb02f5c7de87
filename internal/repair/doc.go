// Package repair runs commands that package doctor has found, and undoes them.
//
//	stack.go  what was done, in a file that survives crashes and reboots
//	guard.go  commands that could cut the connection over which they are run;
//	          connections_linux.go finds it
//	run.go    runs a command
//
// A command is run by sh as it is printed. What was done is noted before it is done. A
// command is undone only if what it changed is still as it left it.
package repair
