// Package hostnet changes the network settings of the machine that a CLAT or a gateway runs
// on, and undoes the changes: sysctls, links, addresses, routes, rules, and tables and rules
// of nftables. It calls the kernel alone and runs no program, so it works in a sandbox.
//
//	change.go           the kinds of changes, and what makes one valid
//	command.go          the commands that do the same
//	policy.go           which changes a CLAT or a gateway may ask for
//	journal.go          what has been changed, as text
//	files_linux.go      the journal's file, and its locks
//	others_linux.go     what managers of other devices have changed
//	manager_linux.go    Open, Apply, Undo
//	nftrule.go          rules of nftables as text
//	expr_linux.go       and as the kernel takes them
//	table_linux.go      NAT and Guard: tables of our own
//	accept_linux.go     Accept: rules in the tables of other programs
//	sweep_linux.go      what is left of nftables without a journal
//	commands_linux.go   the commands for the tables that a machine has
//	*_linux.go          one file for each of the other kinds
//
// A Manager is told the whole list of changes that are wanted, and makes the machine so.
// What it is about to change is noted in a journal first. After a crash, the next Open
// undoes what the journal lists. What was there before, and is as wanted, is left alone
// then, too.
package hostnet
