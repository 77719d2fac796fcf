/**
 * What processors may do before they know better, for loaders whose programs must not use it: mispredicted jumps are walked as
 * paths of their own, and where such a path would do what is forbidden, a barrier ends it.
 */
import { EACCES, EINVAL, EPERM } from "@alien-ts/abi";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { UNKNOWN } from "../state/register.ts";
import type { Check, Reject } from "../verdict.ts";

const FROM_REGISTER = 8;

/** The way that a decided jump does not go, where what it compares is anything. Linux: sanitize_speculative_path() */
export function pushMispredicted(analysis: Analysis, { opcode, dst, src }: Insn, to: number): Check {
  if (analysis.env.privileges.bypassesSpecV1) return undefined;
  const state = analysis.state.copy();
  const pushed = analysis.push(to, state, true);
  if (pushed !== undefined) return pushed;
  state.registers[dst] = UNKNOWN;
  if ((opcode & FROM_REGISTER) !== 0) state.registers[src] = UNKNOWN;
  return undefined;
}

/** Whether a refusal on a mispredicted path can become a barrier. Linux: error_recoverable_with_nospec() */
export const mayStopAtBarrier = ({ state }: Analysis, { errno }: Reject): boolean =>
  state.isSpeculative && (errno === EPERM || errno === EACCES || errno === EINVAL);

/** Puts a barrier in front of the instruction at hand where its refusal can become one. */
export function stopsAtBarrier(analysis: Analysis, refusal: Reject): boolean {
  if (!mayStopAtBarrier(analysis, refusal)) return false;
  const notes = analysis.notes[analysis.index]!;
  notes.hasBarrierBefore = true;
  notes.mask = undefined;
  const { message, endsLine } = refusal;
  if (message !== "" && analysis.log.isNeeded) analysis.log.write(endsLine ? `${message}\n` : message);
  return true;
}
