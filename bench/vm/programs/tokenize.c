/* JSON split into tokens: a state per byte. */
#include "common.h"
enum { VALUE, STRING, ESCAPE, NUMBER, WORD };
u64 tokenize(struct context *ctx)
{
	u64 n = ctx->n, number = 0, strings = 0, numbers = 0, words = 0;
	u32 state = VALUE, depth = 0, deepest = 0, errors = 0;
	for (u64 i = 0; i < n; i++) {
		u8 c = ctx->data[i];
		if (state == STRING) {
			if (c == '\\') state = ESCAPE; else if (c == '"') state = VALUE;
			continue;
		}
		if (state == ESCAPE) { state = STRING; continue; }
		if (state == NUMBER) {
			if (c >= '0' && c <= '9') { number = number * 10 + (c - '0'); continue; }
			if (c == '.') continue;
			state = VALUE;
		} else if (state == WORD) {
			if (c >= 'a' && c <= 'z') continue;
			state = VALUE;
		}
		if (c == '{' || c == '[') { if (++depth > deepest) deepest = depth; }
		else if (c == '}' || c == ']') { if (depth) depth--; else errors++; }
		else if (c == '"') { state = STRING; strings++; }
		else if (c == '-' || (c >= '0' && c <= '9')) { state = NUMBER; numbers++; number += c; }
		else if (c >= 'a' && c <= 'z') { state = WORD; words++; }
		else if (c != ' ' && c != ',' && c != ':' && c != '\n') errors++;
	}
	return number ^ (strings << 40) ^ (numbers << 20) ^ (words << 10) ^ deepest ^ ((u64)errors << 56);
}
