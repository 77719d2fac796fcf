/* A state machine over random input: jumps that cannot be predicted. */
#include "common.h"
u64 machine(struct context *ctx)
{
	u64 x = ctx->a, out = 0;
	u32 state = 0;
	for (u64 i = ctx->n; i != 0; i--) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		u32 input = (x >> 60) & 7;
		if (state == 0) {
			if (input & 1) { out ^= 3; } else { out += 1; state = 1; }
		} else if (state == 1) {
			if (input < 3) { out += input; state = 2; } else { out -= 1; state = 0; }
		} else if (state == 2) {
			if (input >= 4) { out += 5; state = 3; } else if (input == 1) { state = 1; } else { out <<= 1; }
		} else {
			out += 11;
			state = 0;
		}
	}
	return out ^ ((u64)state << 32);
}
