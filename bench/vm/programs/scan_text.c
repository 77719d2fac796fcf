/* Words counted, a needle looked for, and a hash of the letters. */
#include "common.h"
u64 scan_text(struct context *ctx)
{
	u8 *text = ctx->data;
	u64 n = ctx->n, words = 0, hash = 5381, found = 0;
	u32 isInWord = 0;
	for (u64 i = 0; i + 3 < n; i++) {
		u8 c = text[i];
		u8 lower = c >= 'A' && c <= 'Z' ? c + 32 : c;
		hash = hash * 33 + lower;
		if (lower >= 'a' && lower <= 'z') {
			if (!isInWord)
				words++;
			isInWord = 1;
		} else {
			isInWord = 0;
		}
		if (c == 't' && text[i + 1] == 'r' && text[i + 2] == 'e' && text[i + 3] == 'e')
			found++;
	}
	return hash ^ (words << 40) ^ (found << 56);
}
