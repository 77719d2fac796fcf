/**
 * Typed maps: views of a `MapData` with codecs for keys and values. Aya's `HashMap`, `Array`, `PerCpuHashMap`,
 * `PerCpuArray` (the LRU forms are the same), `Queue`, `Stack`.
 *
 * A view is made from a map of the right type whose key and value sizes are those of the codecs; anything else throws
 * `MapError`. A key that is not there is `KeyNotFound` in `get`, and undefined in `find`.
 */
import type { BPF_MAP_TYPE } from "@alien-ts/abi";
import { MapError } from "../errors.ts";
import { decodeValue, encodeValue, u32 } from "../codec.ts";
import type { Codec } from "../codec.ts";
import { nrCpus } from "../util.ts";
import type { MapData } from "./map-data.ts";

type TypeName = keyof typeof BPF_MAP_TYPE;

/** Values of a per-CPU map are padded to this. */
const PER_CPU_UNIT = 8;

function checkSizes(map: MapData, keySize: number | undefined, valueSize: number): void {
  const { definition } = map;
  if (keySize !== undefined && definition.keySize !== keySize)
    throw new MapError(
      "InvalidKeySize",
      `map ${map.name}: key has ${definition.keySize} bytes, the codec ${keySize}`,
    );
  if (definition.valueSize !== valueSize)
    throw new MapError(
      "InvalidValueSize",
      `map ${map.name}: value has ${definition.valueSize} bytes, the codec ${valueSize}`,
    );
}

/** What maps with keys have in common; V is the value as the user sees it. */
abstract class KeyedMap<K, V> {
  readonly map: MapData;
  readonly keyCodec: Codec<K>;

  constructor(
    map: MapData,
    types: readonly TypeName[],
    codecs: { readonly key: Codec<K>; readonly valueSize: number },
  ) {
    map.expectType(...types);
    checkSizes(map, codecs.key.size, codecs.valueSize);
    this.map = map;
    this.keyCodec = codecs.key;
  }

  protected abstract valueBytes(): Promise<number>;
  protected abstract decode(bytes: Uint8Array): V;
  protected abstract encode(value: V): Promise<Uint8Array>;

  /** The value, or undefined where the key is not there. */
  async find(key: K, flags = 0): Promise<V | undefined> {
    const bytes = await this.map.lookup(encodeValue(this.keyCodec, key), await this.valueBytes(), flags);
    return bytes === undefined ? undefined : this.decode(bytes);
  }

  /** The value; throws `KeyNotFound`. */
  async get(key: K, flags = 0): Promise<V> {
    const value = await this.find(key, flags);
    if (value === undefined)
      throw new MapError("KeyNotFound", `map ${this.map.name}: key ${show(key)} not found`);
    return value;
  }

  /** Keys in the kernel's order. */
  async *keys(): AsyncGenerator<K> {
    for await (const key of this.map.keys()) yield decodeValue(this.keyCodec, key);
  }

