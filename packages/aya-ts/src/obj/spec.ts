/**
 * An object file as plain data: what `parseObject` gives, the same on every machine.
 *
 * Nothing here holds a file descriptor. A *function* is code of one symbol; a *program* is a function in a program section.
 * Relocations name what they mean, not how the file said it.
 */
import type { Insn } from "@alien-ts/bpf-isa";
import type { Btf, CoreRelocation, FuncInfo, LineInfo } from "@alien-ts/btf";
import type { ProgramSection } from "./program-sections.ts";

export interface ObjectSpec {
  readonly license: string;
  /** KERNEL_VERSION code of the `version` section; undefined: that of the running kernel. */
  readonly kernelVersion: number | undefined;
  /** By symbol name, in file order. */
  readonly programs: ReadonlyMap<string, ProgramSpec>;
  /** By symbol name, or section name for data; in file order. */
  readonly maps: ReadonlyMap<string, MapSpec>;
  /** All functions, programs included, by `functionKey`. */
  readonly functions: ReadonlyMap<string, FunctionSpec>;
  readonly btf: Btf | undefined;
  /** Sizes of sections and offsets of variables, which compilers leave out of a DATASEC. */
  readonly dataLayout: DataLayout;
}

/** What compilers leave out of an object's BTF. */
export interface DataLayout {
  readonly sectionSizes: ReadonlyMap<string, number>;
  /** By symbol name. */
  readonly variableOffsets: ReadonlyMap<string, number>;
  /** Functions that other objects cannot see: the verifier checks them where they are called, like static ones. */
  readonly hiddenFunctions: ReadonlySet<string>;
}

export interface ProgramSpec {
  readonly name: string;
  readonly section: ProgramSection;
  readonly function: FunctionSpec;
}

export interface FunctionSpec {
  readonly name: string;
  readonly sectionIndex: number;
  readonly sectionName: string;
  /** Byte offset in the section. */
  readonly address: number;
  readonly insns: readonly Insn[];
  /** By instruction index in this function. */
  readonly relocations: ReadonlyMap<number, Relocation>;
  /** Offsets are in instructions from the start of this function. */
  readonly funcInfo: readonly FuncInfo[];
  readonly lineInfo: readonly LineInfo[];
  readonly coreRelocations: readonly CoreRelocation[];
}

export type Relocation =
  | { readonly kind: "map"; readonly map: string }
  | { readonly kind: "data"; readonly map: string; readonly address: number }
  /** A call (`isCall`), or the address of a callback. */
  | { readonly kind: "function"; readonly key: string; readonly isCall: boolean }
  | ExternRelocation
  | ResolvedExtern;

/** Something that the kernel is to have. */
export interface ExternRelocation {
  readonly kind: "extern";
  readonly name: string;
  readonly isWeak: boolean;
}

/** What an extern is in one kernel. */
export type ResolvedExtern =
  /** Ids are the kernel's BTF ids. */
  | { readonly kind: "kernelFunction"; readonly id: number }
  | { readonly kind: "kernelVariable"; readonly id: number }
  | { readonly kind: "address"; readonly address: bigint }
  | { readonly kind: "missing"; readonly name: string };

export const functionKey = (sectionIndex: number, address: number): string => `${sectionIndex}:${address}`;

export type MapOrigin = "btf" | "legacy" | "data";

export interface MapSpec {
  readonly name: string;
  readonly origin: MapOrigin;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly extra: number;
  readonly pinning: "none" | "byName";
  readonly keyTypeId: number;
  readonly valueTypeId: number;
  /** Template of the maps that a map-in-map holds. */
  readonly inner?: MapSpec;
  /** Initial bytes of a data section. */
  readonly data?: DataSpec;
}

export interface DataSpec {
  readonly kind: "rodata" | "data" | "bss";
  readonly bytes: Uint8Array;
  readonly symbols: readonly DataSymbol[];
}

export interface DataSymbol {
  readonly name: string;
  readonly address: number;
  readonly size: number;
}

/** The spec with every function replaced by what `map` makes of it. */
export function mapFunctions(spec: ObjectSpec, map: (fn: FunctionSpec) => FunctionSpec): ObjectSpec {
  const functions = new Map(Array.from(spec.functions, ([key, fn]) => [key, map(fn)]));
  const programs = Array.from(spec.programs.values(), (program) => {
    const { sectionIndex, address } = program.function;
    return { ...program, function: functions.get(functionKey(sectionIndex, address)) ?? program.function };
  });
  return { ...spec, functions, programs: new Map(programs.map((program) => [program.name, program])) };
}
