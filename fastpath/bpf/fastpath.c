/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Translates, at the egress of a TUN device, the packets whose translation is certain,
 * and hands them back to the kernel as if they had been read from the device. All
 * others go on to the device unchanged, where the daemon translates, answers or drops
 * them. What is translated here has to be byte for byte what the package translate makes
 * of it, but for IPv4 identifications: the names and the order of the checks are its own.
 *
 * The checks read, and a packet that fails one is unchanged. The writes come last.
 */
#include "kernel.h"
#include "maps.h"
#include "ident.h"

/* Bytes before the IP header: 0 on a TUN device, 14 with BPF_PROG_TEST_RUN. */
volatile const u32 l2;

/* What became of a packet. The counters are by it; reason.go has the names. */
enum {
	BY_HOST, BY_SESSION,
	FAMILY, HEADER, FRAGMENT, OPTIONS, PROTOCOL, ICMP_TYPE, NO_CHECKSUM, HOP_LIMIT, SIZE,
	OFFLOAD, REMOTE, UNKNOWN, TCP_FLAGS, UDP_LEFT, CHANGED, FAILED,
	DROPPED, /* was changed in part: a helper failed that cannot */
};

enum { TCP = 6, UDP = 17, ICMP4 = 1, ICMP6 = 58 };
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4 };
enum { MAX_LEN = 65535, MAX_CLEAR_DF = 1260, MAX_UDP_SEGMENTS = 128 };

struct work {
	u32 src6[4], dst6[4], src4, dst4; /* network order */
	u32 proto;                        /* of the packet that came */
	u32 len;                          /* of its data after the IP header */
	u32 wire;                         /* of the data of its largest segment */
	u32 segments;
	u32 partial;                      /* the checksum covers the pseudo-header only */
	u32 sum_at;                       /* where the checksum is in the data; 0: there is none */
	u16 src_port, dst_port;           /* network order; of ICMP Echo both are the identifier */
	u16 new_src, new_dst;
	u8 icmp_type, tcp_flags, tos, ttl;
	u8 by;                            /* BY_HOST or BY_SESSION */
};

/*
 * The compiler takes the fields data and data_end for numbers of 32 bits and copies them as
 * such, which the verifier refuses of pointers.
 */
INLINE void *packet_data(struct __sk_buff *ctx)
{
	void *p;
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(p) : "r"(ctx), "i"(__builtin_offsetof(struct __sk_buff, data)));
	return p;
}

INLINE void *packet_end(struct __sk_buff *ctx)
{
	void *p;
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(p) : "r"(ctx), "i"(__builtin_offsetof(struct __sk_buff, data_end)));
	return p;
}

/* header returns n bytes of the packet, at an offset. Pulling more than the headers
 * would change what the kernel says of their length to a reader of the device. */
INLINE void *header(struct __sk_buff *ctx, u32 at, u32 n)
{
	void *p = packet_data(ctx) + at;
	if (p + n <= packet_end(ctx))
		return p;
	if (pull_data(ctx, at + n))
		return 0;
	p = packet_data(ctx) + at;
	return p + n <= packet_end(ctx) ? p : 0;
}

INLINE u32 fold(u64 s)
{
	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return (s & 0xffff) + (s >> 16);
}

/* minus is -s in one's complement. */
INLINE u64 minus(u64 s) { return ~fold(s) & 0xffff; }

INLINE u64 sum6(const u32 *a) { return (u64)a[0] + a[1] + a[2] + a[3]; }

/* Not extension headers, and no checksum over addresses. */
INLINE int plain_protocol(u32 proto)
{
	switch (proto) {
	case 0: case 1: case 2: case 6: case 17: case 33: case 43: case 44:
	case 51: case 58: case 60: case 135: case 136: case 139: case 140:
		return 0;
	}
	return 1;
}

/*
 * transport reads the transport header. hlen is the length of the IP header, echo and reply
 * are the ICMP types of the family, gso its type of TCP super-packets.
 */
