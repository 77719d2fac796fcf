/* A TCP segment parsed and summed as a filter does it: Ethernet, IPv4, TCP, checksum, lines of the payload. */
#include "common.h"
#define SWAP16(x) __builtin_bswap16(x)
#define SWAP32(x) __builtin_bswap32(x)
u64 packet(struct context *ctx)
{
	u8 *start = ctx->data, *end = start + ctx->n;
	if (start + 54 > end || SWAP16(*(u16 *)(start + 12)) != 0x0800)
		return 1;
	u8 *ip = start + 14;
	u32 header = (ip[0] & 15) * 4;
	if (header < 20 || ip[9] != 6 || ip + header + 20 > end)
		return 2;
	u8 *tcp = ip + header;
	u64 ports = ((u64)SWAP16(*(u16 *)tcp) << 16) | SWAP16(*(u16 *)(tcp + 2));
	u64 hosts = ((u64)SWAP32(*(u32 *)(ip + 12)) << 32) | SWAP32(*(u32 *)(ip + 16));
	u64 sum = 0;
#pragma clang loop unroll(disable) vectorize(disable)
	for (u8 *at = ip; at + 2 <= end; at += 2)
		sum += *(u16 *)at;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	u64 lines = 0;
#pragma clang loop unroll(disable) vectorize(disable)
	for (u8 *at = tcp + (tcp[12] >> 4) * 4; at + 1 < end; at++)
		if (at[0] == '\r' && at[1] == '\n')
			lines++;
	return sum ^ (ports << 8) ^ (hosts << 3) ^ (lines << 48);
}
