/** Wide loads and loads from packets of old. Linux: check_ld_imm(), check_ld_abs(). */
import { EINVAL } from "@alien-ts/abi";
import { MODE, PSEUDO, REG, wideConstant } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { ARENA_MAP } from "../analysis.ts";
import { assert } from "../assert.ts";
import type { Analysis } from "../analysis.ts";
import { subprogramAt } from "../cfg.ts";
import { returnToCaller } from "../call/subprogram.ts";
import { checkContextPointer } from "../access/pointer-offset.ts";
import { checkLeaks } from "./leaks.ts";
import { FLAG, UNKNOWN, constRegister, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { isGlobal } from "../state.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

export function checkWide(analysis: Analysis, insn: Insn): Check {
  const { dst, imm, off } = insn;
  const second = analysis.insns[analysis.index + 1]!;
  if (off !== 0) return reject(EINVAL, "BPF_LD_IMM64 uses reserved fields");
  const bad = analysis.writable(dst);
  if (bad !== undefined) return bad;
  if (insn.src === PSEUDO.NONE) {
    analysis.set(dst, constRegister(wideConstant(insn, second)));
    return undefined;
  }
  if (insn.src === PSEUDO.FUNC) {
    const subprogram = subprogramAt(analysis.subprograms, analysis.index + 1 + imm);
    if (analysis.env.program === undefined) return reject(EINVAL, "missing btf func_info");
    if (isGlobal(analysis.env, analysis.subprograms, subprogram)) {
      return reject(EINVAL, "callback function not static");
    }
    analysis.set(dst, pointer("func", { subprogram }));
    return undefined;
  }
  if (insn.src === PSEUDO.BTF_ID) {
    analysis.set(dst, variable(analysis, imm));
    return undefined;
  }
  const map = analysis.maps.get(analysis.index);
  assert(map !== undefined, "maps were collected before the walk");
  const isValue = insn.src === PSEUDO.MAP_VALUE || insn.src === PSEUDO.MAP_IDX_VALUE;
  if (!isValue) {
    analysis.set(dst, pointer("map_ptr", { map }));
    return undefined;
  }
  if (map.type === ARENA_MAP) {
    // As its user sees it: a number, until it is cast.
    analysis.set(dst, UNKNOWN);
    return undefined;
  }
  // There is one value only: pointers to it are the same, and need no id.
  analysis.set(dst, pointer("map_value", { map, off: second.imm }));
  return undefined;
}

const PER_CPU = ".data..percpu";

/** A pointer to a variable or function of the kernel, which `resolve` has found. */
function variable({ env }: Analysis, id: number): Register {
  const btf = env.kernelBtf!;
  const type = btf.type(id);
  if (type?.kind !== "var") return pointer("mem", { flags: FLAG.RDONLY });
  const section = btf.type(btf.find(PER_CPU, "datasec") ?? 0);
  const isPerCpu = section?.kind === "datasec" && section.vars.some((entry) => entry.type === id);
  if (isPerCpu) return pointer("ptr_", { flags: FLAG.PERCPU, btf, btfId: type.type });
  const target = btf.type(btf.resolve(type.type));
  return target?.kind === "struct" || target?.kind === "union"
    ? pointer("ptr_", { btf, btfId: type.type })
    : pointer("mem", { flags: FLAG.RDONLY, memSize: btf.sizeOf(type.type) ?? 0 });
}

/** Loads from the packet of the context in r6. Where the packet ends before, the function returns 0. */
export function checkPacketLoad(analysis: Analysis, insn: Insn): Check {
  const { opcode, src, dst, off } = insn;
  const isIndirect = (opcode & 0xe0) === MODE.IND;
  if (!analysis.env.programType.hasPacketLoads)
    return reject(EINVAL, "BPF_LD_[ABS|IND] instructions not allowed for this program type");
  if (dst !== 0 || off !== 0 || (opcode & 0x18) === 0x18 || (!isIndirect && src !== 0))
    return reject(EINVAL, "BPF_LD_[ABS|IND] uses reserved fields");
  const bad = analysis.read(REG.R6) ?? checkLeaks(analysis, "BPF_LD_[ABS|IND]", true);
  if (bad !== undefined) return bad;
  if (analysis.register(REG.R6).kind !== "ctx")
    return reject(EINVAL, "at the time of BPF_LD_ABS|IND R6 != pointer to skb");
  const unreadable = isIndirect ? analysis.read(src) : undefined;
  if (unreadable !== undefined) return unreadable;
  const moved = checkContextPointer(analysis.register(REG.R6), REG.R6);
  if (moved !== undefined) return moved;
  analysis.clearCallerSaved();
  analysis.set(REG.R0, UNKNOWN);
  if (analysis.state.frames.length === 1) return undefined;
  const full = analysis.push(analysis.index + 1, analysis.state.copy());
  if (full !== undefined) return full;
  analysis.set(REG.R0, constRegister(0n));
  return returnToCaller(analysis);
}
