/* Marsaglia's xorshift, 64 bits: shifts and exclusive ors that depend on each other. */
#include "common.h"
u64 xorshift(struct context *ctx)
{
	u64 x = ctx->a, sum = 0;
	for (u64 i = ctx->n; i != 0; i--) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		sum += x;
	}
	return x ^ sum;
}
