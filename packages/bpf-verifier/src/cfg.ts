/**
 * Functions and edges of a program. Linux: add_subprog_and_kfunc(), check_subprogs(), check_cfg().
 *
 * `findSubprograms` cuts the program where calls and function addresses point; `checkSubprograms` keeps jumps inside their
 * function; `checkReachable` finds dead instructions, and loops for those who may not have any.
 */
import { E2BIG, EBADF, EINVAL, ENOTSUPP, EPERM, EPROTO, isErr } from "@alien-ts/abi";
import { CALL, CLASS, PSEUDO } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { isGplCompatible } from "./env.ts";
import { checkPrototype } from "./check/attach.ts";
import type { VerifierEnv } from "./env.ts";
import type { Subprogram, Verification } from "./state.ts";
import { Reject, reject } from "./verdict.ts";
import type { Check } from "./verdict.ts";

/** BPF_MAX_SUBPROGS */
const MAX_SUBPROGRAMS = 256;
const JA = 0x05;
const JA32 = 0x06;
const CALL_OPCODE = 0x85;
const EXIT = 0x95;
export const WIDE_LOAD = 0x18;

/** @param exceptionStart first instruction of the function that runs when the program throws; 0 for none. */
export function findSubprograms(verification: Verification, exceptionStart: () => number | Reject): Check {
  const { insns, env, log } = verification;
  const starts = new Set([0]);
  for (const [index, insn] of insns.entries()) {
    const isKfunc = insn.opcode === CALL_OPCODE && insn.src === CALL.KFUNC;
    if (!isKfunc && !isFunctionReference(insn)) continue;
    if (!env.privileges.isCapable) {
      return reject(
        EPERM,
        "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN",
      );
    }
    if (isKfunc) {
      const refusal = checkKfunc(verification, insn);
      if (refusal !== undefined) return refusal;
      continue;
    }
    const start = index + 1 + insn.imm;
    if (start < 0 || start >= insns.length) return reject(EINVAL, "call to invalid destination");
    starts.add(start);
    if (starts.size > MAX_SUBPROGRAMS) return reject(E2BIG, "too many subprograms");
  }
  const thrownTo = exceptionStart();
  if (thrownTo instanceof Reject) return thrownTo;
  if (thrownTo >= insns.length) return reject(EINVAL, "call to invalid destination");
  starts.add(thrownTo);
  const sorted = [...starts].sort((a, b) => a - b);
  verification.exceptionCallback = sorted.indexOf(thrownTo);
  verification.subprograms = sorted.map((start, i) => ({ start, end: sorted[i + 1] ?? insns.length }));
  if (log.isVerbose)
    for (const [i, { start }] of verification.subprograms.entries()) log.line(`func#${i} @${start}`);
  return undefined;
}

/** Linux: add_kfunc_call() */
function checkKfunc({ env }: Verification, insn: Insn): Check {
  if (env.kfunc === undefined) {
    return reject(ENOTSUPP, "calling kernel function is not supported without CONFIG_DEBUG_INFO_BTF");
  }
  if (!isGplCompatible(env.license))
    return reject(EINVAL, "cannot call kernel function from non-GPL compatible program");
  // Loaders leave calls of functions that the kernel lacks unresolved; they must be dead code.
  if (insn.imm === 0 && insn.off === 0) return undefined;
  if (insn.off !== 0) return noModule(env, insn.off);
  const name = env.kfunc(insn.imm, insn.off);
  if (name === undefined) return reject(EINVAL, `kernel btf_id ${insn.imm >>> 0} is not a function`);
  if (env.kfuncRules?.(name)?.flags.has("device_bound") === true)
    return reject(EINVAL, "metadata kfuncs require device-bound program");
  const type = env.kernelBtf?.type(insn.imm);
  return type?.kind === "func" ? checkPrototype(env.kernelBtf!, { name, prototype: type.type }) : undefined;
}

/** Functions of modules, of which there are none. Linux: __find_kfunc_desc_btf() */
function noModule(env: VerifierEnv, off: number): Check {
  const refusal = "failed to find BTF for kernel function";
  if (off < 0)
    return reject(EINVAL, `negative offset disallowed for kernel module function call\n${refusal}`);
  if (env.fdArray === undefined)
    return reject(EPROTO, `kfunc offset > 0 without fd_array is invalid\n${refusal}`);
  const fd = env.fdArray(off);
  if (isErr(fd)) return reject(fd, refusal);
  const errno = env.map(fd) === EBADF ? EBADF : EINVAL;
  return reject(errno, `invalid module BTF fd specified\n${refusal}`);
}

export const isLocalCall = (insn: Insn): boolean => insn.opcode === CALL_OPCODE && insn.src === CALL.LOCAL;

