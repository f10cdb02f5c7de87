package hostnet

import "strings"

// forwards reports whether a sysctl turns IPv6 forwarding on. The kernel then removes the
// default routes of all interfaces whose accept_ra is 1, also if one interface alone is to
// forward (rt6_purge_dflt_routers in addrconf_fixup_forwarding).
func (s *Sysctl) forwards() bool {
	device, what := s.conf("ipv6")
	return what == "forwarding" && device != "default" && s.Value != "0"
}

// conf splits the name of a sysctl of an interface.
func (s *Sysctl) conf(family string) (device, what string) {
	rest, ok := strings.CutPrefix(s.Name, "net/"+family+"/conf/")
	if !ok {
		return "", ""
	}
	device, what, _ = strings.Cut(rest, "/")
	return device, what
}

// followers returns which sysctls the kernel sets along with one: those of a family, of each
// interface and of those to come, and others by their names.
func (s *Sysctl) followers() (family, each string, more []string) {
	if device, what := s.conf("ipv6"); device == "all" && (what == "forwarding" || what == "force_forwarding") {
		return "ipv6", what, nil
	}
	// inet_forward_change
	if device, what := s.conf("ipv4"); s.Name == "net/ipv4/ip_forward" || device == "all" && what == "forwarding" {
		return "ipv4", "forwarding", []string{"net/ipv4/conf/all/accept_redirects"}
	}
	return "", "", nil
}
