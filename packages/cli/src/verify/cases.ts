/**
 * Lines of `alien verify --raw` as values: what is said is of the right kind, and instructions that are named are in the program.
 *
 * Interface: `parseLine`, which throws an Error that names the field. Everything that a line holds besides is ignored.
 */
import { parseHex } from "../vm/hex.ts";
import type { LoadedMap } from "./maps.ts";

/** What the loader of a case may do, where the line says so. */
interface Loader {
  /** No capabilities. Test suites call what they expect of such a load so, too, which is an object. */
  readonly unpriv?: boolean;
  /** Only these: "CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", which counts as all. */
  readonly caps?: readonly string[];
}

interface Program extends Loader {
  readonly insns: Uint8Array;
  readonly type: number;
  readonly attachType: number;
}

/** An old-style case. */
export interface Case extends Program {
  readonly flags: number;
  /** Instructions that name a map, by the kind of map. */
  readonly fixups: readonly (readonly [kind: string, places: readonly number[]])[];
  readonly kfuncs: readonly (readonly [insn: number, name: string])[];
  readonly attach: string | undefined;
  readonly types: Uint8Array;
  readonly strings: Uint8Array;
  readonly functions: readonly (readonly [insn: number, type: number])[];
}

/** A program as a loader passes it. */
export interface Load extends Program {
  readonly flags: number;
  readonly license: string;
  /** Name or BTF id. */
  readonly attach: string | number | undefined;
  readonly btf: string | undefined;
  readonly functions: readonly (readonly number[])[];
  readonly lines: readonly (readonly number[])[];
  readonly maps: readonly LoadedMap[];
  readonly mapRefs: readonly (readonly [insn: number, fd: number])[];
  readonly symbols: readonly (readonly [insn: number, name: string])[];
}

export type Line = { readonly case: Case } | { readonly load: Load };

const INSN_BYTES = 8;
const U32 = 2 ** 32;

