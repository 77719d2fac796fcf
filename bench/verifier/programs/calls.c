/* Functions of the program that call each other, walked at each call. */
#include "common.h"

static NOINLINE u32 mix(u32 a, u32 b, u32 c)
{
	a -= c;
	a ^= (c << 4) | (c >> 28);
	c += b;
	b -= a;
	b ^= (a << 6) | (a >> 26);
	return a + b + c;
}

static NOINLINE u32 classify(u32 a, u32 b)
{
	u32 kind = 0;

	if (a > 1000)
		kind |= 1;
	if (b & 0x80)
		kind |= 2;
	if ((a ^ b) % 7 == 3)
		kind |= 4;
	return mix(a, b, kind);
}

static NOINLINE u32 scan(struct __sk_buff *skb, u32 at)
{
	u8 bytes[32] = {};
	u32 sum = 0;

	if (skb_load_bytes(skb, at & 0xff, bytes, sizeof(bytes)) < 0)
		return 0;
	for (int i = 0; i < 16; i++) {
		u32 kind = classify(bytes[i] + at, bytes[i + 1]);
		if (kind & 1)
			sum += kind;
		else
			sum ^= bytes[i + 2];
	}
	return sum;
}

__attribute__((section("classifier"))) int calls(struct __sk_buff *skb)
{
	u32 sum = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 32; i++)
		sum += scan(skb, i * 8 + (get_prandom_u32() & 3));
	skb->mark = sum;
	return 0;
}
