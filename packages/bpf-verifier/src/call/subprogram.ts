/**
 * Calls between functions of the program: static ones are walked, global ones are believed, callbacks are walked from where
 * they are passed. Linux: check_func_call(), prepare_func_exit(), push_callback_call().
 */
import { E2BIG, EACCES, EINVAL } from "@alien-ts/abi";
import { MAX_FRAMES, REG } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { assert } from "../assert.ts";
import { subprogramAt } from "../cfg.ts";
import { checkLeaks } from "../check/leaks.ts";
import { checkReturned } from "../check/returned.ts";
import type { ReturnRange } from "../env.ts";
import { markPrecise } from "../prune/precision.ts";
import { findPreviousEntry } from "../prune/visited.ts";
import { widen } from "../prune/widen.ts";
import { stateText } from "../print.ts";
import { functionName, isGlobal } from "../state.ts";
import { NOT_INIT, UNKNOWN, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { History } from "../state/history.ts";
import { Frame } from "../state/state.ts";
import type { State } from "../state/state.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { effectsOf } from "./effects.ts";
import { checkGlobalArguments } from "./global.ts";
import { forgetPackets } from "./release.ts";
import { callsCallback } from "./callback-kinds.ts";

export function checkLocalCall(analysis: Analysis, insn: Insn): Check {
  const start = analysis.index + 1 + insn.imm;
  const subprogram = subprogramAt(analysis.subprograms, start);
  if (isGlobal(analysis.env, analysis.subprograms, subprogram)) return callGlobal(analysis, subprogram);
  logStaticArguments(analysis, subprogram);
  const bad = enter(analysis, analysis.state, subprogram, analysis.index);
  if (bad !== undefined) return bad;
  const { state } = analysis;
  const callee = state.top;
  const caller = state.frames.at(-2)!;
  for (let i = 1; i <= 5; i++) callee.registers[i] = caller.registers[i]!;
  for (let i = 0; i <= 5; i++) caller.registers[i] = NOT_INIT;
  analysis.liveStack.leave();
  logFrames(analysis, "caller:", caller, "callee:", callee);
  analysis.touchAll();
  analysis.target = start;
  return undefined;
}

/** A static function is walked with what it is given, whatever its type says; the log tells where they differ. */
function logStaticArguments(analysis: Analysis, subprogram: number): void {
  if (!analysis.log.isNeeded || analysis.unreliable.has(subprogram)) return;
  const { program } = analysis.env;
  const start = analysis.subprograms[subprogram]?.start;
  if (program?.functions.some(({ insn }) => insn === start) !== true) return;
  const bad = checkGlobalArguments(analysis, subprogram, true);
  if (bad === undefined) return;
  if (bad.message !== "") analysis.log.line(bad.message);
  analysis.unreliable.add(subprogram);
}

function logFrames(analysis: Analysis, first: string, a: Frame, second: string, b: Frame): void {
  if (!analysis.log.isEnabled) return;
  analysis.log.line(first);
  analysis.log.line(stateText(analysis.state, a, undefined));
  analysis.log.line(second);
  analysis.log.line(stateText(analysis.state, b, undefined));
}

function enter(analysis: Analysis, state: State, subprogram: number, site: number): Check {
  if (state.frames.length >= MAX_FRAMES)
    return reject(E2BIG, `the call stack of ${state.frames.length + 1} frames is too deep`);
  const frame = new Frame(state.frames.length, subprogram, site);
  frame.registers[REG.R10] = pointer("fp", { frame: frame.index });
  state.frames.push(frame);
  void analysis;
  return undefined;
}

/**
 * A global function is verified by itself: here only its arguments are. Differs from Linux, where one that throws leaves behind
 * what its callers hold.
 */
function callGlobal(analysis: Analysis, subprogram: number): Check {
  const name = functionName(analysis.env, analysis.subprograms, subprogram);
  const { state, env } = analysis;
  const bad = checkGlobalArguments(analysis, subprogram);
  const before = bad === undefined || bad.message === "" ? "" : `${bad.message}\n`;
  if (state.hasLocks) {
    return reject(
      EINVAL,
      `${before}global function calls are not allowed while holding a lock,\nuse static function instead`,
    );
  }
  const { mightSleep, changesPacket, mightThrow } = effectsOf(env, analysis.subprograms)[subprogram]!;
  const isRegion = state.activeRcuLocks > 0 || state.activePreemptLocks > 0 || state.activeIrqId !== 0;
  if (mightSleep && (isRegion || !state.isInSleepable)) {
    return reject(
      EINVAL,
      `${before}global functions that may sleep are not allowed in non-sleepable context,\n` +
        "i.e., in a RCU/IRQ/preempt-disabled section, or in\na non-sleepable BPF program context",
    );
  }
  if (bad !== undefined)
    return reject(bad.errno, `${before}Caller passes invalid args into func#${subprogram} ('${name}')`);
  const held = mightThrow ? checkLeaks(analysis, "bpf_throw", true, true) : undefined;
  if (held !== undefined) return held;
  if (analysis.log.isNeeded) analysis.log.line(`Func#${subprogram} ('${name}') is global and assumed valid.`);
  if (changesPacket) forgetPackets(analysis);
  analysis.calledGlobals.add(subprogram);
  analysis.clearCallerSaved();
  analysis.set(REG.R0, UNKNOWN);
  analysis.target = analysis.index + 1;
  return undefined;
}

/** Back from a function, or from a callback to the call that may call it again. */
export function returnToCaller(analysis: Analysis): Check {
  analysis.liveStack.update();
  const { state } = analysis;
  const callee = state.top;
  const caller = state.frames.at(-2)!;
  const result = callee.registers[REG.R0]!;
  if (result.kind === "fp") return reject(EINVAL, "cannot return stack pointer to the caller");
  if (callee.isCallback) {
    if (!result.isScalar) return reject(EACCES, "R0 not a scalar value");
    const bad =
      markPrecise(analysis, REG.R0) ??
      (callee.returnRange === undefined
        ? undefined
        : checkReturned(callee.registers[REG.R0]!, callee.returnRange, "At callback return the register R0"));
    if (bad !== undefined) return bad;
  } else caller.registers[REG.R0] = callee.registers[REG.R0]!;
  const to = callee.isCallback ? callee.callSite : callee.callSite + 1;
  logFrames(analysis, "returning from callee:", callee, `to caller at ${to}:`, caller);
  state.frames.pop();
  if (callee.isCallback && callsCallback(analysis.env, analysis.insns[callee.callSite]!)) {
    const before = findPreviousEntry(state, to);
    if (before !== undefined) widen(before, state);
  }
  analysis.target = to;
  return undefined;
}

/**
 * A tail call in a function of the program: where it succeeds, the caller goes on once the program that was called has ended, and
 * nothing is known of what that did. Where it fails, the function goes on.
 */
export function returnFromTailCall(analysis: Analysis): Check {
  analysis.touch(REG.R0);
  const full = analysis.push(analysis.index + 1, analysis.state.copy());
  if (full !== undefined) return full;
  forgetPackets(analysis);
  analysis.setUnknown(REG.R0);
  return returnToCaller(analysis);
}

export interface Callback {
  readonly subprogram: number;
  readonly arguments: readonly (Register | undefined)[];
  readonly returns: ReturnRange | undefined;
  readonly isAsync: boolean;
  /** Of one that runs later: it may sleep. */
  readonly isSleepable?: boolean;
}

/** Walks the callback later, as if the helper called it now. */
export function pushCallback(analysis: Analysis, callback: Callback): Check {
  const copy = analysis.state.copy();
  const start = analysis.subprograms[callback.subprogram]?.start;
  assert(start !== undefined, "arguments that are called back are functions");
  logStaticArguments(analysis, callback.subprogram);
  analysis.callbacks.add(callback.subprogram);
  if (callback.isAsync) {
    analysis.laterCallbacks.add(callback.subprogram);
    copy.frames = [];
    copy.references = [];
    copy.activeLocks = 0;
    copy.parent = undefined;
    copy.branches = 1;
    copy.firstInsn = 0;
    copy.history = new History();
    copy.activeIrqId = 0;
    copy.activeRcuLocks = 0;
    copy.activePreemptLocks = 0;
    copy.isInSleepable = callback.isSleepable === true;
  } else {
    copy.callbackUnrollDepth += 1;
    copy.top.callbackDepth += 1;
    analysis.frame.callbackDepth = 0;
  }
  const bad = callback.isAsync
    ? enter(analysis, copy, callback.subprogram, -1)
    : enter(analysis, copy, callback.subprogram, analysis.index);
  if (bad !== undefined) return bad;
  const frame = copy.top;
  callback.arguments.forEach((register, i) => {
    frame.registers[i + 1] = register ?? NOT_INIT;
  });
  if (callback.isAsync) {
    frame.isAsyncCallback = true;
    frame.asyncEntries = analysis.frame.asyncEntries + 1;
  }
  frame.isCallback = !callback.isAsync;
  frame.returnRange = callback.returns;
  // Linux takes every register for touched where a frame is made.
  analysis.touchAll();
  return analysis.push(start, copy);
}