export function parseLine(text: string): Line {
  const whole = new Fields(parseJson(text), "");
  return whole.has("load") ? { load: parseLoad(whole) } : { case: parseCase(whole) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`not JSON: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function parseCase(given: Fields): Case {
  const program = parseProgram(given, given);
  const count = program.insns.length / INSN_BYTES;
  return {
    ...program,
    flags: given.number("flags", 0),
    fixups: given
      .record("fixups")
      .entries()
      .map(([kind, places]) => [kind, places.list().map((place) => place.insn(count))]),
    kfuncs: given.items("fixup_kfunc").map((item) => [item.of("insn").insn(count), item.text("kfunc")]),
    attach: given.optionalText("attach_func"),
    types: given.bytes("btf_types", ""),
    strings: given.bytes("btf_strings", "00"),
    functions: given.items("func_info").map((item) => {
      const [insn, type] = item.list();
      return [(insn ?? item).integer(), (type ?? item).integer()];
    }),
  };
}

function parseLoad(whole: Fields): Load {
  const given = whole.record("load");
  const program = parseProgram(given, whole);
  const count = program.insns.length / INSN_BYTES;
  return {
    ...program,
    flags: given.number("prog_flags", 0),
    license: given.text("license"),
    attach: given.number("attach_btf_id", 0) || given.optionalText("attach_to"),
    btf: given.optionalText("btf"),
    functions: records(given, "func_info", 8),
    lines: records(given, "line_info", 16),
    maps: given.items("maps").map((map) => parseMap(map)),
    mapRefs: given
      .record("map_refs")
      .entries()
      .map(([place, fd]) => [fd.place(place, count), fd.integer()]),
    symbols: given
      .record("btf_ids")
      .entries()
      .map(([place, symbol]) => [symbol.place(place, count), symbol.string()]),
  };
}

function parseProgram(given: Fields, whole: Fields): Program {
  const insns = given.bytes("insns");
  if (insns.length % INSN_BYTES !== 0) throw given.of("insns").wrong("8 bytes for each instruction");
  const caps = whole.has("caps") ? { caps: whole.items("caps").map((name) => name.string()) } : {};
  return {
    insns,
    type: given.number("prog_type"),
    attachType: given.number("expected_attach_type", 0),
    ...(whole.isTrue("unpriv") ? { unpriv: true } : {}),
    ...caps,
  };
}

function parseMap(map: Fields): LoadedMap {
  return {
    fd: map.number("fd"),
    name: map.optionalText("name") ?? "",
    type: map.number("type"),
    key_size: map.number("key_size"),
    value_size: map.number("value_size"),
    max_entries: map.number("max_entries"),
    map_flags: map.number("map_flags", 0),
    map_extra: map.of("map_extra").integer(0),
    btf_value_type_id: map.number("btf_value_type_id", 0),
    inner_map_fd: map.number("inner_map_fd", 0),
    ...(map.has("value0") ? { value0: map.bytes("value0") } : {}),
    frozen: map.flag("frozen"),
  };
}

/** Records of 32-bit words. */
function records(given: Fields, name: string, usualBytes: number): number[][] {
  const data = given.bytes(name, "");
  const size = given.number(`${name}_rec_size`, usualBytes);
  if (data.length === 0) return [];
  if (size < usualBytes || data.length % size !== 0)
    throw given.of(name).wrong(`records of ${size} bytes, each of at least ${usualBytes}`);
  const view = new DataView(data.buffer, data.byteOffset);
  return Array.from({ length: data.length / size }, (_, i) =>
    Array.from({ length: size >> 2 }, (__, word) => view.getUint32(i * size + 4 * word, true)),
  );
}

/** A value of JSON and where it stands. `null` is as good as nothing. */
class Fields {
  readonly #value: unknown;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    this.#value = value ?? undefined;
    this.#path = path;
  }

  wrong(expected: string): Error {
    return new Error(`${this.#path === "" ? "" : `${this.#path}: `}expected ${expected}`);
  }

  of(name: string | number): Fields {
    const path = this.#path === "" ? String(name) : `${this.#path}.${name}`;
    return new Fields(this.#object()[String(name)], path);
  }

  has(name: string): boolean {
    return (this.#object()[name] ?? undefined) !== undefined;
  }

  #object(): Readonly<Record<string, unknown>> {
    if (typeof this.#value !== "object") throw this.wrong("an object");
    return this.#value as Readonly<Record<string, unknown>>;
  }

  /** An object; one without entries where there is none. */
  record(name: string): Fields {
    const found = this.of(name);
    if (found.#value === undefined) return new Fields({}, found.#path);
    if (typeof found.#value !== "object" || Array.isArray(found.#value)) throw found.wrong("an object");
    return found;
  }

  entries(): [string, Fields][] {
    return Object.keys(this.#object()).map((name) => [name, this.of(name)]);
  }

  list(): Fields[] {
    if (!Array.isArray(this.#value)) throw this.wrong("a list");
    return this.#value.map((_, i) => this.of(i));
  }

  /** A list; an empty one where there is none. */
  items(name: string): Fields[] {
    return this.has(name) ? this.of(name).list() : [];
  }

  /** An integer that programs can name; `usual` where there is none. */
  integer(usual?: number): number {
    const value = this.#value ?? usual;
    if (typeof value !== "number" || !Number.isSafeInteger(value)) throw this.wrong("an integer");
    return value;
  }

  /** One of 32 bits without sign. */
  number(name: string, usual?: number): number {
    const found = this.of(name);
    const value = found.integer(usual);
    if (value < 0 || value >= U32) throw found.wrong("an integer of 32 bits");
    return value;
  }

  /** An index into a program of `count` instructions. */
  insn(count: number): number {
    const value = this.integer();
    if (value < 0 || value >= count) throw this.wrong(`one of the program's ${count} instructions`);
    return value;
  }

  /** An index that is the name of this. */
  place(name: string, count: number): number {
    const value = /^\d+$/u.test(name) ? Number(name) : -1;
    if (value < 0 || value >= count)
      throw this.wrong(`the place of one of the program's ${count} instructions`);
    return value;
  }

  flag(name: string): boolean {
    const value = this.of(name).#value ?? false;
    if (typeof value !== "boolean" && value !== 0 && value !== 1) throw this.of(name).wrong("true or false");
    return value === true || value === 1;
  }

  /** Whether this is true: anything else that has this name is no business of ours. */
  isTrue(name: string): boolean {
    return this.of(name).#value === true;
  }

  string(): string {
    if (typeof this.#value !== "string") throw this.wrong("a text");
    return this.#value;
  }

  text(name: string): string {
    return this.of(name).string();
  }

  optionalText(name: string): string | undefined {
    return this.has(name) ? this.text(name) : undefined;
  }

  /** Bytes in hexadecimal; `usual` where there are none. */
  bytes(name: string, usual?: string): Uint8Array {
    const found = this.of(name);
    const value = found.#value ?? usual;
    const parsed = typeof value === "string" ? parseHex(value) : undefined;
    if (parsed === undefined) throw found.wrong("hexadecimal bytes");
    return parsed;
  }
}
