/* Branches that cannot be predicted, and multiplications. */
#include "common.h"
u64 collatz(struct context *ctx)
{
	u64 steps = 0;
	for (u64 start = 1; start <= ctx->n; start++) {
		u64 x = start;
		while (x != 1) {
			if (x & 1)
				x = 3 * x + 1;
			else
				x >>= 1;
			steps++;
		}
	}
	return steps;
}