  /** Entries; keys that vanish between the two calls are skipped. */
  async *entries(): AsyncGenerator<readonly [K, V]> {
    for await (const key of this.map.keys()) {
      const bytes = await this.map.lookup(key, await this.valueBytes());
      if (bytes !== undefined) yield [decodeValue(this.keyCodec, key), this.decode(bytes)];
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<readonly [K, V]> {
    return this.entries();
  }

  protected async put(key: K, value: V, flags: number): Promise<void> {
    await this.map.update(encodeValue(this.keyCodec, key), await this.encode(value), flags);
  }
}

/** Values of one CPU or none. */
abstract class PlainMap<K, V> extends KeyedMap<K, V> {
  readonly valueCodec: Codec<V>;

  constructor(
    map: MapData,
    types: readonly TypeName[],
    codecs: { readonly key: Codec<K>; readonly value: Codec<V> },
  ) {
    super(map, types, { key: codecs.key, valueSize: codecs.value.size });
    this.valueCodec = codecs.value;
  }

  protected async valueBytes(): Promise<number> {
    return this.valueCodec.size;
  }

  protected decode(bytes: Uint8Array): V {
    return decodeValue(this.valueCodec, bytes);
  }

  protected async encode(value: V): Promise<Uint8Array> {
    return encodeValue(this.valueCodec, value);
  }
}

/** One value per possible CPU. */
abstract class PerCpuMap<K, V> extends KeyedMap<K, V[]> {
  readonly valueCodec: Codec<V>;
  readonly #stride: number;
  #cpus: number | undefined;

  constructor(
    map: MapData,
    types: readonly TypeName[],
    codecs: { readonly key: Codec<K>; readonly value: Codec<V> },
  ) {
    super(map, types, { key: codecs.key, valueSize: codecs.value.size });
    this.valueCodec = codecs.value;
    this.#stride = Math.ceil(codecs.value.size / PER_CPU_UNIT) * PER_CPU_UNIT;
  }

  protected async valueBytes(): Promise<number> {
    this.#cpus ??= await nrCpus(this.map.sys);
    return this.#cpus * this.#stride;
  }

  protected decode(bytes: Uint8Array): V[] {
    return Array.from({ length: bytes.length / this.#stride }, (_, cpu) =>
      decodeValue(
        this.valueCodec,
        bytes.subarray(cpu * this.#stride, cpu * this.#stride + this.valueCodec.size),
      ),
    );
  }

  protected async encode(values: V[]): Promise<Uint8Array> {
    const out = new Uint8Array(await this.valueBytes());
    if (values.length * this.#stride !== out.length)
      throw new MapError(
        "InvalidValueStride",
        `map ${this.map.name}: expected ${out.length / this.#stride} values, one per CPU, found ${values.length}`,
      );
    values.forEach((value, cpu) => out.set(encodeValue(this.valueCodec, value), cpu * this.#stride));
    return out;
  }
}

/** BPF_MAP_TYPE_HASH, LRU_HASH. */
export class HashMap<K, V> extends PlainMap<K, V> {
  constructor(map: MapData, key: Codec<K>, value: Codec<V>) {
    super(map, ["HASH", "LRU_HASH"], { key, value });
  }

  /** @param flags BPF_ELEM.ANY, NOEXIST (EEXIST where the key is there) or EXIST (ENOENT where it is not). */
  insert(key: K, value: V, flags = 0): Promise<void> {
    return this.put(key, value, flags);
  }

  /** Throws ENOENT as a `SyscallError` where the key is not there, as Aya does. */
  remove(key: K): Promise<void> {
    return this.map.delete(encodeValue(this.keyCodec, key));
  }
}

/** BPF_MAP_TYPE_PERCPU_HASH, LRU_PERCPU_HASH. */
export class PerCpuHashMap<K, V> extends PerCpuMap<K, V> {
  constructor(map: MapData, key: Codec<K>, value: Codec<V>) {
    super(map, ["PERCPU_HASH", "LRU_PERCPU_HASH"], { key, value });
  }

  insert(key: K, values: V[], flags = 0): Promise<void> {
    return this.put(key, values, flags);
  }

  remove(key: K): Promise<void> {
    return this.map.delete(encodeValue(this.keyCodec, key));
  }
}

/** BPF_MAP_TYPE_ARRAY. Named so that JavaScript's `Array` stays what it is. */
export class ArrayMap<V> extends PlainMap<number, V> {
  constructor(map: MapData, value: Codec<V>) {
    super(map, ["ARRAY"], { key: u32, value });
  }

  get length(): number {
    return this.map.definition.maxEntries;
  }

  set(index: number, value: V, flags = 0): Promise<void> {
    checkIndex(this.map, index);
    return this.put(index, value, flags);
  }

  override async get(index: number, flags = 0): Promise<V> {
    checkIndex(this.map, index);
    return super.get(index, flags);
  }
}

/** BPF_MAP_TYPE_PERCPU_ARRAY. */
export class PerCpuArray<V> extends PerCpuMap<number, V> {
  constructor(map: MapData, value: Codec<V>) {
    super(map, ["PERCPU_ARRAY"], { key: u32, value });
  }

  get length(): number {
    return this.map.definition.maxEntries;
  }

  set(index: number, values: V[], flags = 0): Promise<void> {
    checkIndex(this.map, index);
    return this.put(index, values, flags);
  }

  override async get(index: number, flags = 0): Promise<V[]> {
    checkIndex(this.map, index);
    return super.get(index, flags);
  }
}

/** Values without keys. */
abstract class Sequence<V> {
  readonly map: MapData;
  readonly valueCodec: Codec<V>;

  constructor(map: MapData, type: TypeName, value: Codec<V>) {
    map.expectType(type);
    checkSizes(map, undefined, value.size);
    this.map = map;
    this.valueCodec = value;
  }

  get capacity(): number {
    return this.map.definition.maxEntries;
  }

  push(value: V, flags = 0): Promise<void> {
    return this.map.update(undefined, encodeValue(this.valueCodec, value), flags);
  }

  /** Takes the next value; throws `ElementNotFound` when there is none. */
  async pop(flags = 0): Promise<V> {
    const bytes = await this.map.lookupAndDelete(undefined, this.valueCodec.size, flags);
    if (bytes === undefined) throw new MapError("ElementNotFound", `map ${this.map.name} is empty`);
    return decodeValue(this.valueCodec, bytes);
  }
}

/** BPF_MAP_TYPE_QUEUE: first in, first out. */
export class Queue<V> extends Sequence<V> {
  constructor(map: MapData, value: Codec<V>) {
    super(map, "QUEUE", value);
  }
}

/** BPF_MAP_TYPE_STACK: last in, first out. */
export class Stack<V> extends Sequence<V> {
  constructor(map: MapData, value: Codec<V>) {
    super(map, "STACK", value);
  }
}

function checkIndex(map: MapData, index: number): void {
  if (Number.isInteger(index) && index >= 0 && index < map.definition.maxEntries) return;
  throw new MapError(
    "OutOfBounds",
    `map ${map.name}: index ${index} is not below ${map.definition.maxEntries}`,
  );
}

const show = (key: unknown): string =>
  typeof key === "object"
    ? JSON.stringify(key, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value))
    : String(key);