INLINE int transport(struct __sk_buff *ctx, struct work *w, u32 hlen, u32 icmp, u8 echo, u8 reply, u32 gso)
{
	u32 at = l2 + hlen, doff = 8;
	if (w->proto == TCP) {
		u8 *b = header(ctx, at, 20);
		if (!b)
			return HEADER;
		w->src_port = *(u16 *)b;
		w->dst_port = *(u16 *)(b + 2);
		w->tcp_flags = b[13];
		doff = (b[12] >> 4) * 4;
		w->sum_at = 16;
		if (w->len < 20)
			return HEADER;
	} else if (w->proto == UDP) {
		u8 *b = header(ctx, at, 8);
		if (!b || w->len < 8)
			return HEADER;
		w->src_port = *(u16 *)b;
		w->dst_port = *(u16 *)(b + 2);
		w->sum_at = 6;
		if (!*(u16 *)(b + 6))
			return NO_CHECKSUM;
	} else if (w->proto == icmp) {
		u8 *b = header(ctx, at, 8);
		if (!b || w->len < 8)
			return HEADER;
		w->icmp_type = b[0];
		w->src_port = w->dst_port = *(u16 *)(b + 4);
		w->sum_at = 2;
		if (b[0] != echo && b[0] != reply)
			return ICMP_TYPE;
		/* A message of zeros alone has two checksums: the daemon knows which. */
		if (icmp == ICMP6 && !*(u32 *)(b + 4))
			return ICMP_TYPE;
	} else if (!plain_protocol(w->proto)) {
		return PROTOCOL;
	}
	w->new_src = w->src_port;
	w->new_dst = w->dst_port;

	/*
	 * An unfinished checksum and segments are followed where they are those of this
	 * header. One of a header deeper inside looks the same to the context: only the
	 * kernel's own description tells where it begins.
	 */
	struct sk_buff *skb = bpf_cast_to_kern_ctx(ctx);
	w->wire = w->len;
	w->segments = 1;
	if (BITFIELD(skb, ip_summed) == CHECKSUM_PARTIAL) {
		if (w->proto != TCP && w->proto != UDP)
			return OFFLOAD;
		if (skb->csum_start != (u32)(skb->data - skb->head) + at || skb->csum_offset != w->sum_at)
			return OFFLOAD;
		w->partial = 1;
	}
	u32 size = ctx->gso_size;
	if (!size)
		return 0;
	u32 type = 0, want = w->proto == TCP ? gso : SKB_GSO_UDP_L4;
	u32 allowed = want | SKB_GSO_DODGY | (w->proto == TCP ? SKB_GSO_TCP_ECN : 0);
	struct skb_shared_info *info = (void *)(skb->head + skb->end);
	if (probe_read_kernel(&type, sizeof(type), __builtin_preserve_access_index(&info->gso_type)))
		return OFFLOAD;
	/* BPF_PROG_TEST_RUN makes neither types nor unfinished checksums. */
	if (type & ~allowed || (!l2 && (!w->partial || !(type & want))))
		return OFFLOAD;
	if (w->proto == TCP) {
		if (doff < 20 || doff > w->len)
			return OFFLOAD;
	} else if (w->proto != UDP || w->len - 8 > size * MAX_UDP_SEGMENTS) {
		return OFFLOAD;
	}
	u32 payload = w->len - doff;
	if (payload > size) {
		w->wire = doff + size;
		w->segments = (payload + size - 1) / size;
	}
	return 0;
}

/*
 * by_prefix reports whether an IPv4 address is that of a peer, whom a prefix maps.
 *
 * The compiler takes the half of an address for what the instruction be16 leaves, which the
 * verifier of Linux 6.12 does not know to be 16 bits long: so the mask has to stay.
 */
INLINE int by_prefix(const struct rules *r, u32 addr, u32 slot)
{
	u32 a = be32(addr), half = a >> 16;
	asm volatile("" : "+r"(half));
	u32 kind = r->remote[half & 0xffff];
	if (kind < 2)
		return !kind;
	u32 index = slot * MAX_PAGES + kind - 2;
	struct page *p = map_lookup(&pages, &index);
	return p && !(p->bits[(a & 0xffff) >> 6] >> (a & 63) & 1);
}

