/** The end of a function: nothing may be held, and r0 is what the program type wants. Linux: check_return_code(). */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { REG } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { returnToCaller } from "../call/subprogram.ts";
import type { ReturnRange } from "../env.ts";
import { markPrecise } from "../prune/precision.ts";
import { kindName } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { checkReturned } from "./returned.ts";

/** @param next where the caller goes on; not called where the program ends. */
export function checkExit(analysis: Analysis, insn: Insn, next: (index: number) => void): Check {
  if (insn.src !== 0 || insn.dst !== 0 || insn.imm !== 0 || (insn.opcode & 7) === 6)
    return reject(EINVAL, "BPF_EXIT uses reserved fields");
  const isMain = analysis.state.frames.length === 1;
  const held = checkLeaks(analysis, "BPF_EXIT instruction in main prog", isMain);
  if (held !== undefined) return held;
  if (!isMain) return returnToCaller(analysis, next);
  return checkResult(analysis);
}

/** What is still held at a place where nothing may be. Linux: check_resource_leak() */
export function checkLeaks(
  analysis: Analysis,
  place: string,
  withLocks: boolean,
  isException = false,
): Check {
  const { state } = analysis;
  const isMain = state.frames.length === 1 || isException;
  const lingering = state.references.filter(({ kind }) => kind === "object");
  if ((isMain || place !== "BPF_EXIT instruction in main prog") && lingering.length > 0) {
    const lines = lingering.map(({ id, insn }) => `Unreleased reference id=${id} alloc_insn=${insn}`);
    return reject(EINVAL, [...lines, `${place} would lead to reference leak`].join("\n"));
  }
  if (!withLocks) return undefined;
  if (state.hasLocks) return reject(EINVAL, `${place} cannot be used inside bpf_spin_lock-ed region`);
  if (state.activeIrqId !== 0)
    return reject(EINVAL, `${place} cannot be used inside bpf_local_irq_save-ed region`);
  if (state.activeRcuLocks > 0)
    return reject(EINVAL, `${place} cannot be used inside bpf_rcu_read_lock-ed region`);
  if (state.activePreemptLocks > 0)
    return reject(EINVAL, `${place} cannot be used inside bpf_preempt_disable-ed region`);
  return undefined;
}

/** The number that an exception carries is the program's result. */
export function checkThrown(analysis: Analysis): Check {
  const range = analysis.env.programType.returns;
  const register = analysis.register(REG.R1);
  if (!register.isScalar)
    return reject(EINVAL, `At program exit the register R1 is not a known value (${kindName(register)})`);
  if (range === undefined) return undefined;
  return (
    markPrecise(analysis, REG.R1) ??
    checkReturned(analysis.register(REG.R1), range, "At program exit the register R1")
  );
}

function checkResult(analysis: Analysis): Check {
  const { isAsyncCallback, returnRange } = analysis.frame;
  if (isVoid(analysis)) return undefined;
  const bad = analysis.read(REG.R0);
  if (bad !== undefined) return bad;
  const register = analysis.register(REG.R0);
  if (analysis.isLeak(REG.R0)) return reject(EACCES, "R0 leaks addr as return value");
  if (isAsyncCallback && returnRange !== undefined)
    return checkInRange(analysis, returnRange, "At async callback return");
  if (analysis.entry !== 0) {
    return register.isScalar
      ? undefined
      : reject(EINVAL, `At subprogram exit the register R0 is not a scalar value (${kindName(register)})`);
  }
  const range = analysis.env.programType.returns;
  return range === undefined ? undefined : checkInRange(analysis, range, "At program exit");
}

const VOID_TYPES: readonly number[] = [27, 29];

/** An operation or hook that gives nothing. */
function isVoid({ env, entry, frame }: Analysis): boolean {
  if (entry !== 0 || frame.isAsyncCallback || !VOID_TYPES.includes(env.programType.type)) return false;
  const prototype = env.kernelBtf?.type(env.attach?.prototype ?? 0);
  return prototype?.kind === "func_proto" && prototype.type === 0;
}

function checkInRange(analysis: Analysis, range: ReturnRange, when: string): Check {
  const register = analysis.register(REG.R0);
  if (!register.isScalar)
    return reject(EINVAL, `${when} the register R0 is not a known value (${kindName(register)})`);
  return (
    markPrecise(analysis, REG.R0) ??
    checkReturned(analysis.register(REG.R0), range, `${when} the register R0`)
  );
}
