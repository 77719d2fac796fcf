/**
 * The memory that every engine runs the benchmark programs on: where context, stack and maps are, and what they hold at first.
 *
 * `server.c` and `programs/common.h` have the same numbers. Interface: `WORLD`, `makeImage`, `SHAPES`.
 */
import type { MapShape } from "@alien-ts/bpf-vm";

export const WORLD = {
  bytes: 0x6_0000,
  stackTop: 0x1_8000,
  scratch: 0x1_9000,
  context: 0x2_0000,
  arrayMap: 0x3_0000,
  hashMap: 0x4_0000,
  ring: 0x5_0000,
} as const;

const ARRAY_VALUES = 0x3_1000;
const BUCKETS = 0x4_1000;
const BUCKET_COUNT = 1024;
const LINKS = 0x4_4000;
const LINK_BYTES = 24;
const DATA = 0x4_c000;
const SEED = 0x5eed;
const ELEMENTS = 512;
/** Words of the hash map: its free elements (none), its spare one, its length. */
const WRITES = {
  free: 0x4_0100,
  spare: 0x4_0104,
  count: 0x4_0108,
  maxEntries: ELEMENTS,
  valueBytes: 8,
} as const;
/** Pages as Linux has them; the data are 16 KiB. */
export const RING_LAYOUT = { mask: 0, pending: 8, consumer: 0x1000, producer: 0x2000, data: 0x3000 } as const;
const RING_BYTES = 0x4000;

export const SHAPES: ReadonlyMap<number, MapShape> = new Map<number, MapShape>([
  [WORLD.arrayMap, { kind: "array", values: ARRAY_VALUES, stride: 8, maxEntries: 256, valueBytes: 8 }],
  [
    WORLD.hashMap,
    {
      kind: "hash",
      buckets: BUCKETS,
      bucketCount: BUCKET_COUNT,
      seed: SEED,
      keyBytes: 8,
      valueOffset: 8,
      writes: WRITES,
    },
  ],
  [WORLD.ring, { kind: "ring", base: WORLD.ring, sizeBytes: RING_BYTES, layout: RING_LAYOUT }],
]);

/** The bytes from the context on: a context, an empty array, a hash map with the even keys below 1024, an empty ring. */
export function makeImage(context: Uint8Array): Uint8Array {
  const image = new Uint8Array(WORLD.bytes - WORLD.context);
  image.set(context);
  const words = new Uint32Array(image.buffer);
  const at = (address: number): number => (address - WORLD.context) >> 2;
  for (let i = 0; i < ELEMENTS; i++) {
    const key = 2 * i;
    const hash = hashOf(key, 0);
    const link = LINKS + i * LINK_BYTES;
    const data = DATA + i * 16;
    const bucket = at(BUCKETS) + (hash & (BUCKET_COUNT - 1));
    words[at(data)] = key;
    words[at(data) + 2] = key * 10;
    words.set([words[bucket]!, hash, data], at(link));
    words[bucket] = link;
  }
  const spare = LINKS + ELEMENTS * LINK_BYTES;
  words[at(spare) + 2] = DATA + ELEMENTS * 16;
  words[at(WRITES.spare)] = spare;
  words[at(WRITES.count)] = ELEMENTS;
  words[at(WORLD.ring + RING_LAYOUT.mask)] = RING_BYTES - 1;
  return image;
}

const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by));

/** MurmurHash3 of two words. */
function hashOf(...words: readonly number[]): number {
  let h = SEED ^ (words.length * 4);
  for (const word of words) {
    const k = Math.imul(rotate(Math.imul(word, 0xcc9e_2d51), 15), 0x1b87_3593);
    h = (Math.imul(rotate(h ^ k, 13), 5) + 0xe654_6b64) | 0;
  }
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** What the interpreter and a JIT without shapes call for `map_lookup`; 0 where there is no such key. */
export function lookUp(words: Int32Array, map: number, key: number): number {
  if (map === WORLD.arrayMap) {
    const index = words[key >> 2]!;
    return index >>> 0 < 256 ? ARRAY_VALUES + 8 * index : 0;
  }
  const [low, high] = [words[key >> 2]!, words[(key >> 2) + 1]!];
  const hash = hashOf2(low, high) | 0;
  let link = words[(BUCKETS >> 2) + (hash & (BUCKET_COUNT - 1))]!;
  while (link !== 0) {
    const data = words[(link >> 2) + 2]! >> 2;
    if (words[(link >> 2) + 1] === hash && words[data] === low && words[data + 1] === high)
      return (data << 2) + 8;
    link = words[link >> 2]!;
  }
  return 0;
}

/** `hashOf`, without an array per call. */
function hashOf2(low: number, high: number): number {
  let k = Math.imul(rotate(Math.imul(low, 0xcc9e_2d51), 15), 0x1b87_3593);
  let h = (Math.imul(rotate(SEED ^ 8 ^ k, 13), 5) + 0xe654_6b64) | 0;
  k = Math.imul(rotate(Math.imul(high, 0xcc9e_2d51), 15), 0x1b87_3593);
  h = (Math.imul(rotate(h ^ k, 13), 5) + 0xe654_6b64) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** FNV-1a over the words from the context on. */
export function hashWorld(words: Int32Array): string {
  let h = 0x811c_9dc5 | 0;
  for (let i = WORLD.context >> 2; i < WORLD.bytes >> 2; i++) h = Math.imul(h ^ words[i]!, 0x0100_0193);
  return (h >>> 0).toString(16);
}
