/* Loops in loops with known bounds: every turn is walked. */
#include "common.h"

__attribute__((section("classifier"))) int turns(struct __sk_buff *skb)
{
	u32 table[64];
	u64 sum = skb->len;

	for (int i = 0; i < 64; i++)
		table[i] = sum * 2654435761u + i;
#pragma clang loop unroll(disable)
	for (int round = 0; round < 60; round++) {
#pragma clang loop unroll(disable)
		for (int i = 0; i < 64; i++) {
			u32 at = (table[i] + round) & 63;
			u32 old = *(volatile u32 *)&table[at];
			sum += old ^ (sum << 7) ^ (sum >> 3);
			*(volatile u32 *)&table[i] = (u32)sum;
			if (old & 1)
				sum ^= 0x9e3779b97f4a7c15ull;
		}
	}
	skb->mark = sum;
	return 0;
}
