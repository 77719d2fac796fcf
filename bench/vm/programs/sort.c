/* Insertion sort on the stack, then binary searches. */
#include "common.h"
u64 sort(struct context *ctx)
{
	u32 *from = (u32 *)ctx->data, sorted[64];
	for (int i = 0; i < 64; i++)
		sorted[i] = from[i];
	for (int i = 1; i < 64; i++) {
		u32 x = sorted[i];
		s64 at = i - 1;
		while (at >= 0 && sorted[at] > x) {
			sorted[at + 1] = sorted[at];
			at--;
		}
		sorted[at + 1] = x;
	}
	u64 sum = 0;
	for (int i = 0; i < 64; i++) {
		u32 low = 0, high = 63;
		while (low < high) {
			u32 middle = (low + high) / 2;
			if (sorted[middle] < from[i]) low = middle + 1; else high = middle;
		}
		sum = sum * 31 + low + sorted[i];
	}
	return sum;
}
