/* Division and remainder by constants, as time conversions have them. */
#include "common.h"
u64 divide_constant(struct context *ctx)
{
	u64 x = ctx->a, sum = 0;
	for (u64 i = ctx->n; i != 0; i--) {
		sum += x / 1000;
		sum ^= x % 60;
		u32 tenth = (u32)x / 10;
		x += sum + (u32)sum % 7 + tenth;
	}
	return sum;
}
