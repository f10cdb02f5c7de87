// Package gatewaytest runs tayga --gateway in network namespaces: hosts that have only IPv6
// reach hosts that have only IPv4, with the resolver and the router advertisements that it
// prints the lines of; and the machine is as before when it has ended, however that was.
package gatewaytest
