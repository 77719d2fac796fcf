/**
 * Reads an eBPF object file into an `ObjectSpec`: sections are sorted into programs, library code, maps, data and BTF, and
 * relocations are resolved to what they name.
 *
 * Throws `ParseError` for anything malformed or unknown. Authority: libbpf's ELF conventions as Aya reads them (`obj.rs`).
 */
import { cString } from "@alien-ts/abi";
import { decode, INSN_BYTES } from "@alien-ts/bpf-isa";
import { isBtfError, parseBtf, parseBtfExt } from "@alien-ts/btf";
import type { Btf, BtfExt } from "@alien-ts/btf";
import {
  EM_BPF,
  isElfError,
  parseElf,
  SHF_EXECINSTR,
  SHT_NOBITS,
  SHT_PROGBITS,
  STT_FUNC,
  STV_HIDDEN,
  STV_INTERNAL,
} from "@alien-ts/elf";
import type { ElfFile, ElfSection, ElfSymbol } from "@alien-ts/elf";
import { ParseError } from "../errors.ts";
import { btfMaps, dataMap, legacyMaps } from "./maps.ts";
import { programSection } from "./program-sections.ts";
import { resolveRelocations } from "./relocations.ts";
import { functionKey } from "./spec.ts";
import type { DataLayout, FunctionSpec, MapSpec, ObjectSpec, ProgramSpec } from "./spec.ts";

const EM_NONE = 0;

/** An object's tables, checked. */
export interface ObjectFile {
  readonly elf: ElfFile;
  readonly sections: readonly ElfSection[];
  readonly symbols: readonly ElfSymbol[];
  readonly btf: Btf | undefined;
  readonly ext: BtfExt | undefined;
}

type Role = "license" | "version" | "legacyMaps" | "btfMaps" | "text" | "data" | "program" | "other";

export function parseObject(bytes: Uint8Array): ObjectSpec {
  const file = openObject(bytes);
  const maps = readMaps(file);
  const functions = new Map<string, FunctionSpec>();
  const programs = new Map<string, ProgramSpec>();
  for (const section of file.sections) {
    const role = roleOf(section);
    if (role !== "text" && role !== "program") continue;
    const kind = role === "program" ? programSection(section.name) : undefined;
    for (const fn of readFunctions(file, section, maps)) {
      functions.set(functionKey(section.index, fn.address), fn);
      if (kind !== undefined) programs.set(fn.name, { name: fn.name, section: kind, function: fn });
    }
  }
  return {
    license: cString(dataOf(file, "license") ?? new Uint8Array(0)) || "GPL",
    kernelVersion: readVersion(dataOf(file, "version")),
    programs,
    maps,
    functions,
    btf: file.btf,
    dataLayout: layoutOf(file),
  };
}

const layoutOf = ({ sections, symbols }: ObjectFile): DataLayout => ({
  sectionSizes: new Map(sections.map((section) => [section.name, section.size])),
  variableOffsets: new Map(
    symbols.filter(({ type }) => type !== STT_FUNC).map((symbol) => [symbol.name, symbol.value]),
  ),
  hiddenFunctions: new Set(
    symbols
      .filter(({ type, other }) => type === STT_FUNC && (other === STV_HIDDEN || other === STV_INTERNAL))
      .map(({ name }) => name),
  ),
});

function openObject(bytes: Uint8Array): ObjectFile {
  const elf = unwrap("", parseElf(bytes));
  if (!elf.header.littleEndian)
    throw new ParseError("", "expected a little-endian object, found a big-endian one");
  if (elf.header.machine !== EM_BPF && elf.header.machine !== EM_NONE)
    throw new ParseError("", `expected machine ${EM_BPF} (eBPF), found ${elf.header.machine}`);
  const sections = unwrap("", elf.sections());
  const symbols = unwrap(".symtab", elf.symbols());
  const btfSection = sections.find((section) => section.name === ".BTF" && section.size > 0);
  const btf = btfSection === undefined ? undefined : unwrap(".BTF", parseBtf(btfSection.data));
  const extSection = sections.find((section) => section.name === ".BTF.ext" && section.size > 0);
  const ext =
    btf === undefined || extSection === undefined
      ? undefined
      : unwrap(".BTF.ext", parseBtfExt(extSection.data, btf));
  return { elf, sections, symbols, btf, ext };
}

/** Codec errors are values; for people they are thrown, with the part of the file that they are in. */
function unwrap<T>(where: string, value: T): Exclude<T, Error> {
  if (isElfError(value) || isBtfError(value)) throw new ParseError(where, value.message, { cause: value });
  return value as Exclude<T, Error>;
}

