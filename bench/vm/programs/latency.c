/* The latency of an event: its start from a hash map, a power of two as bucket of an array map. */
#include "common.h"
INLINE u32 log2_of(u64 x)
{
	u32 log = 0;
	if (x >> 32) { log += 32; x >>= 32; }
	if (x >> 16) { log += 16; x >>= 16; }
	if (x >> 8) { log += 8; x >>= 8; }
	if (x >> 4) { log += 4; x >>= 4; }
	if (x >> 2) { log += 2; x >>= 2; }
	return log + (u32)(x >> 1);
}
u64 latency(struct context *ctx)
{
	u64 key = (u32)ctx->b;
	u64 *start = map_lookup(HASH_MAP, &key);
	if (!start)
		return 1;
	u64 delta = ctx->a - *start;
	if ((s64)delta < 0)
		return 2;
	u32 bucket = log2_of(delta / 1000);
	u64 *count = map_lookup(ARRAY_MAP, &bucket);
	if (!count)
		return 3;
	ADD_TO(count, 1);
	return bucket;
}
