/* Words, numbers and strings of a text on the stack: a state machine whose states the verifier must tell apart. */
#include "common.h"

__attribute__((section("classifier"))) int tokens(struct __sk_buff *skb)
{
	char text[256];
	u32 words = 0, numbers = 0, strings = 0, value = 0, state = 0;

	if (skb_load_bytes(skb, 0, text, sizeof(text)) < 0)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 256; i++) {
		char c = text[i];
		if (state == 3) {
			if (c == '\\')
				state = 4;
			else if (c == '"')
				state = 0;
		} else if (state == 4) {
			state = 3;
		} else if (c >= '0' && c <= '9') {
			if (state == 0)
				numbers++;
			state = state == 1 ? 1 : 2;
			value = value * 10 + (c - '0');
		} else if ((c | 32) >= 'a' && (c | 32) <= 'z') {
			if (state != 1)
				words++;
			state = 1;
		} else if (c == '"') {
			strings++;
			state = 3;
		} else if (c == 0) {
			break;
		} else {
			state = 0;
		}
	}
	skb->mark = words + numbers * 256 + strings * 65536 + value;
	return 0;
}
