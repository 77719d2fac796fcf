/* An array map as a histogram. */
#include "common.h"
u64 array_histogram(struct context *ctx)
{
	u64 n = ctx->n, seen = 0;
	for (u64 i = 0; i < n; i++) {
		u32 key = (u32)(i * 7) & 255;
		u64 *value = map_lookup(ARRAY_MAP, &key);
		if (value) {
			seen += *value;
			*value += 1;
		}
	}
	return seen;
}