/** What a section is for, by its name; aya.md 3.1. */
function roleOf(section: ElfSection): Role {
  const { name, type } = section;
  if (type !== SHT_PROGBITS && type !== SHT_NOBITS) return "other";
  if (name.startsWith("license")) return "license";
  if (name.startsWith("version")) return "version";
  if (name === ".maps") return "btfMaps";
  if (name === "maps" || name.startsWith("maps/") || name.startsWith("maps.")) return "legacyMaps";
  if (name.startsWith(".text")) return "text";
  if (name.startsWith(".rodata") || name.startsWith(".data") || name.startsWith(".bss")) return "data";
  const isCode = (section.flags & SHF_EXECINSTR) !== 0 && section.size > 0 && type === SHT_PROGBITS;
  return isCode ? "program" : "other";
}

function readMaps(file: ObjectFile): Map<string, MapSpec> {
  const maps = new Map<string, MapSpec>();
  const add = (spec: MapSpec | undefined): void => {
    if (spec === undefined) return;
    if (maps.has(spec.name)) throw new ParseError(spec.name, "two maps have this name");
    maps.set(spec.name, spec);
  };
  for (const section of file.sections) {
    const role = roleOf(section);
    if (role === "legacyMaps") legacyMaps(section, file.symbols).forEach(add);
    if (role === "data") add(dataMap(section, file.symbols));
    if (role === "btfMaps") {
      if (file.btf === undefined) throw new ParseError(".maps", "BTF-defined maps need a .BTF section");
      btfMaps(file.btf).forEach(add);
    }
  }
  return maps;
}

function readFunctions(
  file: ObjectFile,
  section: ElfSection,
  maps: ReadonlyMap<string, MapSpec>,
): FunctionSpec[] {
  const symbols = file.symbols
    .filter((symbol) => symbol.section === section.index && symbol.type === STT_FUNC)
    .toSorted((a, b) => a.value - b.value);
  if (section.size % INSN_BYTES !== 0)
    throw new ParseError(
      section.name,
      `code comes in units of ${INSN_BYTES} bytes, found ${section.size} bytes`,
    );
  const relocations = resolveRelocations(file, section, maps);
  return symbols.map((symbol, index) => {
    // Hand-written assembly may leave the size out.
    const end = symbol.size > 0 ? symbol.value + symbol.size : (symbols[index + 1]?.value ?? section.size);
    if (
      symbol.value % INSN_BYTES !== 0 ||
      end % INSN_BYTES !== 0 ||
      end > section.size ||
      end <= symbol.value
    )
      throw new ParseError(
        symbol.name,
        `code of [${symbol.value}, ${end}) is not inside section ${section.name}`,
      );
    const first = symbol.value / INSN_BYTES;
    const isInside = (byte: number): boolean => byte >= symbol.value && byte < end;
    const rebase = <T extends { readonly offset: number }>(record: T): T => ({
      ...record,
      offset: record.offset / INSN_BYTES - first,
    });
    return {
      name: symbol.name,
      sectionIndex: section.index,
      sectionName: section.name,
      address: symbol.value,
      insns: decode(section.data.subarray(symbol.value, end)),
      relocations: new Map(
        Array.from(relocations)
          .filter(([byte]) => isInside(byte))
          .map(([byte, relocation]) => [byte / INSN_BYTES - first, relocation]),
      ),
      funcInfo: recordsOf(file.ext?.funcInfo, section.name, isInside).map(rebase),
      lineInfo: recordsOf(file.ext?.lineInfo, section.name, isInside).map(rebase),
      coreRelocations: recordsOf(file.ext?.coreRelocations, section.name, isInside).map(rebase),
    };
  });
}

function recordsOf<T extends { readonly offset: number }>(
  table: ReadonlyMap<string, readonly T[]> | undefined,
  section: string,
  isInside: (byte: number) => boolean,
): readonly T[] {
  return (table?.get(section) ?? []).filter(({ offset }) => isInside(offset) && offset % INSN_BYTES === 0);
}

const dataOf = (file: ObjectFile, role: Role): Uint8Array | undefined =>
  file.sections.find((section) => roleOf(section) === role)?.data;

function readVersion(data: Uint8Array | undefined): number | undefined {
  if (data === undefined) return undefined;
  if (data.length < 4) throw new ParseError("version", `a kernel version has 4 bytes, found ${data.length}`);
  return new DataView(data.buffer, data.byteOffset, 4).getUint32(0, true);
}
