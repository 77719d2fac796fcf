/* A hash map as a histogram; half of the keys are in it. */
#include "common.h"
u64 hash_histogram(struct context *ctx)
{
	u64 n = ctx->n, missing = 0;
	for (u64 i = 0; i < n; i++) {
		u64 key = i & 1023;
		u64 *value = map_lookup(HASH_MAP, &key);
		if (value)
			*value += i;
		else
			missing++;
	}
	return missing;
}
