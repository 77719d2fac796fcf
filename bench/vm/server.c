/*
 * Runs the benchmark programs natively, and on ubpf where it is linked (-DWITH_UBPF). Driven by lines on standard input:
 * "load NAME FILE" loads a program's bytes, "run ENGINE NAME REPEATS MEMORY" runs it on the memory image in a file and prints
 * nanoseconds, r0 and a hash of the memory. Engines: native, jit, interpreter.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#ifdef WITH_UBPF
#include "ubpf.h"
#endif

enum { WORLD = 0x60000, CONTEXT = 0x20000, ARRAY_VALUES = 0x31000, ARRAY_ENTRIES = 256, BUCKETS = 0x41000, BUCKET_COUNT = 1024, SEED = 0x5eed };

static uint8_t *world;

typedef uint64_t (*program_fn)(void *ctx);
#define PROGRAM(name) uint64_t name(void *ctx);
#include "names.h"
#undef PROGRAM
#define PROGRAM(name) { #name, name },
static const struct { const char *name; program_fn run; } natives[] = {
#include "names.h"
	{ 0, 0 }
};

static uint32_t rotate(uint32_t x, int by) { return x << by | x >> (32 - by); }

static uint32_t hash_key(const uint32_t *key)
{
	uint32_t h = SEED ^ 8;
	for (int i = 0; i < 2; i++) {
		uint32_t k = rotate(key[i] * 0xcc9e2d51u, 15) * 0x1b873593u;
		h = rotate(h ^ k, 13) * 5 + 0xe6546b64u;
	}
	h = (h ^ h >> 16) * 0x85ebca6bu;
	h = (h ^ h >> 13) * 0xc2b2ae35u;
	return h ^ h >> 16;
}

__attribute__((noinline)) void *map_lookup(void *map, const void *key)
{
	if ((uint32_t)(uintptr_t)map == 0x30000) {
		uint32_t index = *(const uint32_t *)key;
		return index < ARRAY_ENTRIES ? world + ARRAY_VALUES + 8 * index : 0;
	}
	const uint32_t *words = key;
	uint32_t hash = hash_key(words);
	uint32_t at = ((uint32_t *)(world + BUCKETS))[hash & (BUCKET_COUNT - 1)];
	while (at) {
		const uint32_t *link = (uint32_t *)(world + at);
		const uint32_t *found = (uint32_t *)(world + link[2]);
		if (link[1] == hash && found[0] == words[0] && found[1] == words[1])
			return world + link[2] + 8;
		at = link[0];
	}
	return 0;
}

__attribute__((noinline)) uint64_t combine(uint64_t a, uint64_t b) { return (a ^ b) + 1; }

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t hash_world(void)
{
	uint32_t h = 0x811c9dc5u;
	const uint32_t *words = (const uint32_t *)(world + CONTEXT);
	for (int i = 0; i < (WORLD - CONTEXT) / 4; i++)
		h = (h ^ words[i]) * 0x01000193u;
	return h;
}

static void *read_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	if (!f) { perror(path); exit(1); }
	fseek(f, 0, SEEK_END);
	*size = ftell(f);
	rewind(f);
	void *bytes = malloc(*size);
	if (fread(bytes, 1, *size, f) != *size) exit(1);
	fclose(f);
	return bytes;
}

#ifdef WITH_UBPF
static struct { char name[64]; struct ubpf_vm *vm; ubpf_jit_fn fn; } loaded[64];
static int loaded_count;

static uint64_t helper_lookup(uint64_t map, uint64_t key) { return (uint64_t)map_lookup((void *)map, (void *)key); }

static void load(const char *name, const char *path)
{
	size_t size;
	char *error = 0;
	void *bytes = read_file(path, &size);
	struct ubpf_vm *vm = ubpf_create();
	ubpf_register(vm, 1, "map_lookup", (external_function_t)(void *)helper_lookup);
	ubpf_register(vm, 2, "combine", (external_function_t)(void *)combine);
	ubpf_toggle_bounds_check(vm, 0);
	uint64_t start = now();
	if (ubpf_load(vm, bytes, size, &error) < 0) { printf("error %s\n", error); fflush(stdout); return; }
	ubpf_jit_fn fn = ubpf_compile(vm, &error);
	uint64_t took = now() - start;
	if (!fn) { printf("error %s\n", error); fflush(stdout); return; }
	strncpy(loaded[loaded_count].name, name, 63);
	loaded[loaded_count].vm = vm;
	loaded[loaded_count++].fn = fn;
	printf("loaded %llu\n", (unsigned long long)took);
	fflush(stdout);
	free(bytes);
}
#endif

static void run(const char *engine, const char *name, long repeats, const char *memory)
{
	size_t size;
	void *image = read_file(memory, &size);
	memcpy(world + CONTEXT, image, size);
	free(image);
	void *ctx = world + CONTEXT;
	uint64_t r0 = 0, start = 0, end = 0;
	if (!strcmp(engine, "native")) {
		program_fn fn = 0;
		for (int i = 0; natives[i].name; i++)
			if (!strcmp(natives[i].name, name)) fn = natives[i].run;
		start = now();
		for (long i = 0; i < repeats; i++) r0 = fn(ctx);
		end = now();
	}
#ifdef WITH_UBPF
	for (int i = 0; i < loaded_count; i++) {
		if (strcmp(loaded[i].name, name)) continue;
		if (!strcmp(engine, "jit")) {
			ubpf_jit_fn fn = loaded[i].fn;
			start = now();
			for (long n = 0; n < repeats; n++) r0 = fn(ctx, 0x10000);
			end = now();
		} else if (!strcmp(engine, "interpreter")) {
			start = now();
			for (long n = 0; n < repeats; n++) ubpf_exec(loaded[i].vm, ctx, 0x10000, &r0);
			end = now();
		}
	}
#endif
	printf("%llu %llx %llx\n", (unsigned long long)(end - start), (unsigned long long)r0, (unsigned long long)hash_world());
	fflush(stdout);
}

int main(void)
{
	char line[4096], a[64], b[64], c[2048];
	long repeats;
	world = mmap(0, WORLD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "run %63s %63s %ld %2047s", a, b, &repeats, c) == 4) run(a, b, repeats, c);
#ifdef WITH_UBPF
		else if (sscanf(line, "load %63s %2047s", a, c) == 2) load(a, c);
#endif
	}
	return 0;
}
