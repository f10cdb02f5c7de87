/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Identifications of IPv4 packets without DF, RFC 6864 §4.3: a counter for each pair of
 * addresses and protocol, which begins at a secret hash of them. translate/ident.go says
 * why; the counters have its layout: a tag of 24 bits, 16 bits to begin with, a count of 24.
 */
#pragma once
#include "maps.h"

enum { CLOCK_SHIFT = 25, CLOCK_SLACK = 4, IDENT_SPAN = 1 << 16, COUNT_MASK = (1 << 24) - 1 };

struct pair { u64 hi, lo; };

INLINE struct pair mul64(u64 a, u64 b)
{
	u64 al = (u32)a, ah = a >> 32, bl = (u32)b, bh = b >> 32;
	u64 ll = al * bl, lh = al * bh, hl = ah * bl;
	u64 mid = (ll >> 32) + (u32)lh + (u32)hl;
	return (struct pair){ah * bh + (lh >> 32) + (hl >> 32) + (mid >> 32), a * b};
}

INLINE u64 rol(u64 x, int n) { return x << n | x >> (64 - n); }

struct sip { u64 a, b, c, d; };

INLINE void sip_round(struct sip *s)
{
	s->a += s->b;
	s->c += s->d;
	s->b = rol(s->b, 13) ^ s->a;
	s->d = rol(s->d, 16) ^ s->c;
	s->a = rol(s->a, 32) + s->d;
	s->c += s->b;
	s->b = rol(s->b, 17) ^ s->c;
	s->d = rol(s->d, 21) ^ s->a;
	s->c = rol(s->c, 32);
}

/* first is SipHash-1-3 of the addresses and the protocol. */
INLINE u64 ident_hash(const struct rules *r, u64 addresses, u64 proto)
{
	struct sip s = {r->ident_key[0] ^ 0x736f6d6570736575, r->ident_key[1] ^ 0x646f72616e646f6d,
			r->ident_key[0] ^ 0x6c7967656e657261, r->ident_key[1] ^ 0x7465646279746573};
	s.d ^= addresses;
	sip_round(&s);
	s.a ^= addresses;
	u64 last = 9ULL << 56 | proto; /* 9 bytes */
	s.d ^= last;
	sip_round(&s);
	s.a ^= last;
	s.c ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.a ^ s.b ^ s.c ^ s.d;
}

/* ahead is how far a count is ahead of the clock. Counts come round in six days. */
INLINE s32 ahead(u64 counter, u32 clock) { return (s32)(((u32)counter - clock) << 8) >> 8; }

INLINE int in_use(u64 counter, u32 clock)
{
	return counter && (u32)(ahead(counter, clock) + CLOCK_SLACK - 1) < 2 * IDENT_SPAN;
}

INLINE u64 counted(u64 counter, u32 count) { return (counter & ~(u64)COUNT_MASK) | (count & COUNT_MASK); }

/* identification returns the first of n values in a row. */
INLINE u16 identification(const struct rules *r, u32 src, u32 dst, u32 proto, u32 n)
{
	u64 addresses = (u64)be32(src) << 32 | be32(dst);
	struct pair p = mul64(addresses ^ r->ident_places[0], (r->ident_places[1] ^ (u64)proto << 1) | 1);
	u64 hash = p.hi ^ p.lo;
	hash ^= hash >> 32;
	hash *= 0x9e3779b97f4a7c15;
	u32 place = hash >> 48, index = place >> 3, clock = (ktime_coarse_ns() - r->clock_start) >> CLOCK_SHIFT;
	u64 tag = ((hash >> 24) & COUNT_MASK) | 1;
	struct ident_set *set = map_lookup(&idents, &index);
	if (!set)
		return prandom_u32();

	for (int try = 0; try < 4; try++) {
		u64 *at = 0, *unused = 0;
		for (u32 i = 0; i < 8; i++) {
			u64 *way = &set->counter[(place + i) & 7], c = *(volatile u64 *)way;
			if (c >> 40 == tag) {
				at = way;
				break;
			}
			if (!unused && !in_use(c, clock))
				unused = way;
		}
		u64 was, next;
		if (at) {
			was = *(volatile u64 *)at;
			if (was >> 40 != tag)
				continue;
			s32 d = ahead(was, clock);
			next = counted(was, d <= 0 ? clock : clock + (u32)(d - 1) % IDENT_SPAN + 1);
		} else if (unused) {
			at = unused;
			was = *(volatile u64 *)at;
			if (in_use(was, clock))
				continue;
			u64 begin = (u16)ident_hash(r, addresses, proto);
			next = counted(tag << 40 | begin << 24, clock);
		} else {
			break; /* others have the whole set: they must not notice */
		}
		if (__sync_val_compare_and_swap(at, was, counted(next, (u32)next + n)) == was)
			return (u16)(next >> 24) + (u16)next;
	}
	return prandom_u32();
}