/* extract finds the prefix of a destination, and the IPv4 address in it: RFC 6052 §2.3. */
INLINE int extract(const struct rules *r, const u32 *addr, u32 *v4, u32 *number)
{
	u64 hi = be64((u64)addr[0] | (u64)addr[1] << 32), lo = be64((u64)addr[2] | (u64)addr[3] << 32);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	hi = (u64)addr[0] << 32 | addr[1];
	lo = (u64)addr[2] << 32 | addr[3];
#endif
	for (u32 i = 0; i < MAX_PREFIXES; i++) {
		if (i >= r->prefixes)
			break;
		const struct prefix *p = &r->prefix[i];
		if (((hi ^ p->hi) & p->mask_hi) | ((lo ^ p->lo) & p->mask_lo))
			continue;
		u32 v = lo;
		if (p->bits < 96) {
			u32 below = (p->bits - 32) & 63;
			v = (u32)(hi << below);
			if (below)
				v |= (u32)(lo << 8 >> (64 - below));
		}
		*v4 = be32(v);
		*number = p->number;
		return 1;
	}
	return 0;
}

/* embed makes the IPv6 address of a peer. */
INLINE int embed(const struct rules *r, u32 index, u32 addr, u32 *v6)
{
	if (index >= MAX_PREFIXES || index >= r->prefixes)
		return 0;
	const struct prefix *p = &r->prefix[index];
	u64 v = be32(addr), hi = p->hi, lo = p->lo;
	if (p->bits == 96) {
		lo |= v;
	} else {
		u32 below = (p->bits - 32) & 63;
		hi |= v >> below;
		if (below)
			lo |= v << (64 - below) >> 8;
	}
	v6[0] = be32((u32)(hi >> 32));
	v6[1] = be32((u32)hi);
	v6[2] = be32((u32)(lo >> 32));
	v6[3] = be32((u32)lo);
	return 1;
}

/* stamp notes that an entry is in use. It writes about once a second. */
INLINE void stamp(u32 *used)
{
	u32 now = ktime_coarse_ns() >> 30;
	if (*used != now)
		*used = now;
}

/* may_share: a session's state is the daemon's to change. */
INLINE int may_share(const struct work *w)
{
	return w->proto == TCP ? !(w->tcp_flags & (TCP_FIN | TCP_RST)) : w->sum_at != 0;
}

/* source6 finds what an IPv6 host has in IPv4. */
INLINE int source6(const struct rules *r, struct work *w, u32 number, u32 generation)
{
	if (r->flags & HAS_HOSTS) {
		struct host6_key k = {{w->src6[0], w->src6[1], w->src6[2], w->src6[3]}, number};
		struct host6 *e = map_lookup(&hosts6, &k);
		if (e && e->generation == generation) {
			w->src4 = e->addr;
			w->by = BY_HOST;
			stamp(&e->used);
			return 0;
		}
	}
	if (!(r->flags & HAS_SESSIONS))
		return UNKNOWN;
	if (!may_share(w))
		return w->proto == TCP ? TCP_FLAGS : UNKNOWN;
	struct session6_key k = {{w->src6[0], w->src6[1], w->src6[2], w->src6[3]}, w->dst4, w->src_port, w->dst_port, w->proto, number, 0};
	struct session6 *e = map_lookup(&sessions6, &k);
	if (!e || e->generation != generation)
		return UNKNOWN;
	w->src4 = e->local;
	w->new_src = e->port;
	if (w->proto == ICMP6)
		w->new_dst = e->port;
	w->by = BY_SESSION;
	stamp(&e->used);
	return 0;
}

