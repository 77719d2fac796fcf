/* SipHash-2-4 (Aumasson and Bernstein) of whole words. */
#include "common.h"
#define ROTATE(x, by) (((x) << (by)) | ((x) >> (64 - (by))))
#define ROUND do { \
	v0 += v1; v1 = ROTATE(v1, 13) ^ v0; v0 = ROTATE(v0, 32); \
	v2 += v3; v3 = ROTATE(v3, 16) ^ v2; \
	v0 += v3; v3 = ROTATE(v3, 21) ^ v0; \
	v2 += v1; v1 = ROTATE(v1, 17) ^ v2; v2 = ROTATE(v2, 32); \
} while (0)
u64 siphash(struct context *ctx)
{
	u64 *words = (u64 *)ctx->data, n = ctx->n;
	u64 v0 = ctx->a ^ 0x736f6d6570736575ULL, v1 = ctx->b ^ 0x646f72616e646f6dULL;
	u64 v2 = ctx->a ^ 0x6c7967656e657261ULL, v3 = ctx->b ^ 0x7465646279746573ULL;
	for (u64 i = 0; i < n; i++) {
		u64 word = words[i];
		v3 ^= word;
		ROUND; ROUND;
		v0 ^= word;
	}
	v3 ^= n << 59;
	ROUND; ROUND;
	v0 ^= n << 59;
	v2 ^= 0xff;
	ROUND; ROUND; ROUND; ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}
