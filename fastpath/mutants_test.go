//go:build linux

package fastpath

import (
	"encoding/binary"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var breakRules = flag.Bool("mutants", false, "break the rules of the program, one at a time")

// mutants are rules of the program that are broken on purpose: a text that is in its files
// once, and what it is replaced by.
var mutants = []struct{ name, old, new string }{
	{"hop limit kept from 4 to 6", "proto << 8 | (u32)(w->ttl - 1))", "proto << 8 | (u32)w->ttl)"},
	{"TTL kept from 6 to 4", "be32((u32)(w->ttl - 1) << 24", "be32((u32)w->ttl << 24"},
	{"TTL of 1", "w->dst4 = h[4];\n\tif (w->ttl <= 1)", "w->dst4 = h[4];\n\tif (w->ttl < 1)"},
	{"hop limit of 1", "memcpy(w->dst6, h + 6, 16);\n\tif (w->ttl <= 1)", "memcpy(w->dst6, h + 6, 16);\n\tif (w->ttl < 1)"},
	{"no DF is not cut", "r->mtu6 : r->cut6", "r->mtu6 : r->mtu6"},
	{"DF is cut", "r->mtu6 : r->cut6", "65535 : r->cut6"},
	{"a byte above the IPv6 MTU", "if (40 + w->wire >", "if (39 + w->wire >"},
	{"a byte above the IPv4 MTU", "if (20 + w->wire > r->mtu4", "if (19 + w->wire > r->mtu4"},
	{"DF from 1262 on", "MAX_CLEAR_DF = 1260", "MAX_CLEAR_DF = 1261"},
	{"DF by the super-packet", "df = 20 + w->wire >", "df = 20 + w->len >"},
	{"header checksum ignored", " || fold((u64)h[0] + h[1] + h[2] + h[3] + h[4]) != 0xffff)", ")"},
	{"more fragments ignored", "word & 0x3fff", "word & 0x1fff"},
	{"options as data", "first >> 24 != 0x45", "first >> 28 != 4"},
	{"padded IPv4", "(first & 0xffff) + l2 != ctx->len", "(first & 0xffff) + l2 > ctx->len"},
	{"padded IPv6", "w->len + 40 + l2 != ctx->len", "w->len + 40 + l2 > ctx->len"},
	{"UDP without checksum", "if (!*(u16 *)(b + 6))\n\t\t\treturn NO_CHECKSUM;", ""},
	{"any ICMP", "if (b[0] != echo && b[0] != reply)", "if (0)"},
	{"the message of zeros", "if (icmp == ICMP6 && !*(u32 *)(b + 4))", "if (0)"},
	{"DCCP without checksum", "case 17: case 33:", "case 17:"},
	{"destination options as data", "case 58: case 60:", "case 58:"},
	{"IGMP", "case 1: case 2: case 6:", "case 1: case 6:"},
	{"UDP gets the checksum 0", "flags |= MARK_MANGLED_0;", ";"},
	{"UDP of 4 not left", "r->flags & LEAVE_UDP)\n\t\treturn UDP_LEFT;\n\tint clat = from_clat", "0)\n\t\treturn UDP_LEFT;\n\tint clat = from_clat"},
	{"UDP of 6 not left", "r->flags & LEAVE_UDP)\n\t\treturn UDP_LEFT;\n\tint clat = to_clat", "0)\n\t\treturn UDP_LEFT;\n\tint clat = to_clat"},
	{"sum of all, 4 to 6", "store_bytes(ctx, l2, n, 40, RECOMPUTE_CSUM)", "store_bytes(ctx, l2, n, 40, 0)"},
	{"sum of all, ICMP type", "store_bytes(ctx, at, &type, 1, RECOMPUTE_CSUM)", "store_bytes(ctx, at, &type, 1, 0)"},
	{"sum of all, ports", "store_bytes(ctx, at, ports, 4, RECOMPUTE_CSUM)", "store_bytes(ctx, at, ports, 4, 0)"},
	{"sum of all, pseudo-header", "flags = PSEUDO_HDR;", "flags = 0;"},
	{"a part of an address", "return (u64)a[0] + a[1] + a[2] + a[3];", "return (u64)a[0] + a[1] + a[2];"},
	{"old destination in the sum", "minus((u64)w->src4 + w->dst4)", "minus((u64)w->src4)"},
	{"length of ICMPv6 left out", "pseudo += (u64)be32(w->len) + be32(ICMP6);", "pseudo += (u64)be32(ICMP6);"},
	{"ICMP type wrong in the sum", "diff += now + minus(was);", "diff += was + minus(now);"},
	{"any peer from 4", "if (!by_prefix(r, clat ? w->dst4 : w->src4, slot))", "if (0)"},
	{"any destination of a CLAT", "clat ? w->dst4 : w->src4", "w->src4"},
	{"any peer from 6", "|| !by_prefix(r, peer, slot))", ")"},
	{"any source is of a CLAT", "HAS_CLAT && w->src4 == r->clat4", "HAS_CLAT"},
	{"any destination is of a CLAT", "^ r->clat6[3]));", "^ w->dst6[3]));"},
	{"another prefix for peers of a CLAT", "embed(r, r->clat_prefix, ", "embed(r, r->clat_prefix ^ 1, "},
	{"pages of other rules", "index = slot * MAX_PAGES + kind - 2", "index = (1 - slot) * MAX_PAGES + kind - 2"},
	{"bits 64 to 71 are looked at", "(u32)(lo << 8 >> (64 - below))", "(u32)(lo >> (64 - below))"},
	{"bits 64 to 71 are used", "lo |= v << (64 - below) >> 8;", "lo |= v << (64 - below);"},
	{"void host from 6", "struct host6 *e = map_lookup(&hosts6, &k);\n\t\tif (e && e->generation == generation)", "struct host6 *e = map_lookup(&hosts6, &k);\n\t\tif (e)"},
	{"void host from 4", "map_lookup(&hosts4, &w->dst4);\n\t\tif (e && e->generation == generation)", "map_lookup(&hosts4, &w->dst4);\n\t\tif (e)"},
	{"void session from 6", "map_lookup(&sessions6, &k);\n\tif (!e || e->generation != generation)", "map_lookup(&sessions6, &k);\n\tif (!e)"},
	{"void session from 4", "map_lookup(&sessions4, &k);\n\tif (!e || e->generation != generation)", "map_lookup(&sessions4, &k);\n\tif (!e)"},
	{"port of a session kept", "w->src4 = e->local;\n\tw->new_src = e->port;", "w->src4 = e->local;"},
	{"identifier of a session kept", "if (w->proto == ICMP4)\n\t\tw->new_src = e->port;", ""},
	{"ports not in the sum", "diff += (u64)w->new_src + w->new_dst + minus", "diff += 0 * minus"},
	{"SYN from IPv4", "SKB_GSO_TCPV4);\n\tif (why)\n\t\treturn why;\n\tif (w->proto == TCP && w->tcp_flags & TCP_SYN)", "SKB_GSO_TCPV4);\n\tif (why)\n\t\treturn why;\n\tif (0)"},
	{"SYN from IPv6", "SKB_GSO_TCPV6);\n\tif (why)\n\t\treturn why;\n\tif (w->proto == TCP && w->tcp_flags & TCP_SYN)", "SKB_GSO_TCPV6);\n\tif (why)\n\t\treturn why;\n\tif (0)"},
	{"RST of a session", "!(w->tcp_flags & (TCP_FIN | TCP_RST))", "!(w->tcp_flags & TCP_FIN)"},
	{"use of a host is not noted", "w->src4 = e->addr;\n\t\t\tw->by = BY_HOST;\n\t\t\tstamp(&e->used);", "w->src4 = e->addr;\n\t\t\tw->by = BY_HOST;"},
	{"TOS not copied", "(w->tos & r->keep_4to6) | r->set_4to6", "r->set_4to6"},
	{"traffic class not replaced", "(w->tos & r->keep_6to4) | r->set_6to4", "w->tos"},
	{"one segment too many", "MAX_UDP_SEGMENTS = 128", "MAX_UDP_SEGMENTS = 129"},
	{"TCP header too short", "if (doff < 20 || doff > w->len)", "if (doff > w->len)"},
	{"one identification for all segments", "counted(next, (u32)next + n)", "counted(next, (u32)next + 1)"},
	{"one counter for all protocols", "(u64)proto << 1) | 1", "0) | 1"},
	{"checksum inside a tunnel", "if (skb->csum_start != (u32)(skb->data - skb->head) + at || skb->csum_offset != w->sum_at)", "if (0)"},
	{"ports in a partial checksum", "if (!w->partial)\n\t\t\tdiff", "diff"},
	{"types of super-packets", "want = w->proto == TCP ? gso : SKB_GSO_UDP_L4", "want = SKB_GSO_UDP_L4"},
	{"mark kept", "ctx->mark = 0;", ";"},
	{"other programs get nothing", "return TCX_NEXT;\n}\n\n/* The helpers", "return 0;\n}\n\n/* The helpers"},
	{"direction of counters", "direction = 0;", "direction = 1;"},
	{"segments not counted", "n->segments += w.segments ? w.segments : 1;", ";"},
}

// sources are the files of the program.
func sources(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"fastpath.c", "ident.h", "maps.h", "kernel.h"} {
		b, err := os.ReadFile(filepath.Join("bpf", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(b)
	}
	return files
}

// TestMutantsApply: each broken rule is one of the program as it is.
func TestMutantsApply(t *testing.T) {
	files := sources(t)
	for _, m := range mutants {
		n := 0
		for _, text := range files {
			n += strings.Count(text, m.old)
		}
		if n != 1 || m.old == m.new {
			t.Errorf("%s: is in the source %d times", m.name, n)
		}
	}
}

// TestMutants breaks one rule of the program after the other: each time a test of this package
// has to fail. It compiles the program and runs the tests with its object.
func TestMutants(t *testing.T) {
	if !*breakRules {
		t.Skip("takes minutes: make fastpath-mutants")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range sources(t) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(text, m.old, m.new, 1)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			object := filepath.Join(dir, "mutant.o")
			if err := compile(dir, nativeOrder(), object); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self, "-test.run", "Compare|Prove|Ident|WithoutUDP|Generation|Delete|Used|Session|OpenCache|Device|Tunnel|USO", "-test.failfast", "-generated", "30000")
			cmd.Env = append(os.Environ(), objectVariable+"="+object)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Error("no test fails")
				return
			}
			_, line, _ := strings.Cut(string(out), "--- FAIL")
			t.Logf("%.300s", line)
		})
	}
}

// nativeOrder is the byte order of the processor, as compile takes it.
func nativeOrder() string {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return "el"
	}
	return "eb"
}
