/* Byte loads in a loop: Adler-32 without its modulo. */
#include "common.h"
u64 sum_bytes(struct context *ctx)
{
	u64 a = 1, b = 0, n = ctx->n;
#pragma clang loop unroll(disable)
	for (u64 i = 0; i < n; i++) {
		a += ctx->data[i];
		b += a;
	}
	return (b << 32) ^ a;
}
