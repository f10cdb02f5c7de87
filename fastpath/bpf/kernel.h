/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the program needs of the kernel's interface, and no more: so it compiles
 * without headers of any kernel. Numbers are those of the stable interface
 * (include/uapi/linux/bpf.h). Fields of struct sk_buff have no fixed place; the
 * loader finds them by name (CO-RE).
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static __attribute__((always_inline)) inline

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define be16(x) __builtin_bswap16(x)
#define be32(x) __builtin_bswap32(x)
#define be64(x) __builtin_bswap64(x)
#else
#define be16(x) (x)
#define be32(x) (x)
#define be64(x) (x)
#endif

/* The context of a tc program. */
struct __sk_buff {
	u32 len, pkt_type, mark, queue_mapping, protocol;
	u32 vlan_present, vlan_tci, vlan_proto, priority;
	u32 ingress_ifindex, ifindex, tc_index, cb[5];
	u32 hash, tc_classid, data, data_end, napi_id;
	u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4];
	u32 remote_port, local_port, data_meta;
	u64 flow_keys, tstamp;
	u32 wire_len, gso_segs;
	u64 sk;
	u32 gso_size;
};

#define TCX_NEXT -1
#define TCX_DROP 2

/* The packet as the kernel has it. */
struct sk_buff {
	unsigned char *head, *data;
	u32 end; /* 64-bit kernels: an offset from head */
	u8 ip_summed : 2, encapsulation : 1;
	u16 csum_start, csum_offset; /* csum_start is an offset from head */
} __attribute__((preserve_access_index));

struct skb_shared_info {
	u32 gso_type;
} __attribute__((preserve_access_index));

enum { CHECKSUM_NONE, CHECKSUM_UNNECESSARY, CHECKSUM_COMPLETE, CHECKSUM_PARTIAL };

enum {
	SKB_GSO_TCPV4 = 1 << 0,
	SKB_GSO_DODGY = 1 << 1, /* from outside the kernel */
	SKB_GSO_TCP_ECN = 1 << 2,
	SKB_GSO_TCPV6 = 1 << 4,
	SKB_GSO_UDP_L4 = 1 << 17,
};

/* Offset and size of the bytes that hold a bit field, and the shifts that cut it out. */
enum { FIELD_BYTE_OFFSET, FIELD_BYTE_SIZE, FIELD_EXISTS, FIELD_SIGNED, FIELD_LSHIFT_U64, FIELD_RSHIFT_U64 };

#define BITFIELD(s, field)                                                                  \
	({                                                                                  \
		const u8 *at = (const u8 *)(s) +                                            \
			       __builtin_preserve_field_info((s)->field, FIELD_BYTE_OFFSET); \
		u64 v = 0;                                                                  \
		switch (__builtin_preserve_field_info((s)->field, FIELD_BYTE_SIZE)) {        \
		case 1: v = *at; break;                                                     \
		case 2: v = *(const u16 *)at; break;                                        \
		case 4: v = *(const u32 *)at; break;                                        \
		case 8: v = *(const u64 *)at; break;                                        \
		}                                                                           \
		v <<= __builtin_preserve_field_info((s)->field, FIELD_LSHIFT_U64);           \
		v >> __builtin_preserve_field_info((s)->field, FIELD_RSHIFT_U64);            \
	})

/* Maps are described by the types of these members. */
#define UINT(name, val) int(*name)[val]
#define TYPE(name, val) typeof(val) *name
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6 };
enum { NO_PREALLOC = 1 << 0, MMAPABLE = 1 << 10 };

/* Flags of helpers. */
enum { RECOMPUTE_CSUM = 1 << 0, PSEUDO_HDR = 1 << 4, MARK_MANGLED_0 = 1 << 5, INGRESS = 1 << 0 };

/* Helpers, by number. */
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static u32 (*prandom_u32)(void) = (void *)7;
static long (*store_bytes)(struct __sk_buff *, u32 at, const void *from, u32 n, u64 flags) = (void *)9;
static long (*l4_csum_replace)(struct __sk_buff *, u32 at, u64 from, u64 to, u64 flags) = (void *)11;
static long (*redirect)(u32 ifindex, u64 flags) = (void *)23;
static long (*change_proto)(struct __sk_buff *, u16 proto, u64 flags) = (void *)31;
static long (*pull_data)(struct __sk_buff *, u32 n) = (void *)39;
static u64 (*ktime_coarse_ns)(void) = (void *)160;
static long (*probe_read_kernel)(void *to, u32 n, const void *from) = (void *)113;

extern void *bpf_cast_to_kern_ctx(void *ctx) __attribute__((section(".ksyms")));
