/* Loads and stores in a loop, with an operation between, backwards. */
#include "common.h"
u64 copy_words(struct context *ctx)
{
	u32 *words = (u32 *)ctx->data;
	u64 n = ctx->n, last = 0;
#pragma clang loop unroll(disable) vectorize(disable)
	for (u64 i = 0; i < n; i++) {
		u32 word = words[i] * 2654435761u + last;
		words[n + i] = word;
		last = word;
	}
	return last;
}
