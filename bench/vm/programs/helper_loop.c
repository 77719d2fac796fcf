/* Calls of a small helper. */
#include "common.h"
u64 helper_loop(struct context *ctx)
{
	u64 x = ctx->a, n = ctx->n;
	for (u64 i = 0; i < n; i++)
		x += combine(x, i);
	return x;
}
