/**
 * A created map: its descriptor and its definition. Typed maps (`HashMap`, `ArrayMap`, …) are views of one.
 *
 * Key and value bytes are checked against the definition before the kernel sees them. The descriptor belongs to the `MapData`:
 * `close` ends it; maps of an `Ebpf` are closed with it unless they were taken.
 */
import { BPF_MAP_TYPE, ENOENT } from "@alien-ts/abi";
import { MapError, SyscallError } from "../errors.ts";
import { mapDelete, mapGetNextKey, mapLookup, mapLookupAndDelete, mapUpdate, objectPin } from "../sys/bpf.ts";
import { closeFd } from "../sys/files.ts";
import { failedWith } from "../sys/sys.ts";
import type { SerialSys } from "../sys/sys.ts";

export interface MapDefinition {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export class MapData {
  readonly sys: SerialSys;
  readonly fd: number;
  readonly definition: MapDefinition;
  #isOpen = true;

  constructor(sys: SerialSys, fd: number, definition: MapDefinition) {
    this.sys = sys;
    this.fd = fd;
    this.definition = definition;
  }

  get name(): string {
    return this.definition.name;
  }

  /** Throws `InvalidMapType` when the map is none of `types`. */
  expectType(...types: readonly (keyof typeof BPF_MAP_TYPE)[]): void {
    if (types.some((type) => BPF_MAP_TYPE[type] === this.definition.type)) return;
    const found = Object.entries(BPF_MAP_TYPE).find(([, number]) => number === this.definition.type)?.[0];
    throw new MapError(
      "InvalidMapType",
      `map ${this.name}: expected type ${types.join(" or ")}, found ${found ?? this.definition.type}`,
    );
  }

  /** The value's bytes, or undefined where the key is not there. */
  async lookup(key: Uint8Array | undefined, valueBytes: number, flags = 0): Promise<Uint8Array | undefined> {
    const value = await mapLookup(this.sys, { fd: this.fd, key, flags }, valueBytes);
    return this.#found("bpf_map_lookup_elem", value);
  }

  async lookupAndDelete(
    key: Uint8Array | undefined,
    valueBytes: number,
    flags = 0,
  ): Promise<Uint8Array | undefined> {
    const value = await mapLookupAndDelete(this.sys, { fd: this.fd, key, flags }, valueBytes);
    return this.#found("bpf_map_lookup_and_delete_elem", value);
  }

  async update(key: Uint8Array | undefined, value: Uint8Array, flags = 0): Promise<void> {
    this.#check("bpf_map_update_elem", await mapUpdate(this.sys, { fd: this.fd, key, flags }, value));
  }

  async delete(key: Uint8Array): Promise<void> {
    this.#check("bpf_map_delete_elem", await mapDelete(this.sys, { fd: this.fd, key }));
  }

  /** The key after `key`, the first without one, undefined at the end. */
  async nextKey(key?: Uint8Array): Promise<Uint8Array | undefined> {
    const next = await mapGetNextKey(this.sys, { fd: this.fd, key }, this.definition.keySize);
    return this.#found("bpf_map_get_next_key", next);
  }

  /** Keys in the kernel's order. */
  async *keys(): AsyncGenerator<Uint8Array> {
    for (let key = await this.nextKey(); key !== undefined; key = await this.nextKey(key)) yield key;
  }

  /** Makes the map outlive this process, under an absolute path of a bpf file system. */
  async pin(path: string): Promise<void> {
    this.#check("BPF_OBJ_PIN", await objectPin(this.sys, path, this.fd));
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await closeFd(this.sys, this.fd);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #found(call: string, value: Uint8Array | number): Uint8Array | undefined {
    if (typeof value !== "number") return value;
    if (failedWith(value, ENOENT)) return undefined;
    throw this.#error(call, value);
  }

  #check(call: string, result: number): void {
    if (result < 0) throw this.#error(call, result);
  }

  #error(call: string, result: number): MapError {
    const cause = new SyscallError(call, -result);
    return new MapError("SyscallError", `map ${this.name}: ${cause.message}`, { cause });
  }
}