/* destination4 finds the IPv6 host of an IPv4 address, and makes the address of its peer. */
INLINE int destination4(const struct rules *r, struct work *w, u32 generation)
{
	if (r->flags & HAS_HOSTS) {
		struct host4 *e = map_lookup(&hosts4, &w->dst4);
		if (e && e->generation == generation) {
			__builtin_memcpy(w->dst6, e->host, 16);
			w->by = BY_HOST;
			stamp(&e->used);
			return embed(r, e->pref64, w->src4, w->src6) ? 0 : REMOTE;
		}
	}
	if (!(r->flags & HAS_SESSIONS))
		return UNKNOWN;
	if (!may_share(w))
		return w->proto == TCP ? TCP_FLAGS : UNKNOWN;
	struct session4_key k = {w->dst4, w->src4, w->dst_port, w->src_port, w->proto};
	struct session4 *e = map_lookup(&sessions4, &k);
	if (!e || e->generation != generation)
		return UNKNOWN;
	__builtin_memcpy(w->dst6, e->host, 16);
	w->new_dst = e->port;
	if (w->proto == ICMP4)
		w->new_src = e->port;
	w->by = BY_SESSION;
	stamp(&e->used);
	return embed(r, e->pref64, w->src4, w->src6) ? 0 : REMOTE;
}

/* from_clat reports whether an IPv4 packet is from the host of a CLAT, whose addresses are rules. */
INLINE int from_clat(const struct rules *r, const struct work *w)
{
	return r->flags & HAS_CLAT && w->src4 == r->clat4;
}

/* to_clat reports whether an IPv6 packet is for it. */
INLINE int to_clat(const struct rules *r, const struct work *w)
{
	return r->flags & HAS_CLAT && !((w->dst6[0] ^ r->clat6[0]) | (w->dst6[1] ^ r->clat6[1]) |
					(w->dst6[2] ^ r->clat6[2]) | (w->dst6[3] ^ r->clat6[3]));
}

/* current reports whether the rules that have been read are still in force: a writer may
 * overwrite those of a generation that has ended. */
INLINE int current(const struct control *c, u32 generation)
{
	return *(const volatile u32 *)&c->generation == generation;
}

/*
 * rewrite changes the transport header that begins at an offset: ports or identifier, the
 * ICMP type, and the checksum. pseudo is the change of the sum of the pseudo-header, type the
 * new ICMP type, icmp whether it is ICMP. It returns whether all went well.
 *
 * The helper knows what the kernel has of a checksum (none, verified, partial), which the
 * program must not guess: so all bytes go by helpers. A partial checksum covers no ports.
 */
INLINE int rewrite(struct __sk_buff *ctx, struct work *w, u32 at, u64 pseudo, int icmp, u8 type)
{
	if (!w->sum_at)
		return 1;
	u64 diff = pseudo, flags = PSEUDO_HDR;
	if (icmp) {
		u16 was = be16(w->icmp_type << 8), now = be16(type << 8);
		diff += now + minus(was);
		if (store_bytes(ctx, at, &type, 1, RECOMPUTE_CSUM))
			return 0;
		if (w->new_src != w->src_port) {
			diff += w->new_src + minus(w->src_port);
			if (store_bytes(ctx, at + 4, &w->new_src, 2, RECOMPUTE_CSUM))
				return 0;
		}
	} else if (w->by == BY_SESSION) {
		u16 ports[2] = {w->new_src, w->new_dst};
		if (!w->partial)
			diff += (u64)w->new_src + w->new_dst + minus((u64)w->src_port + w->dst_port);
		if (store_bytes(ctx, at, ports, 4, RECOMPUTE_CSUM))
			return 0;
	}
	if (w->proto == UDP)
		flags |= MARK_MANGLED_0; /* RFC 768: zero would mean "no checksum" */
	diff = (diff & 0xffffffff) + (diff >> 32);
	return !l4_csum_replace(ctx, at + w->sum_at, 0, (u32)diff + (u32)(diff >> 32), flags);
}

