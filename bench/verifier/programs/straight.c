/* About a thousand instructions without a loop: four blocks of a hash, unrolled. */
#include "common.h"

#define ROTATE(x, by) (((x) << (by)) | ((x) >> (64 - (by))))
#define ROUND                                                                                                \
	do {                                                                                                 \
		v0 += v1;                                                                                    \
		v1 = ROTATE(v1, 13) ^ v0;                                                                    \
		v0 = ROTATE(v0, 32);                                                                         \
		v2 += v3;                                                                                    \
		v3 = ROTATE(v3, 16) ^ v2;                                                                    \
		v0 += v3;                                                                                    \
		v3 = ROTATE(v3, 21) ^ v0;                                                                    \
		v2 += v1;                                                                                    \
		v1 = ROTATE(v1, 17) ^ v2;                                                                    \
		v2 = ROTATE(v2, 32);                                                                         \
	} while (0)

__attribute__((section("classifier"))) int straight(struct __sk_buff *skb)
{
	u64 words[10];
	u64 v0 = 0x736f6d6570736575, v1 = 0x646f72616e646f6d, v2 = 0x6c7967656e657261, v3 = 0x7465646279746573;

	if (skb_load_bytes(skb, 0, words, sizeof(words)) < 0)
		return 0;
#pragma clang loop unroll(full)
	for (int i = 0; i < 10; i++) {
		v3 ^= words[i];
		ROUND;
		ROUND;
		v0 ^= words[i];
	}
	ROUND;
	ROUND;
	skb->mark = v0 ^ v1 ^ v2 ^ v3;
	return 0;
}
