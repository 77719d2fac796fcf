/* One block of SHA-256 (FIPS 180-4), the schedule on the stack, the round constants in the context. */
#include "common.h"
#define ROTATE(x, by) (((x) >> (by)) | ((x) << (32 - (by))))
u64 sha256(struct context *ctx)
{
	u32 *k = (u32 *)ctx->data, *block = k + 64, w[64];
	for (int i = 0; i < 16; i++)
		w[i] = __builtin_bswap32(block[i]);
#pragma clang loop unroll(disable)
	for (int i = 16; i < 64; i++) {
		u32 x = w[i - 15], y = w[i - 2];
		w[i] = w[i - 16] + (ROTATE(x, 7) ^ ROTATE(x, 18) ^ (x >> 3)) + w[i - 7] + (ROTATE(y, 17) ^ ROTATE(y, 19) ^ (y >> 10));
	}
	u32 a = 0x6a09e667, b = 0xbb67ae85, c = 0x3c6ef372, d = 0xa54ff53a;
	u32 e = 0x510e527f, f = 0x9b05688c, g = 0x1f83d9ab, h = 0x5be0cd19;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 64; i++) {
		u32 first = h + (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
		u32 second = (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
		h = g; g = f; f = e; e = d + first;
		d = c; c = b; b = a; a = first + second;
	}
	ctx->out[0] = ((u64)a << 32) | b;
	ctx->out[1] = ((u64)e << 32) | f;
	return ((u64)(a ^ b ^ c ^ d) << 32) | (e ^ f ^ g ^ h);
}
