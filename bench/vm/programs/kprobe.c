/* What a program on a probe does: a filter, a difference, a few stores. About twenty instructions. */
#include "common.h"
u64 kprobe(struct context *ctx)
{
	volatile u64 slot[2];
	if (ctx->n == 0 || (u32)ctx->c != 42)
		return 0;
	u64 delta = ctx->a - ctx->b;
	if ((s64)delta < 4096)
		delta++;
	slot[0] = delta;
	slot[1] = ctx->c;
	ctx->out[0] += slot[0];
	ctx->out[1] = slot[1];
	return 1;
}
