/* Calls of small functions, two deep. */
#include "common.h"
static u64 leaf(u64 a, u64 b);
static u64 node(u64 a, u64 b, u64 c);
u64 calls(struct context *ctx)
{
	u64 x = ctx->a, n = ctx->n;
	for (u64 i = 0; i < n; i++)
		x = node(x, i, ctx->b);
	return x;
}
static NOINLINE u64 node(u64 a, u64 b, u64 c)
{
	u64 x = leaf(a + c, b);
	if (x & 1)
		x = leaf(x, c);
	return x ^ (x >> 29);
}
static NOINLINE u64 leaf(u64 a, u64 b)
{
	return (a ^ (b >> 3)) * 0x9e3779b97f4a7c15ULL;
}
