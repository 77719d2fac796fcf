/* 64-bit loads in a loop. */
#include "common.h"
u64 sum_words(struct context *ctx)
{
	u64 *words = (u64 *)ctx->data, sum = 0;
	u64 n = ctx->n;
#pragma clang loop unroll(disable)
	for (u64 i = 0; i < n; i++)
		sum += words[i] ^ i;
	return sum;
}