/* from4 takes an IPv4 packet through RFC 7915 §4. */
INLINE int from4(struct __sk_buff *ctx, const struct control *c, const struct rules *r, u32 slot, u32 generation, struct work *w)
{
	u32 h[5];
	void *b = header(ctx, l2, 20);
	if (!b)
		return HEADER;
	__builtin_memcpy(h, b, 20);
	u32 first = be32(h[0]), word = be32(h[1]) & 0xffff, third = be32(h[2]);
	if (first >> 24 != 0x45)
		return first >> 28 == 4 ? OPTIONS : HEADER;
	if ((first & 0xffff) < 20 || (first & 0xffff) + l2 != ctx->len || fold((u64)h[0] + h[1] + h[2] + h[3] + h[4]) != 0xffff)
		return HEADER;
	if (word & 0x3fff)
		return FRAGMENT;
	w->tos = first >> 16;
	w->ttl = third >> 24;
	w->proto = third >> 16 & 0xff;
	w->len = (first & 0xffff) - 20;
	w->src4 = h[3];
	w->dst4 = h[4];
	if (w->ttl <= 1)
		return HOP_LIMIT;
	int why = transport(ctx, w, 20, ICMP4, 8, 0, SKB_GSO_TCPV4);
	if (why)
		return why;
	if (w->proto == TCP && w->tcp_flags & TCP_SYN)
		return TCP_FLAGS;
	if (w->proto == UDP && r->flags & LEAVE_UDP)
		return UDP_LEFT;
	int clat = from_clat(r, w);
	if (!by_prefix(r, clat ? w->dst4 : w->src4, slot))
		return REMOTE;
	/* RFC 7915 §4: without DF the packet may have to be cut, with DF to be answered. */
	if (40 + w->wire > (word & 0x4000 ? r->mtu6 : r->cut6))
		return SIZE;
	if (clat) {
		__builtin_memcpy(w->src6, r->clat6, 16);
		w->by = BY_HOST;
		why = embed(r, r->clat_prefix, w->dst4, w->dst6) ? 0 : REMOTE;
	} else {
		why = destination4(r, w, generation);
	}
	if (why)
		return why;
	if (!current(c, generation))
		return CHANGED;

	if (change_proto(ctx, be16(0x86dd), 0))
		return FAILED;
	u32 proto = w->proto == ICMP4 ? ICMP6 : w->proto;
	u8 tos = (w->tos & r->keep_4to6) | r->set_4to6;
	u32 n[10] = {be32(6u << 28 | (u32)tos << 20), be32(w->len << 16 | proto << 8 | (u32)(w->ttl - 1)),
		     w->src6[0], w->src6[1], w->src6[2], w->src6[3], w->dst6[0], w->dst6[1], w->dst6[2], w->dst6[3]};
	if (store_bytes(ctx, l2, n, 40, RECOMPUTE_CSUM))
		return DROPPED;
	u64 pseudo = sum6(w->src6) + sum6(w->dst6);
	if (w->proto == ICMP4)
		pseudo += (u64)be32(w->len) + be32(ICMP6); /* ICMPv4 has no pseudo-header */
	else
		pseudo += minus((u64)w->src4 + w->dst4);
	return rewrite(ctx, w, l2 + 40, pseudo, w->proto == ICMP4, w->icmp_type == 8 ? 128 : 129) ? w->by : DROPPED;
}

