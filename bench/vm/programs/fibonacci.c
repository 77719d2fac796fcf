/* Additions that depend on each other. */
#include "common.h"
u64 fibonacci(struct context *ctx)
{
	u64 a = 0, b = 1;
#pragma clang loop unroll(disable)
	for (u64 i = ctx->n; i != 0; i--) {
		u64 next = a + b;
		a = b;
		b = next;
	}
	return a;
}
