/* A packet's headers, one after the other: VLAN tags, IPv4 options, IPv6 extensions, TCP options, each in a bounded loop. */
#include "common.h"

#define AT(type, offset) ((type *)(data + (offset)))
#define NEED(bytes)                                                                                          \
	if (data + (bytes) > end)                                                                            \
		return 0

static u32 options(u8 *data, u8 *end, u32 left)
{
	u32 found = 0;

	for (int i = 0; i < 12 && left > 1; i++) {
		NEED(2);
		u8 kind = data[0], length = data[1];
		if (kind == 0)
			break;
		if (kind == 1) {
			data += 1;
			left -= 1;
			continue;
		}
		if (length < 2 || length > left)
			break;
		if (kind == 2 && length == 4) {
			NEED(4);
			found |= *AT(u16, 2);
		} else if (kind == 8 && length == 10) {
			NEED(10);
			found ^= *AT(u32, 2);
		} else if (kind == 3) {
			NEED(3);
			found += data[2] & 15;
		}
		data += length;
		left -= length;
	}
	return found;
}

__attribute__((section("classifier"))) int headers(struct __sk_buff *skb)
{
	u8 *data = (u8 *)(u64)skb->data, *end = (u8 *)(u64)skb->data_end;
	u32 sum = 0;

	NEED(14);
	u16 type = *AT(u16, 12);
	data += 14;
	for (int i = 0; i < 4 && (type == 0x0081 || type == 0xa888); i++) {
		NEED(4);
		type = *AT(u16, 2);
		sum += *AT(u16, 0) & 0xfff;
		data += 4;
	}
	u8 next = 0;
	if (type == 0x0008) {
		NEED(20);
		u32 length = (data[0] & 15) * 4;
		next = data[9];
		sum ^= *AT(u32, 12) + *AT(u32, 16);
		if (length > 20)
			sum += options(data + 20, end, length - 20);
		data += length;
	} else if (type == 0xdd86) {
		NEED(40);
		next = data[6];
		for (int i = 0; i < 4; i++)
			sum += *AT(u32, 8 + 4 * i) ^ *AT(u32, 24 + 4 * i);
		data += 40;
		for (int i = 0; i < 6 && (next == 0 || next == 43 || next == 44 || next == 60); i++) {
			NEED(8);
			u8 kind = next;
			next = data[0];
			data += kind == 44 ? 8 : 8 + (data[1] & 31) * 8;
		}
	}
	if (next == 6) {
		NEED(20);
		u32 length = (data[12] >> 4) * 4;
		sum += *AT(u16, 0) * 31 + *AT(u16, 2);
		if (length > 20 && length <= 60)
			sum ^= options(data + 20, end, length - 20);
	} else if (next == 17) {
		NEED(8);
		sum += *AT(u16, 0) ^ *AT(u16, 2);
	}
	skb->mark = sum;
	return 0;
}
