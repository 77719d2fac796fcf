/** The end of a function: nothing may be held, and r0 is what the program type wants. Linux: check_return_code(). */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { REG } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { checkContextPointer } from "../access/pointer-offset.ts";
import type { Analysis } from "../analysis.ts";
import { returnToCaller } from "../call/subprogram.ts";
import type { ReturnRange } from "../env.ts";
import { markPrecise } from "../prune/precision.ts";
import { kindName } from "../state/register.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { hasNoResult, isReturnedReference, isVoidHookOfCgroup, resultRange } from "./result-range.ts";
import { checkReturned } from "./returned.ts";

/** The path goes on in the caller where there is one. */
export function checkExit(analysis: Analysis, insn: Insn): Check {
  if (insn.src !== 0 || insn.dst !== 0 || insn.imm !== 0 || (insn.opcode & 7) === 6)
    return reject(EINVAL, "BPF_EXIT uses reserved fields");
  const isMain = analysis.state.frames.length === 1;
  const held = checkLeaks(analysis, "BPF_EXIT instruction in main prog", isMain);
  if (held !== undefined) return held;
  if (!isMain) return returnToCaller(analysis);
  return checkResult(analysis, REG.R0);
}

/** What is still held at a place where nothing may be. Linux: check_resource_leak() */
export function checkLeaks(
  analysis: Analysis,
  place: string,
  withLocks: boolean,
  isException = false,
): Check {
  const { state } = analysis;
  if (withLocks && state.hasLocks)
    return reject(EINVAL, `${place} cannot be used inside bpf_spin_lock-ed region`);
  const isMain = state.frames.length === 1 || isException;
  const returned = returnedReference(analysis, isException);
  const lingering = state.references.filter(({ id, kind }) => kind === "object" && id !== returned);
  if ((isMain || place !== "BPF_EXIT instruction in main prog") && lingering.length > 0) {
    const lines = lingering.map(({ id, insn }) => `Unreleased reference id=${id} alloc_insn=${insn}`);
    return reject(EINVAL, [...lines, `${place} would lead to reference leak`].join("\n"));
  }
  if (!withLocks) return undefined;
  if (state.activeIrqId !== 0)
    return reject(EINVAL, `${place} cannot be used inside bpf_local_irq_save-ed region`);
  if (state.activeRcuLocks > 0)
    return reject(EINVAL, `${place} cannot be used inside bpf_rcu_read_lock-ed region`);
  if (state.activePreemptLocks > 0)
    return reject(EINVAL, `${place} cannot be used inside bpf_preempt_disable-ed region`);
  return undefined;
}

const STRUCT_OPS = 27;

/** Operations may give a reference to the kernel; whether it is what they are to give is looked at later. */
function returnedReference(analysis: Analysis, isException: boolean): number | undefined {
  const mayReturn = analysis.env.programType.type === STRUCT_OPS && !isException;
  return mayReturn ? analysis.register(REG.R0).refId : undefined;
}

/** The number that an exception carries is the program's result, where no function of the program makes one of it. */
export function checkThrown(analysis: Analysis): Check {
  return analysis.exceptionCallback === 0 ? checkResult(analysis, REG.R1) : undefined;
}

function checkResult(analysis: Analysis, number: number): Check {
  const { endsProgram, env, frame } = analysis;
  const { isAsyncCallback, returnRange } = frame;
  if (endsProgram && !isAsyncCallback && hasNoResult(env)) return undefined;
  const register = analysis.register(number);
  if (analysis.entry === 0 && isReturnedReference(env, register))
    return checkContextPointer(register, number);
  const bad = analysis.read(number);
  if (bad !== undefined) return bad;
  if (analysis.isLeak(number)) return reject(EACCES, `R${number} leaks addr as return value`);
  if (isAsyncCallback && returnRange !== undefined)
    return checkInRange(analysis, number, returnRange, "At async callback return");
  if (!endsProgram) {
    const what = `At subprogram exit the register R${number} is not a scalar value`;
    return register.isScalar ? undefined : reject(EINVAL, `${what} (${kindName(register)})`);
  }
  const range = resultRange(env);
  if (range === undefined || range instanceof Reject) return range;
  const wrong = checkInRange(analysis, number, range, "At program exit");
  if (wrong === undefined || !register.isScalar || !isVoidHookOfCgroup(env)) return wrong;
  const note = "Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!";
  return reject(EINVAL, `${wrong.message}\n${note}`);
}

function checkInRange(analysis: Analysis, number: number, range: ReturnRange, when: string): Check {
  const register = analysis.register(number);
  if (!register.isScalar)
    return reject(EINVAL, `${when} the register R${number} is not a known value (${kindName(register)})`);
  return (
    markPrecise(analysis, number) ??
    checkReturned(analysis.register(number), range, `${when} the register R${number}`)
  );
}
