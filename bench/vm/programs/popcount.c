/* Bits of words, counted without an instruction for it. */
#include "common.h"
u64 popcount(struct context *ctx)
{
	u64 *words = (u64 *)ctx->data, total = 0;
#pragma clang loop unroll(disable) vectorize(disable)
	for (u64 i = 0; i < ctx->n; i++) {
		u64 x = words[i];
		x -= (x >> 1) & 0x5555555555555555ULL;
		x = (x & 0x3333333333333333ULL) + ((x >> 2) & 0x3333333333333333ULL);
		x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
		total += (x * 0x0101010101010101ULL) >> 56;
	}
	return total;
}
