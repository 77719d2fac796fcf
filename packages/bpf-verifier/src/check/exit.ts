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
import { checkLeaks } from "./leaks.ts";
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

/**
 * The number that an exception carries is the program's result, where no function of the program makes one of it. Differs from Linux, which does
 * not look at what global functions throw.
 */
export function checkThrown(analysis: Analysis): Check {
  if (analysis.exceptionCallback !== 0) return undefined;
  const bad = checkResult(analysis, REG.R1);
  if (bad !== undefined || analysis.endsProgram || hasNoResult(analysis.env)) return bad;
  const range = resultRange(analysis.env);
  if (range === undefined || range instanceof Reject) return range;
  return checkInRange(analysis, REG.R1, range, "At program exit");
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
