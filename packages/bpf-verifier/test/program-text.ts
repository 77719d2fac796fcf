/**
 * Programs as tests write them: text whose names stand for maps, types, functions. `new Code(source, types)` has the instructions, the
 * maps by the numbers that they are loaded by, and the records of functions.
 *
 * Code is what `assemble` reads, and
 *
 *     r1 = map NAME          a map of `MAPS`, of the program's own, or an array of one structure NAME of its types
 *     r1 = value NAME+8      the value of such an array
 *     r1 = kernel NAME       a variable or function of the kernel
 *     r1 = function NAME     the function that begins at the label
 *     call bpf_NAME          a helper
 *     call @NAME             a function of the kernel
 *     #NAME, ##NAME          the id of a type of the program, of the kernel
 *     (r1 +@NAME.MEMBER)     where the member is in a structure of the kernel
 *
 * A label that a function of the program's types has for its name begins it, `main` begins at 0; functions that are called and not
 * declared are of a type without parameters. Code that ends neither in `exit` nor in
 * `goto` ends in `out: r0 = 0; exit`.
 */
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Btf, BtfKind } from "@alien-ts/btf";
import type { MapInfo, ProgramBtf } from "../src/env.ts";
import { linuxHelper } from "../src/linux/helpers.ts";
import { valueFields } from "../src/value-fields.ts";

export interface MapShape {
  /** `enum bpf_map_type` */
  readonly type: number;
  readonly keySize?: number;
  readonly valueSize?: number;
  /** The structure that its values are, of the program's types. */
  readonly value?: string;
  readonly maxEntries?: number;
  readonly flags?: number;
  readonly inner?: MapShape;
  /** Its only value, which does not change and which programs may not write: a text. */
  readonly holds?: string;
  /** What the verifier is told besides. */
  readonly more?: Partial<MapInfo>;
}

const MAPS: Record<string, MapShape> = {
  hash: { type: 1, keySize: 8, valueSize: 48 },
  array: { type: 2, valueSize: 48 },
  readonly: { type: 2, valueSize: 48, flags: 0x80 },
  writeonly: { type: 2, valueSize: 48, flags: 0x100 },
  programs: { type: 3, maxEntries: 4 },
  events: { type: 4 },
  sockets: { type: 15 },
  ringbuf: { type: 27, keySize: 0, valueSize: 0, maxEntries: 4096 },
  arena: { type: 33, keySize: 0, valueSize: 0, flags: 0x400, maxEntries: 2 },
};

export interface Source {
  readonly code: string;
  readonly maps?: Record<string, MapShape>;
  /** The program's functions, where they are not what labels say: instructions, and names of types. */
  readonly records?: readonly (readonly [insn: number, type: string])[];
  /** Fields that no text gives an instruction, by its number. */
  readonly fields?: Record<number, Partial<Insn>>;
}

/** What names are looked up in: the kernel's types, and the program's own. */
export interface Types {
  readonly kernel: Btf;
  readonly own: Btf | undefined;
}

export const HELPERS = new Map(
  Array.from({ length: 212 }, (_, id) => [linuxHelper(id)?.name ?? "", id] as const).reverse(),
);

