/* Division and remainder by a variable, both widths. */
#include "common.h"
u64 divide(struct context *ctx)
{
	u64 x = ctx->a, sum = 0;
	for (u64 i = ctx->n; i != 0; i--) {
		sum += x / i;
		sum ^= x % i;
		sum += (u32)sum / (u32)i;
		sum += (u32)x % (u32)i;
		x += sum;
	}
	return sum;
}
