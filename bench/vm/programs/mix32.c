/* The final mix of Bob Jenkins' lookup3: 32-bit arithmetic with rotations. */
#include "common.h"
#define ROTATE(x, by) (((x) << (by)) | ((x) >> (32 - (by))))
u64 mix32(struct context *ctx)
{
	u32 a = ctx->a, b = ctx->b, c = ctx->c;
	for (u32 i = ctx->n; i != 0; i--) {
		c ^= b; c -= ROTATE(b, 14);
		a ^= c; a -= ROTATE(c, 11);
		b ^= a; b -= ROTATE(a, 25);
		c ^= b; c -= ROTATE(b, 16);
		a ^= c; a -= ROTATE(c, 4);
		b ^= a; b -= ROTATE(a, 14);
		c ^= b; c -= ROTATE(b, 24);
		a += i;
	}
	return ((u64)a << 32) ^ ((u64)b << 16) ^ c;
}
