/* What the programs that the verifier's benchmark verifies share: types, a packet's context, helpers by number. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

struct __sk_buff {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority;
	u32 ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end;
};

#define NOINLINE __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))

static u32 (*get_prandom_u32)(void) = (void *)7;
static s64 (*skb_load_bytes)(const struct __sk_buff *skb, u32 offset, void *to, u32 len) = (void *)26;
