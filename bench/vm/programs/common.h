/* What the benchmark programs share: types, helpers, and the context: a header of eight words, then data. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

struct context {
	u64 n;
	u64 a;
	u64 b;
	u64 c;
	u64 out[4];
	u8 data[];
};

#define NOINLINE __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))

/* Maps are named by the addresses that bench/vm/world.ts gives them. */
#define ARRAY_MAP ((void *)0xffffffd600030000ULL)
#define HASH_MAP ((void *)0xffffffd600040000ULL)

#ifdef __bpf__
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static u64 (*combine)(u64 a, u64 b) = (void *)2;
#define ADD_TO(place, value) ((void)__sync_fetch_and_add(place, value))
#else
void *map_lookup(void *map, const void *key);
u64 combine(u64 a, u64 b);
/* As in the other engines, one thread runs programs. */
#define ADD_TO(place, value) ((void)(*(place) += (value)))
#endif
