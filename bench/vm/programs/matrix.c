/* A product of two 16 × 16 matrices of 32-bit numbers. */
#include "common.h"
u64 matrix(struct context *ctx)
{
	u32 *a = (u32 *)ctx->data, *b = a + 256, *c = b + 256;
	u64 check = 0;
	for (u32 i = 0; i < 16; i++) {
		for (u32 j = 0; j < 16; j++) {
			u32 sum = 0;
#pragma clang loop unroll(disable) vectorize(disable)
			for (u32 k = 0; k < 16; k++)
				sum += a[16 * i + k] * b[16 * k + j];
			c[16 * i + j] = sum;
			check = check * 7 + sum;
		}
	}
	return check;
}
