/**
 * The relocations of one code section, as the things that they name: map, data, function or extern.
 *
 * Also finds calls inside a section, which compilers emit without a relocation. Linking (`link.ts`) never looks at ELF again.
 */
import { CALL, INSN_BYTES } from "@alien-ts/bpf-isa";
import type { ElfSection, ElfSymbol } from "@alien-ts/elf";
import {
  isElfError,
  R_BPF_64_32,
  R_BPF_64_64,
  SHN_UNDEF,
  SHT_REL,
  SHT_RELA,
  STB_WEAK,
  STT_FUNC,
} from "@alien-ts/elf";
import { ParseError, RelocationError } from "../errors.ts";
import type { ObjectFile } from "./object.ts";
import { functionKey } from "./spec.ts";
import type { MapSpec, Relocation } from "./spec.ts";

const OP_LD_IMM64 = 0x18;
const OP_CALL = 0x85;

/** By byte offset in the section. */
export function resolveRelocations(
  file: ObjectFile,
  section: ElfSection,
  maps: ReadonlyMap<string, MapSpec>,
): Map<number, Relocation> {
  const out = localCalls(section);
  for (const table of file.sections) {
    if ((table.type !== SHT_REL && table.type !== SHT_RELA) || table.info !== section.index) continue;
    const entries = file.elf.relocations(table);
    if (isElfError(entries)) throw new ParseError(table.name, entries.message, { cause: entries });
    for (const entry of entries) {
      const symbol = file.symbols[entry.symbol];
      if (symbol === undefined)
        throw new RelocationError(
          table.name,
          `relocation at ${entry.offset} names symbol ${entry.symbol}, which is not there`,
        );
      if (entry.offset % INSN_BYTES !== 0 || entry.offset + INSN_BYTES > section.data.length)
        throw new RelocationError(table.name, `relocation at ${entry.offset} is not at an instruction`);
      out.set(entry.offset, resolve({ file, section, maps }, symbol, entry));
    }
  }
  return out;
}

/** Calls with an offset that is already right, as relocations: code moves when it is linked. */
function localCalls(section: ElfSection): Map<number, Relocation> {
  const out = new Map<number, Relocation>();
  const view = new DataView(section.data.buffer, section.data.byteOffset, section.data.byteLength);
  for (let at = 0; at < section.data.length; at += INSN_BYTES) {
    if (view.getUint8(at) === OP_LD_IMM64) {
      at += INSN_BYTES;
      continue;
    }
    if (view.getUint8(at) !== OP_CALL || view.getUint8(at + 1) >> 4 !== CALL.LOCAL) continue;
    const target = at + (view.getInt32(at + 4, true) + 1) * INSN_BYTES;
    out.set(at, { kind: "function", key: functionKey(section.index, target), isCall: true });
  }
  return out;
}

interface Context {
  readonly file: ObjectFile;
  readonly section: ElfSection;
  readonly maps: ReadonlyMap<string, MapSpec>;
}

function resolve(
  { file, section, maps }: Context,
  symbol: ElfSymbol,
  { offset, type }: { readonly offset: number; readonly type: number },
): Relocation {
  const where = `${section.name}+${offset}`;
  if (type !== R_BPF_64_64 && type !== R_BPF_64_32)
    throw new RelocationError(where, `unknown relocation type ${type}`);
  const view = new DataView(section.data.buffer, section.data.byteOffset + offset, INSN_BYTES);
  const opcode = view.getUint8(0);
  const imm = view.getInt32(4, true);
  if (opcode !== OP_LD_IMM64 && opcode !== OP_CALL)
    throw new RelocationError(
      where,
      `expected a 64-bit load or a call, found opcode 0x${opcode.toString(16)}`,
    );
  if (symbol.section === SHN_UNDEF)
    return { kind: "extern", name: symbol.name, isWeak: symbol.binding === STB_WEAK };
  const target = file.sections[symbol.section];
  if (target === undefined)
    throw new RelocationError(
      where,
      `symbol ${symbol.name} is in section ${symbol.section}, which is not there`,
    );
  if (opcode === OP_CALL) {
    // A call through a section symbol carries its target in the immediate: instructions - 1.
    const addend = symbol.type === STT_FUNC ? 0 : (imm + 1) * INSN_BYTES;
    return { kind: "function", key: functionKey(target.index, symbol.value + addend), isCall: true };
  }
  const map = maps.get(symbol.name);
  if (map !== undefined && map.origin !== "data") return { kind: "map", map: map.name };
  if (maps.get(target.name)?.origin === "data")
    return { kind: "data", map: target.name, address: symbol.value + imm };
  if (symbol.type === STT_FUNC || target.name.startsWith(".text"))
    return { kind: "function", key: functionKey(target.index, symbol.value + imm), isCall: false };
  throw new RelocationError(where, `symbol ${symbol.name || target.name} is no map, data or function`);
}
