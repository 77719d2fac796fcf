/**
 * A parsed BTF blob: types by id, found by name and kind.
 *
 * `parseBtf(bytes)` checks every type once (as the kernel does before it accepts a blob, with its messages) and remembers
 * where each starts; a type is decoded when it is asked for, since a vmlinux blob has a hundred thousand of them.
 * Invariants: `bytes` is not copied; ids in types are below `typeCount`; any input ends in a `Btf` or a `BtfError`.
 */
import { utf8Decode } from "@alien-ts/abi";
import { checkType, decodeType, referencesAt } from "./decode.ts";
import type { BtfSource } from "./decode.ts";
import { BtfError } from "./error.ts";
import { parseHeader } from "./header.ts";
import type { BtfKind, BtfMember, BtfType } from "./types.ts";

/** Linux: BTF_MAX_TYPE, and MAX_RESOLVE_DEPTH for chains of modifiers. */
const MAX_TYPE = 0xf_ffff;
const MAX_RESOLVE_DEPTH = 32;

export const BTF_POINTER_SIZE = 8;

export function parseBtf(bytes: Uint8Array): Btf | BtfError {
  const header = parseHeader(bytes);
  if (header instanceof BtfError) return header;
  const strings = bytes.subarray(header.stringsAt, header.stringsAt + header.stringsSize);
  if (strings.length === 0 || strings[0] !== 0 || strings.at(-1) !== 0)
    return new BtfError("Invalid string section", header.stringsAt);
  const cache = new Map<number, string>();
  const source: BtfSource = {
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    littleEndian: header.littleEndian,
    strings,
    string: (offset) => {
      if (offset >= strings.length) return undefined;
      const known = cache.get(offset);
      if (known !== undefined) return known;
      const text = utf8Decode(strings.subarray(offset, strings.indexOf(0, offset)));
      cache.set(offset, text);
      return text;
    },
  };
  const starts = findTypes(source, header.typesAt, header.typesAt + header.typesSize);
  if (starts instanceof BtfError) return starts;
  return checkReferences(source, starts) ?? new Btf(bytes, source, { starts, strings });
}

interface BtfTables {
  /** Start offset of each type by id. */
  readonly starts: readonly number[];
  readonly strings: Uint8Array;
}

export class Btf {
  readonly bytes: Uint8Array;
  /** Number of types, `void` included: ids are below it. */
  readonly typeCount: number;
  readonly littleEndian: boolean;
  /** The string section: a rewrite that keeps it keeps the offsets in `.BTF.ext` valid. */
  readonly strings: Uint8Array;
  readonly #source: BtfSource;
  readonly #starts: readonly number[];
  readonly #types: (BtfType | undefined)[];
  #byName: Map<string, number[]> | undefined;

  /** Made by `parseBtf`, which has checked every type. */
  constructor(bytes: Uint8Array, source: BtfSource, { starts, strings }: BtfTables) {
    this.bytes = bytes;
    this.strings = strings;
    this.typeCount = starts.length;
    this.littleEndian = source.littleEndian;
    this.#source = source;
    this.#starts = starts;
    this.#types = [{ kind: "void", name: "void" }];
  }

  /** The type with this id, or undefined when there is none. */
  type(id: number): BtfType | undefined {
    const known = this.#types[id];
    if (known !== undefined) return known;
    const start = this.#starts[id];
    if (start === undefined) return undefined;
    return (this.#types[id] = decodeType(this.#source, start));
  }

  /** All types in id order, `void` first. */
  *types(): Generator<readonly [id: number, type: BtfType]> {
    for (let id = 0; id < this.typeCount; id++) yield [id, this.type(id)!];
  }

  /** The string at `offset` of the string section (`.BTF.ext` refers to it); undefined when outside. */
  string(offset: number): string | undefined {
    return this.#source.string(offset);
  }

  /** The lowest id of a type with this name and kind; undefined when there is none. */
  find(name: string, kind: BtfKind): number | undefined {
    return this.findAll(name).find((id) => this.type(id)?.kind === kind);
  }

  /** Ids of all types with this name. */
  findAll(name: string): readonly number[] {
    return (this.#byName ??= this.#indexNames()).get(name) ?? [];
  }

  /** All names of types, each once. */
  names(): Iterable<string> {
    return (this.#byName ??= this.#indexNames()).keys();
  }

  /** Follows const, volatile, restrict, typedef and type_tag; stops after 32 steps, as the kernel does. */
  resolve(id: number): number {
    let at = id;
    for (let depth = 0; depth < MAX_RESOLVE_DEPTH; depth++) {
      const type = this.type(at);
      if (type === undefined || !isModifier(type)) return at;
      at = type.type;
    }
    return at;
  }

  /** Size in bytes, through modifiers; undefined for void, functions, forward declarations and cycles. */
  sizeOf(id: number): number | undefined {
    let count = 1;
    let at = id;
    for (let depth = 0; depth < MAX_RESOLVE_DEPTH; depth++) {
      at = this.resolve(at);
      const type = this.type(at);
      if (type === undefined) return undefined;
      if (type.kind === "ptr") return count * BTF_POINTER_SIZE;
      if ("size" in type) return count * type.size;
      if (type.kind === "var") at = type.type;
      else if (type.kind === "array") {
        count *= type.count;
        at = type.element;
      } else return undefined;
    }
    return undefined;
  }

  /** Members of a struct or union, through modifiers; undefined when it is neither. */
  members(id: number): readonly BtfMember[] | undefined {
    const type = this.type(this.resolve(id));
    return type?.kind === "struct" || type?.kind === "union" ? type.members : undefined;
  }

  #indexNames(): Map<string, number[]> {
    const names = new Map<string, number[]>();
    for (let id = 1; id < this.typeCount; id++) {
      const name =
        this.#source.string(this.#source.view.getUint32(this.#starts[id]!, this.littleEndian)) ?? "";
      if (name === "") continue;
      const ids = names.get(name);
      if (ids === undefined) names.set(name, [id]);
      else ids.push(id);
    }
    return names;
  }
}

const isModifier = (type: BtfType): type is BtfType & { readonly type: number } =>
  type.kind === "const" ||
  type.kind === "volatile" ||
  type.kind === "restrict" ||
  type.kind === "typedef" ||
  type.kind === "type_tag";

/** Start offset of each type; index 0 stands for `void`. */
function findTypes(source: BtfSource, from: number, end: number): number[] | BtfError {
  const starts = [0];
  let at = from;
  while (at < end) {
    const next = checkType(source, at, end, starts.length);
    if (next instanceof BtfError) return next;
    starts.push(at);
    if (starts.length > MAX_TYPE) return new BtfError("Too many types", at);
    at = next;
  }
  return starts;
}

/** Every id that a type names must exist, or later reads would have to doubt it. */
function checkReferences(source: BtfSource, starts: readonly number[]): BtfError | undefined {
  for (let id = 1; id < starts.length; id++) {
    const bad = referencesAt(source, starts[id]!).find((reference) => reference >= starts.length);
    if (bad !== undefined) return new BtfError(`type_id=${bad} Invalid type_id`, starts[id]!, id);
  }
  return undefined;
}
