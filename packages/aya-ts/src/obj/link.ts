/**
 * Links a program: the code of every function that it calls is appended once, calls are rebased, and map and data references
 * get file descriptors. The result is what `BPF_PROG_LOAD` takes.
 *
 * Authority: aya-obj `relocation.rs`; the pseudo source registers of include/uapi/linux/bpf.h. Specs are not changed.
 */
import { CALL, PSEUDO } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { FuncInfo, LineInfo } from "@alien-ts/btf";
import { RelocationError } from "../errors.ts";
import type { FunctionSpec, ObjectSpec, Relocation } from "./spec.ts";
import { functionKey } from "./spec.ts";

const OP_LD_IMM64 = 0x18;

/** A helper that no kernel has, in place of a weak kernel function that this one lacks (libbpf, POISON_CALL_KFUNC_BASE). */
const MISSING_KFUNC = 2_002_000_000;

export interface LinkedProgram {
  readonly insns: readonly Insn[];
  /** Offsets are in instructions. */
  readonly funcInfo: readonly FuncInfo[];
  readonly lineInfo: readonly LineInfo[];
}

/** @param mapFd gives the descriptor of a created map. */
export function linkProgram(
  spec: ObjectSpec,
  program: FunctionSpec,
  mapFd: (map: string) => number,
): LinkedProgram {
  const starts = layOut(spec, program);
  const insns: Insn[] = [];
  const funcInfo: FuncInfo[] = [];
  const lineInfo: LineInfo[] = [];
  for (const [key, { fn, start }] of starts) {
    fn.insns.forEach((insn, index) => {
      const relocation = fn.relocations.get(index);
      const previous = fn.relocations.get(index - 1);
      if (relocation !== undefined)
        insns.push(patch(insn, relocation, { at: start + index, fn, key, starts, mapFd }));
      else insns.push(previous === undefined ? insn : patchSecond(insn, fn.insns[index - 1]!, previous));
    });
    for (const record of fn.funcInfo) funcInfo.push({ ...record, offset: record.offset + start });
    for (const record of fn.lineInfo) lineInfo.push({ ...record, offset: record.offset + start });
  }
  return { insns, funcInfo, lineInfo };
}

interface Placed {
  readonly fn: FunctionSpec;
  /** Index of its first instruction in the linked program. */
  readonly start: number;
}

/** The program first, then every function that it reaches, each once, followed by those that it calls itself. */
function layOut(spec: ObjectSpec, program: FunctionSpec): Map<string, Placed> {
  const starts = new Map<string, Placed>();
  let next = 0;
  const pending = [functionKey(program.sectionIndex, program.address)];
  for (let key = pending.pop(); key !== undefined; key = pending.pop()) {
    if (starts.has(key)) continue;
    const fn = spec.functions.get(key);
    if (fn === undefined)
      throw new RelocationError(program.name, `no function starts at ${key} (section:address)`);
    starts.set(key, { fn, start: next });
    next += fn.insns.length;
    const called = inOrder(fn).flatMap((relocation) =>
      relocation.kind === "function" ? [relocation.key] : [],
    );
    pending.push(...called.toReversed());
  }
  return starts;
}

const inOrder = (fn: FunctionSpec): Relocation[] =>
  Array.from(fn.relocations)
    .toSorted(([a], [b]) => a - b)
    .map(([, relocation]) => relocation);

interface Site {
  /** Index of the instruction in the linked program. */
  readonly at: number;
  readonly fn: FunctionSpec;
  readonly key: string;
  readonly starts: ReadonlyMap<string, Placed>;
  readonly mapFd: (map: string) => number;
}

function patch(insn: Insn, relocation: Relocation, site: Site): Insn {
  switch (relocation.kind) {
    case "map":
      return { ...insn, src: PSEUDO.MAP_FD, imm: site.mapFd(relocation.map) };
    case "data":
      return { ...insn, src: PSEUDO.MAP_VALUE, imm: site.mapFd(relocation.map) };
    case "function": {
      const target = site.starts.get(relocation.key)!;
      // Both count from the next instruction (for a callback: from the one after the load's first slot).
      const distance = target.start - site.at - 1;
      return { ...insn, src: relocation.isCall ? CALL.LOCAL : PSEUDO.FUNC, imm: distance };
    }
    case "kernelFunction":
      // A wide load asks whether the kernel has the function.
      return { ...insn, src: insn.opcode === OP_LD_IMM64 ? PSEUDO.BTF_ID : CALL.KFUNC, imm: relocation.id };
    case "kernelVariable":
      return { ...insn, src: PSEUDO.BTF_ID, imm: relocation.id };
    case "address":
      return { ...insn, src: 0, imm: Number(BigInt.asIntN(32, relocation.address)) };
    case "missing":
      return insn.opcode === OP_LD_IMM64
        ? { ...insn, src: 0, imm: 0 }
        : { ...insn, src: 0, imm: MISSING_KFUNC };
    case "extern":
      throw new RelocationError(site.fn.name, `external symbol ${relocation.name} cannot be resolved`);
  }
}

/** What the slot after a relocated one becomes: the second half of a wide load. */
function patchSecond(insn: Insn, first: Insn, relocation: Relocation): Insn {
  if (first.opcode !== OP_LD_IMM64) return insn;
  switch (relocation.kind) {
    case "data":
      // The offset in the map's value.
      return { ...insn, imm: relocation.address };
    case "address":
      return { ...insn, imm: Number(BigInt.asIntN(32, relocation.address >> 32n)) };
    case "function":
    case "kernelFunction":
    case "kernelVariable":
    case "missing":
      return { ...insn, imm: 0 };
    default:
      return insn;
  }
}
