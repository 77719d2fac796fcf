/**
 * Which registers are read later, per instruction: a data-flow analysis over each function. Linux: compute_live_registers().
 */
import { ATOMIC, CALL, CLASS, LOAD_ACQUIRE, MODE, STORE_RELEASE, disassemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { edgesOf } from "../cfg.ts";
import { mayCall } from "../env.ts";
import type { ProgramEnv } from "../env.ts";
import { instructionNames } from "../names.ts";

const ALL_CALLER_SAVED = 0b111111;
const ARGUMENTS = 0b111110;

/** Registers as bits. */
export interface Effect {
  readonly uses: number;
  readonly defines: number;
}

/**
 * Registers as bits: those that `insns[i]` or what follows it reads.
 * @param edges what may follow each instruction, where it is known.
 */
export function liveRegisters(env: ProgramEnv, edges = edgesOf(env.insns)): Uint16Array {
  const { insns } = env;
  const effects = insns.map((insn) => effectOf(env, insn));
  const before = new Uint16Array(insns.length);
  for (let changed = true; changed;) {
    changed = false;
    for (let i = insns.length - 1; i >= 0; i--) {
      const after = (before[edges[2 * i]!] ?? 0) | (before[edges[2 * i + 1]!] ?? 0);
      const { uses, defines } = effects[i]!;
      const live = (after & ~defines) | uses;
      if (live === before[i]) continue;
      before[i] = live;
      changed = true;
    }
  }
  return before;
}

/** The block of the log that shows them, with the number of the loop that an instruction is in. */
export function liveText(
  env: ProgramEnv,
  insns: readonly Insn[],
  live: Uint16Array,
  components: Int32Array,
): string {
  const lines = ["Live regs before insn:"];
  for (let i = 0; i < insns.length; i++) {
    const insn = insns[i]!;
    let marks = "";
    for (let register = 0; register < 10; register++)
      marks += (live[i]! & (1 << register)) === 0 ? "." : register;
    const text = disassemble(insn, insns[i + 1], instructionNames(env));
    const component = components[i]! <= 0 ? "" : String(components[i]);
    lines.push(`${component.padStart(3)} ${String(i).padStart(3)}: ${marks} ${text}`);
    if (insn.opcode === 0x18) i += 1;
  }
  return `${lines.join("\n")}\n`;
}

/** What one instruction reads and writes. */
export function effectOf(env: ProgramEnv, insn: Insn): Effect {
  const { opcode, dst, src } = insn;
  const target = 1 << dst;
  const source = 1 << src;
  const isRegister = (opcode & 8) !== 0;
  const operation = opcode & 0xf0;
  const mask = 0x3ff;
  const effect = (uses: number, defines: number): Effect => ({ uses: uses & mask, defines: defines & mask });
  switch (opcode & 7) {
    case CLASS.LD: {
      const mode = opcode & 0xe0;
      if (mode === MODE.IMM) return effect(0, target);
      // Linux takes everything for used.
      return effect(0x3ff, ALL_CALLER_SAVED);
    }
    case CLASS.LDX:
      return effect(source, target);
    case CLASS.ST:
      return effect(target, 0);
    case CLASS.STX:
      return (opcode & 0xe0) === MODE.ATOMIC ? atomicEffect(insn, effect) : effect(target | source, 0);
    case CLASS.ALU:
    case CLASS.ALU64:
      if (operation === 0xd0) return effect(target, target);
      if (operation === 0xb0) return effect(isRegister ? source : 0, target);
      return effect(target | (isRegister && operation !== 0x80 ? source : 0), target);
    default:
      if (opcode === 0x05 || opcode === 0x06 || opcode === 0xe5) return effect(0, 0);
      if (opcode === 0x95) return effect(1, 0);
      if (operation === 0x80) return callEffect(env, insn, effect);
      return effect(target | (isRegister ? source : 0), 0);
  }
}

function atomicEffect({ dst, src, imm }: Insn, effect: (uses: number, defines: number) => Effect): Effect {
  const target = 1 << dst;
  const source = 1 << src;
  if (imm === LOAD_ACQUIRE) return effect(source, target);
  if (imm === STORE_RELEASE) return effect(target | source, 0);
  if (imm === ATOMIC.cmpxchg.imm) return effect(target | source | 1, 1);
  return effect(target | source, (imm & 1) === 0 ? 0 : source);
}

/** Number of arguments of a kernel function; 5 where the program may not call it. */
function kfuncArguments({ kernelBtf, kfunc, kfuncRules, programType }: ProgramEnv, id: number): number {
  if (kfuncRules?.(kfunc?.(id, 0) ?? "")?.allows(programType) !== true) return 5;
  const func = kernelBtf?.type(id);
  const prototype = func?.kind === "func" ? kernelBtf?.type(func.type) : undefined;
  return prototype?.kind === "func_proto" && id !== 0 ? Math.min(prototype.params.length, 5) : 5;
}

function callEffect(
  env: ProgramEnv,
  { src, imm }: Insn,
  effect: (uses: number, defines: number) => Effect,
): Effect {
  if (src === CALL.KFUNC) return effect((1 << (kfuncArguments(env, imm) + 1)) - 2, ALL_CALLER_SAVED);
  if (src !== CALL.HELPER) return effect(ARGUMENTS, ALL_CALLER_SAVED);
  const count = mayCall(env, imm) ? env.helper(imm)?.args.length : undefined;
  if (count === undefined) return effect(ARGUMENTS, ALL_CALLER_SAVED);
  return effect((1 << (count + 1)) - 2, ALL_CALLER_SAVED);
}
