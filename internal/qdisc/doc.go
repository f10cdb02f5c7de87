// Package qdisc finds what a fast path would bypass at a device: its program hands packets
// back before they come to the queueing discipline.
package qdisc