/* from6 takes an IPv6 packet through RFC 7915 §5. */
INLINE int from6(struct __sk_buff *ctx, const struct control *c, const struct rules *r, u32 slot, u32 generation, struct work *w)
{
	u32 h[10];
	void *b = header(ctx, l2, 40);
	if (!b)
		return HEADER;
	__builtin_memcpy(h, b, 40);
	u32 first = be32(h[0]), second = be32(h[1]), number = 0;
	w->len = second >> 16;
	if (first >> 28 != 6 || w->len + 40 + l2 != ctx->len)
		return HEADER;
	w->tos = first >> 20;
	w->proto = second >> 8 & 0xff;
	w->ttl = second;
	__builtin_memcpy(w->src6, h + 2, 16);
	__builtin_memcpy(w->dst6, h + 6, 16);
	if (w->ttl <= 1)
		return HOP_LIMIT;
	int why = transport(ctx, w, 40, ICMP6, 128, 129, SKB_GSO_TCPV6);
	if (why)
		return why;
	if (w->proto == TCP && w->tcp_flags & TCP_SYN)
		return TCP_FLAGS;
	if (w->proto == UDP && r->flags & LEAVE_UDP)
		return UDP_LEFT;
	int clat = to_clat(r, w);
	u32 peer;
	if (!extract(r, clat ? w->src6 : w->dst6, &peer, &number) || !by_prefix(r, peer, slot))
		return REMOTE;
	if (20 + w->wire > r->mtu4 || 20 + w->len > MAX_LEN)
		return SIZE;
	if (clat) {
		w->src4 = peer;
		w->dst4 = r->clat4;
		w->by = BY_HOST;
	} else {
		w->dst4 = peer;
		why = source6(r, w, number, generation);
	}
	if (why)
		return why;
	if (!current(c, generation))
		return CHANGED;

	if (change_proto(ctx, be16(0x0800), 0))
		return FAILED;
	u32 proto = w->proto == ICMP6 ? ICMP4 : w->proto;
	u32 df = 20 + w->wire > MAX_CLEAR_DF;
	u32 id = df ? prandom_u32() & 0xffff : identification(r, w->src4, w->dst4, proto, w->segments);
	u8 tos = (w->tos & r->keep_6to4) | r->set_6to4;
	u32 n[5] = {be32(0x45u << 24 | (u32)tos << 16 | (20 + w->len)), be32(id << 16 | (df ? 0x4000 : 0)),
		    be32((u32)(w->ttl - 1) << 24 | proto << 16), w->src4, w->dst4};
	u32 sum = ~fold((u64)n[0] + n[1] + n[2] + n[3] + n[4]) & 0xffff;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	n[2] |= sum << 16;
#else
	n[2] |= sum;
#endif
	if (store_bytes(ctx, l2, n, 20, RECOMPUTE_CSUM))
		return DROPPED;
	u64 addresses = sum6(w->src6) + sum6(w->dst6), pseudo;
	if (w->proto == ICMP6)
		pseudo = minus(addresses + be32(w->len) + be32(ICMP6));
	else
		pseudo = (u64)w->src4 + w->dst4 + minus(addresses);
	return rewrite(ctx, w, l2 + 20, pseudo, w->proto == ICMP6, w->icmp_type == 128 ? 8 : 0) ? w->by : DROPPED;
}

SEC("tc") int steppe(struct __sk_buff *ctx)
{
	u32 zero = 0;
	struct control *c = map_lookup(&control, &zero);
	if (!c)
		return TCX_NEXT;
	u32 generation = *(volatile u32 *)&c->generation, slot = generation & 1;
	struct rules *r = map_lookup(&rules, &slot);
	if (!generation || !r)
		return TCX_NEXT;

	struct work w = {};
	u32 len = ctx->len - l2, direction = 2;
	int why = FAMILY;
	w.segments = 1;
	if (ctx->protocol == be16(0x0800)) {
		direction = 0;
		why = from4(ctx, c, r, slot, generation, &w);
	} else if (ctx->protocol == be16(0x86dd)) {
		direction = 1;
		why = from6(ctx, c, r, slot, generation, &w);
	}

	u32 index = direction * 20 + (u32)why;
	struct count *n = map_lookup(&counts, &index);
	if (n) {
		n->packets++;
		n->bytes += len;
		n->segments += w.segments ? w.segments : 1;
	}
	switch (why) {
	case BY_HOST:
	case BY_SESSION:
		ctx->mark = 0; /* the daemon's packets have none */
		return redirect(ctx->ifindex, INGRESS);
	case DROPPED:
		return TCX_DROP;
	}
	return TCX_NEXT;
}

/* The helpers that read the kernel's own description of a packet are for programs under GPL. */
char gpl[] SEC("license") = "Dual MIT/GPL";
