/* Nothing: what a call of a program costs. */
#include "common.h"
u64 empty(struct context *ctx)
{
	(void)ctx;
	return 7;
}
