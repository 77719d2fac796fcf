/**
 * The kernel's own types: BTF made of its declarations, and where it lies in the image.
 *
 * `describeKernel` makes the bytes: structures with the layout's offsets, a function for each row of text, tracepoints, per-CPU
 * variables. The linker leaves room for them between `__start_BTF` and `__stop_BTF`: their number is that of the declarations,
 * whatever the layout. `KernelBtf` writes them there when something first asks for them, since making them takes longer than the
 * rest of a boot has; nothing reads that memory without asking (`touch`).
 */
import type { KAddr, Layout, LinearMemory, StructDecl } from "@alien-ts/abi";
import {
  type Btf,
  BtfError,
  type DeclaredEnum,
  type DeclaredType,
  DeclaredTypes,
  parseBtf,
} from "@alien-ts/btf";
import type { LinkedImage } from "@alien-ts/ksym";
import type { Arch } from "../arch/arch.ts";
import { assert } from "./kernel.ts";
import {
  BTF_START,
  BTF_STOP,
  listRows,
  PER_CPU,
  PER_CPU_SECTION,
  type RowModule,
  symbolOf,
} from "./image.ts";

/** What a kernel's BTF tells of, beside its functions. */
export interface KernelTypes {
  /** Files whose exported structures are told of. */
  readonly files: readonly RowModule[];
  readonly enums: readonly DeclaredEnum[];
  /** What probes of each tracepoint are called with. */
  readonly tracepoints: Readonly<Record<string, readonly DeclaredType[]>>;
}

export interface Described {
  readonly text: readonly RowModule[];
  readonly types: KernelTypes;
  readonly arch: Arch;
  readonly layout: Layout;
}

/** The bytes of the BTF. Throws where two structures have one name, or a row spells a type that there is not. */
export function describeKernel({ text, types, arch, layout }: Described): Uint8Array {
  const declared = new DeclaredTypes(layout);
  declared.addCommonTypedefs();
  declared.declare([...arch.types, ...[...types.files, ...text].flatMap(structsOf)]);
  for (const [name, target] of Object.entries(arch.typedefs)) declared.addTypedef(name, target);
  for (const decl of types.enums) declared.addEnum(decl);
  for (const [name, params] of Object.entries(types.tracepoints)) declared.addTracepoint(name, params);
  for (const row of listRows(text)) {
    const { params, ret, options } = row;
    declared.addFunction({
      name: symbolOf(row, arch),
      params: params as readonly (readonly [string, DeclaredType])[],
      ret: ret as DeclaredType,
      tags: options.kfunc === undefined ? [] : kfuncTags(options.kfunc),
    });
  }
  let offset = 0;
  const variables = PER_CPU.map(({ name, type }) => {
    const at = Math.ceil(offset / type.align) * type.align;
    offset = at + type.size;
    return { name, type, linkage: "global", offset: at, size: type.size } as const;
  });
  declared.addSection(PER_CPU_SECTION, offset, variables);
  return declared.build();
}

/** As pahole writes them. */
const kfuncTags = (flags: readonly string[]): string[] => [
  "bpf_kfunc",
  ...(flags.includes("fastcall") ? ["bpf_fastcall"] : []),
];

/** The structures that a file exports, by name. Slices of `union bpf_attr` are ours alone. */
const structsOf = (file: RowModule): StructDecl[] =>
  Object.values(file)
    .map((value) => (isStruct(value) ? value : recordOf(value)))
    .filter((decl) => decl !== undefined && !decl.name.startsWith("bpf_attr_"))
    .sort((a, b) => (a!.name < b!.name ? -1 : 1)) as StructDecl[];

const isStruct = (value: unknown): value is StructDecl =>
  typeof value === "object" && value !== null && "fields" in value && "union" in value && "abi" in value;

/** The record of an exported tracepoint. */
function recordOf(value: unknown): StructDecl | undefined {
  const record = typeof value === "object" && value !== null && "record" in value ? value.record : undefined;
  return isStruct(record) ? record : undefined;
}

export class KernelBtf {
  readonly start: KAddr;
  readonly size: number;
  readonly #mem: LinearMemory;
  #make: (() => Uint8Array) | undefined;
  #btf: Btf | undefined;

  constructor(mem: LinearMemory, image: LinkedImage, make: () => Uint8Array) {
    this.#mem = mem;
    this.#make = make;
    this.start = image.addressOf(BTF_START);
    this.size = image.addressOf(BTF_STOP) - this.start;
  }

  /** Call before reading kernel memory that may be the BTF's. */
  touch(from: KAddr, sizeBytes: number): void {
    if (this.#make !== undefined && from < this.start + this.size && from + sizeBytes > this.start)
      this.bytes();
  }

  /** The bytes in the image; read-only. */
  bytes(): Uint8Array {
    if (this.#make !== undefined) {
      const made = this.#make();
      assert(made.length === this.size, `BTF has ${made.length} bytes, and the image room for ${this.size}`);
      this.#mem.u8.set(made, this.start);
      this.#make = undefined;
    }
    return this.#mem.bytes(this.start, this.size);
  }

  get btf(): Btf {
    if (this.#btf !== undefined) return this.#btf;
    const parsed = parseBtf(this.bytes());
    if (parsed instanceof BtfError) throw parsed;
    return (this.#btf = parsed);
  }
}