/** BPF_F_RDONLY_PROG */
const READ_ONLY = 0x80;
const FIRST_MAP = 0x10_0000;
const ARRAY = 2;
const ENDS = /(?:^|\n)\s*(?:\w+:\s*)?(?:exit|goto \S+)\s*$/;
const WIDE = /^\s*(?:\w+:)?\s*r\d+ = (?:0x|(?:map|value|kernel|function) |\w+\[)/;

/** The program's text with all names resolved. */
export class Code {
  readonly maps: MapInfo[] = [];
  readonly insns: readonly Insn[];
  readonly functions: ProgramBtf["functions"];
  readonly #names: string[] = [];
  readonly #source: Source;
  readonly #kernel: Btf;
  readonly #own: Btf | undefined;

  constructor(source: Source, { kernel, own }: Types) {
    this.#source = source;
    this.#kernel = kernel;
    this.#own = own;
    const { code } = source;
    const lines = (ENDS.test(code) ? code : `${code}\nout: r0 = 0\nexit`)
      .split("\n")
      .filter((line) => line.trim() !== "");
    const { starts, slots } = placesOf(lines);
    const text = lines.map((line, i) => this.#resolve(line, starts, slots[i]!)).join("\n");
    const insns = assemble(text);
    if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}\n${text}`);
    this.insns = insns.map((insn, i) => ({ ...insn, ...source.fields?.[i] }));
    const records =
      source.records ?? [["main", 0] as const, ...starts].map(([name, at]) => [at, name] as const);
    this.functions = records
      .map(([insn, name]) => ({ insn, type: own?.find(name, "func") ?? own?.find(name, "struct") }))
      .filter((record): record is ProgramBtf["functions"][number] => record.type !== undefined);
  }

  #resolve(line: string, starts: ReadonlyMap<string, number>, slot: number): string {
    const kernel = (name: string, ...kinds: readonly BtfKind[]): number =>
      kernelId(this.#kernel, name, ...kinds);
    return line
      .replace(/call (bpf_\w+)$/, (_, name: string) => `call ${known(name, HELPERS.get(name))}`)
      .replace(/call @(\w+)/, (_, name: string) => `call kernel-function#${kernel(name, "func")}`)
      .replace(
        /\+@(\w+)\.(\w+)/,
        (_, name: string, member: string) => `+${offsetOf(this.#kernel, name, member)}`,
      )
      .replace(/= map (\w+)/, (_, name: string) => `= map_fd[${this.#map(name)}]`)
      .replace(
        /= value (\w+)(?:\+(\d+))?/,
        (_, name: string, at = "0") => `= map_value[${this.#map(name)}][${at}]`,
      )
      .replace(/= kernel (\w+)/, (_, name: string) => `= btf_id[${kernel(name, "var", "func")}]`)
      .replace(/##(\w+)/, (_, name: string) => String(kernel(name, "struct", "func", "var")))
      .replace(/#([a-z_]\w*)$/, (_, name: string) => String(known(name, this.#own?.find(name, "struct"))))
      .replace(
        /= function (\w+)/,
        (_, name: string) => `= func[${known(name, starts.get(name)) - slot - 1}]`,
      );
  }

  #map(name: string): number {
    const found = this.#names.indexOf(name);
    if (found !== -1) return found;
    const shape = this.#source.maps?.[name] ?? MAPS[name] ?? { type: ARRAY, value: name };
    this.#names.push(name);
    this.maps.push(this.#info(shape, this.#names.length));
    return this.#names.length - 1;
  }

  #info(shape: MapShape, number: number): MapInfo {
    const { type, value, maxEntries = 1, flags = 0, keySize = 4 } = shape;
    const structure = value === undefined ? undefined : known(value, this.#own?.find(value, "struct"));
    const address = FIRST_MAP * number;
    const isAddressable = type === ARRAY && maxEntries === 1;
    const text = shape.holds === undefined ? undefined : new TextEncoder().encode(shape.holds);
    const ownSize = structure === undefined ? (shape.valueSize ?? 4) : this.#own!.sizeOf(structure)!;
    const valueSize = text?.length ?? ownSize;
    return {
      address,
      valuesAddress: isAddressable || type === 33 ? address + 0x1000 : undefined,
      name: value ?? "map",
      type,
      keySize,
      valueSize,
      maxEntries,
      flags,
      inner: shape.inner === undefined ? undefined : this.#info(shape.inner, number + 100),
      fields: structure === undefined ? [] : valueFields(this.#own!, structure, this.#kernel),
      isFrozen: false,
      constantAt: undefined,
      btf: structure === undefined ? undefined : this.#own,
      btfValueType: structure ?? 0,
      ...(text === undefined ? {} : { flags: flags | READ_ONLY, isFrozen: true, constantAt: numberIn(text) }),
      ...(type === 33 ? { addressableBytes: maxEntries * 4096 } : {}),
      ...shape.more,
    };
  }
}

function offsetOf(kernel: Btf, name: string, member: string): number {
  const members = kernel.members(kernelId(kernel, name, "struct")) ?? [];
  return known(`${name}.${member}`, members.find((entry) => entry.name === member)?.bitOffset) / 8;
}

/** Of the bytes of a value that does not change: the number of `size` bytes at `offset`. */
function numberIn(bytes: Uint8Array): NonNullable<MapInfo["constantAt"]> {
  return (offset, size) =>
    bytes.slice(offset, offset + size).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

export function known(name: string, id: number | undefined): number {
  if (id === undefined) throw new Error(`${name} is not declared`);
  return id;
}

interface Places {
  /** At which instruction each label stands. */
  readonly starts: ReadonlyMap<string, number>;
  /** The instruction of each line. */
  readonly slots: readonly number[];
}

/** Wide loads count twice. */
function placesOf(lines: readonly string[]): Places {
  const starts = new Map<string, number>();
  const slots: number[] = [];
  let at = 0;
  for (const line of lines) {
    const [, label, rest] = /^\s*(\w+):\s*(.*)$/.exec(line) ?? [];
    if (label !== undefined) starts.set(label, at);
    slots.push(at);
    if ((rest ?? line).trim() !== "") at += WIDE.test(line) ? 2 : 1;
  }
  return { starts, slots };
}

export const kernelId = (kernel: Btf, name: string, ...kinds: readonly BtfKind[]): number =>
  known(
    name,
    kinds.map((kind) => kernel.find(name, kind)).find((id) => id !== undefined),
  );