function isFunctionReference(insn: Insn): boolean {
  return isLocalCall(insn) || (insn.opcode === WIDE_LOAD && insn.src === PSEUDO.FUNC);
}

/** Every jump stays in its function, and no function runs into the next one. */
export function checkSubprograms({ insns, subprograms }: Verification): Check {
  for (const { start, end } of subprograms) {
    for (let index = start; index < end; index++) {
      const insn = insns[index]!;
      const target = jumpTarget(insn, index);
      if (target !== undefined && (target < start || target >= end)) {
        return reject(EINVAL, `jump out of range from insn ${index} to ${target | 0}`);
      }
    }
    const last = insns[end - 1]!.opcode;
    if (last !== EXIT && last !== JA && last !== JA32)
      return reject(EINVAL, "last insn is not an exit or jmp");
  }
  return undefined;
}

/** Where a jump goes when it is taken; undefined for what is no jump. */
function jumpTarget(insn: Insn, index: number): number | undefined {
  const kind = insn.opcode & 7;
  if (kind !== CLASS.JMP && kind !== CLASS.JMP32) return undefined;
  const operation = insn.opcode & 0xf0;
  if (operation === 0x80 || operation === 0x90) return undefined;
  // In C's int.
  return (index + 1 + (insn.opcode === JA32 ? insn.imm : insn.off)) | 0;
}

const DISCOVERED = 1;
const EXPLORED = 2;

/** A walk in depth over all edges, from each function's first instruction that something refers to. */
export function checkReachable(verification: Verification): Check {
  const { insns, subprograms, exceptionCallback } = verification;
  const states = new Uint8Array(insns.length + 1);
  const loop = walk(verification, states, 0);
  if (loop !== undefined) return loop;
  const thrownTo = subprograms[exceptionCallback]!.start;
  if (states[thrownTo] === 0) {
    const later = walk(verification, states, thrownTo);
    if (later !== undefined) return later;
  }
  for (let index = 0; index < insns.length; index++) {
    if (states[index] !== EXPLORED) return reject(EINVAL, `unreachable insn ${index}`);
    if (insns[index]!.opcode !== WIDE_LOAD) continue;
    if (states[index + 1] !== 0) return reject(EINVAL, `jump into the middle of ldimm64 insn ${index}`);
    index += 1;
  }
  return undefined;
}

function walk({ insns, env }: Verification, states: Uint8Array, start: number): Check {
  const path: number[] = [start];
  const turns = new Uint8Array(insns.length + 1);
  states[start] = DISCOVERED;
  while (path.length > 0) {
    const index = path.at(-1)!;
    const next = successors(insns, index)[turns[index]!++];
    if (next === undefined) {
      states[index] = EXPLORED;
      path.pop();
    } else if (states[next] === 0) {
      states[next] = DISCOVERED;
      path.push(next);
    } else if (states[next] === DISCOVERED && !env.privileges.isCapable && !isLocalCall(insns[index]!)) {
      return reject(EINVAL, `back-edge from insn ${index} to ${next}`);
    }
  }
  return undefined;
}

/** Instructions that may follow; with `intoCalls`, the functions that it calls or names among them. */
export function successors(insns: readonly Insn[], index: number, intoCalls = true): readonly number[] {
  const insn = insns[index]!;
  if (insn.opcode === EXIT) return [];
  if (insn.opcode === WIDE_LOAD) {
    const next = index + 2;
    return insn.src === PSEUDO.FUNC && intoCalls ? [next, index + 1 + insn.imm] : [next];
  }
  if (isLocalCall(insn) && intoCalls) return [index + 1, index + 1 + insn.imm];
  const target = jumpTarget(insn, index);
  if (target === undefined) return [index + 1];
  const isAlways = insn.opcode === JA || insn.opcode === JA32;
  return isAlways ? [target] : [index + 1, target];
}

/** Two instructions that may follow each one in its function; -1 for none. */
export function edgesOf(insns: readonly Insn[]): Int32Array {
  const edges = new Int32Array(2 * insns.length).fill(-1);
  for (let index = 0; index < insns.length; index++) {
    const { opcode } = insns[index]!;
    // The second half of a wide load has none.
    if (opcode === 0) continue;
    const kind = opcode & 7;
    if (kind === CLASS.JMP || kind === CLASS.JMP32 || opcode === WIDE_LOAD)
      edges.set(successors(insns, index, false), 2 * index);
    else edges[2 * index] = index + 1;
  }
  return edges;
}

/** The function that starts at `start`. */
export function subprogramAt(subprograms: readonly Subprogram[], start: number): number {
  return subprograms.findIndex((subprogram) => subprogram.start === start);
}
