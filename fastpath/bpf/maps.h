/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The maps. All are filled from userspace; layout.go has the same types. Addresses
 * and ports of keys and values are in network order, all else in that of the
 * processor.
 */
#pragma once
#include "kernel.h"

/* What the tables know. An entry of another generation than the rules is void. */
struct host6_key { u32 host[4], pref64; }; /* pref64: the number of the destination's prefix */
struct host6 { u32 addr, generation, used; };
struct host4 { u32 host[4], generation, used, pref64; }; /* pref64: index of the one that peers get */

struct session6_key { u32 host[4], remote; u16 host_port, remote_port; u8 proto, pref64; u16 zero; };
struct session6 { u32 local, generation, used; u16 port, zero; };
struct session4_key { u32 local, remote; u16 local_port, remote_port; u32 proto; };
struct session4 { u32 host[4], generation, used; u16 port; u16 pref64; };

enum { MAX_PREFIXES = 8, MAX_PAGES = 64, PAGE = 65536 / 64 };

struct prefix { u64 hi, lo, mask_hi, mask_lo; u32 bits, number; };

/*
 * clat4 and clat6 are the only map, whose host may be on the IPv4 side: that of a CLAT.
 *
 * remote[] says by the upper half of an IPv4 address whether addresses are mapped by
 * prefix as peers: 0 all are, 1 none is, 2 and more: bits of page 0 and more say it.
 */
struct rules {
	u32 generation;
	u32 mtu4, mtu6, cut6;
	u8 keep_4to6, set_4to6, keep_6to4, set_6to4; /* TOS = TOS & keep | set */
	u32 flags;
	u32 prefixes;
	u32 clat_prefix; /* index of the one that maps the peers of clat4 */
	u32 clat4, clat6[4], zero;
	u64 clock_start; /* of identifications: CLOCK_MONOTONIC */
	u64 ident_key[2], ident_places[2];
	struct prefix prefix[MAX_PREFIXES];
	u8 remote[65536];
};
enum { HAS_HOSTS = 1, HAS_SESSIONS = 2, LEAVE_UDP = 4, HAS_CLAT = 8 };

struct control { u32 generation, zero; }; /* 0: nothing is translated */
struct page { u64 bits[PAGE]; };
struct count { u64 packets, bytes, segments; };
struct ident_set { u64 counter[8]; };
enum { IDENT_SETS = 8192 };

struct { UINT(type, MAP_ARRAY); TYPE(key, u32); TYPE(value, struct control); UINT(max_entries, 1); UINT(map_flags, MMAPABLE); } control SEC(".maps");
struct { UINT(type, MAP_ARRAY); TYPE(key, u32); TYPE(value, struct rules); UINT(max_entries, 2); UINT(map_flags, MMAPABLE); } rules SEC(".maps");
struct { UINT(type, MAP_ARRAY); TYPE(key, u32); TYPE(value, struct page); UINT(max_entries, 2 * MAX_PAGES); UINT(map_flags, MMAPABLE); } pages SEC(".maps");
struct { UINT(type, MAP_ARRAY); TYPE(key, u32); TYPE(value, struct ident_set); UINT(max_entries, IDENT_SETS); UINT(map_flags, MMAPABLE); } idents SEC(".maps");
struct { UINT(type, MAP_PERCPU_ARRAY); TYPE(key, u32); TYPE(value, struct count); UINT(max_entries, 64); } counts SEC(".maps");
struct { UINT(type, MAP_HASH); TYPE(key, struct host6_key); TYPE(value, struct host6); UINT(max_entries, 1024); UINT(map_flags, NO_PREALLOC); } hosts6 SEC(".maps");
struct { UINT(type, MAP_HASH); TYPE(key, u32); TYPE(value, struct host4); UINT(max_entries, 1024); UINT(map_flags, NO_PREALLOC); } hosts4 SEC(".maps");
struct { UINT(type, MAP_HASH); TYPE(key, struct session6_key); TYPE(value, struct session6); UINT(max_entries, 1024); UINT(map_flags, NO_PREALLOC); } sessions6 SEC(".maps");
struct { UINT(type, MAP_HASH); TYPE(key, struct session4_key); TYPE(value, struct session4); UINT(max_entries, 1024); UINT(map_flags, NO_PREALLOC); } sessions4 SEC(".maps");
