/**
 * The walk over all paths: instruction by instruction, until every path ended or one is refused. Answers to do_check().
 */
import { E2BIG, EINVAL } from "@alien-ts/abi";
import { CALL, CLASS, MAX_INSNS, MODE } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Analysis } from "./analysis.ts";
import { assert } from "./assert.ts";
import { checkHelperCall } from "./call/helper.ts";
import { HELPER } from "./call/callback-kinds.ts";
import { checkKfuncCall } from "./call/kfunc/call.ts";
import { calledKfunc, isAllowedUnderLock } from "./call/kfunc/facts.ts";
import { checkLocalCall, returnFromTailCall } from "./call/subprogram.ts";
import { checkAlu } from "./check/alu.ts";
import { checkExit } from "./check/exit.ts";
import { checkConditional } from "./check/jump.ts";
import { checkPacketLoad, checkWide } from "./check/load.ts";
import { checkMemoryInsn } from "./check/memory-op.ts";
import { sourceLine } from "./source.ts";
import { stateText } from "./print.ts";
import type { Points, Visited } from "./prune/visited.ts";
import { mayStopAtBarrier, stopsAtBarrier } from "./speculation/paths.ts";
import { Reject, reject } from "./verdict.ts";
import type { Check } from "./verdict.ts";

const JA = 0x05;
const JA32 = 0x06;
const EXIT = 0x95;
const CALL_OPCODE = 0x85;

/** Walks from the analysis' current state and instruction. */
export function walk(analysis: Analysis, points: Points, visited: Visited): Check {
  let showsState = false;
  for (;;) {
    const { index, state } = analysis;
    const insn = analysis.insns[index];
    assert(insn !== undefined, "functions end in an exit or a jump");
    analysis.processed += 1;
    if (analysis.processed > MAX_INSNS)
      return reject(E2BIG, `BPF program is too large. Processed ${analysis.processed} insn`);
    state.lastInsn = analysis.previous;
    state.insn = index;
    const notes = analysis.notes[index]!;
    notes.isSeen ||= !state.isSpeculative;
    if (points.prune[index] === 1) {
      const known = visited.check(index);
      if (known instanceof Reject) return known;
      if (known) {
        logSafe(analysis, showsState);
        if (!endPath(analysis, visited)) return undefined;
        showsState = true;
        continue;
      }
    }
    if (points.jump[index] === 1) state.history.push(index, analysis.previous);
    analysis.env.observer?.before(state, index);
    print(analysis, showsState);
    showsState = false;
    const step = state.isSpeculative && notes.hasBarrierBefore ? "end" : take(analysis, insn, visited);
    if (step instanceof Reject && !stopsAtBarrier(analysis, step)) return step;
    const isHeld = state.isSpeculative && notes.hasBarrierAfter;
    if (step instanceof Reject || step === "end" || isHeld) {
      if (!endPath(analysis, visited)) return undefined;
      showsState = true;
    } else if (step === "return") showsState = true;
  }
}

/** Executes the instruction at hand, and notes what it does to the stack. */
function take(analysis: Analysis, insn: Insn, visited: Visited): Step {
  analysis.liveStack.begin();
  const step = execute(analysis, insn, visited);
  if (!(step instanceof Reject) || mayStopAtBarrier(analysis, step)) analysis.liveStack.commit();
  return step;
}

function logSafe(analysis: Analysis, isFirst: boolean): void {
  if (!analysis.log.isEnabled) return;
  const { log, index, previous } = analysis;
  log.line(isFirst ? `\nfrom ${previous} to ${index}${speculation(analysis)}: safe` : `${index}: safe`);
}

const speculation = ({ state }: Analysis): string => (state.isSpeculative ? " (speculative execution)" : "");

function print(analysis: Analysis, showsState: boolean): void {
  const { log, index } = analysis;
  if (!log.isEnabled) return;
  if (showsState && log.isVerbose) {
    log.line(
      `\nfrom ${analysis.previous} to ${index}${speculation(analysis)}:${stateText(analysis.state, analysis.frame, undefined)}`,
    );
  }
  if (analysis.isTouched) analysis.printState();
  sourceLine(analysis, index);
  const text = `${index}: ${analysis.insnText(index)}`;
  log.line(text);
  analysis.printedLength = text.length;
  analysis.printedEnd = log.length;
}

/** The path is done; goes on with one that was remembered. False where there is none. */
function endPath(analysis: Analysis, visited: Visited): boolean {
  visited.close(analysis.state);
  analysis.liveStack.update();
  const next = analysis.open.pop();
  analysis.touchAll();
  if (next === undefined) return false;
  if (!analysis.log.isVerbose) analysis.log.reset(next.logLength);
  analysis.state = next.state;
  analysis.index = next.insn;
  analysis.previous = next.previous;
  return true;
}

type Step = Reject | "next" | "end" | "return";

function execute(analysis: Analysis, insn: Insn, visited: Visited): Step {
  const { opcode } = insn;
  const kind = opcode & 7;
  analysis.target = -1;
  if (kind === CLASS.JMP || kind === CLASS.JMP32) {
    visited.jumps += 1;
    const frames = analysis.state.frames.length;
    const bad = jump(analysis, insn);
    if (bad !== undefined) return bad;
    if (analysis.target < 0) return "end";
    go(analysis, analysis.target);
    return opcode === EXIT && analysis.state.frames.length < frames ? "return" : "next";
  }
  const bad = straight(analysis, insn, kind);
  if (bad !== undefined) return bad;
  go(analysis, analysis.target >= 0 ? analysis.target : analysis.index + (opcode === 0x18 ? 2 : 1));
  return "next";
}

function go(analysis: Analysis, to: number): void {
  analysis.previous = analysis.index;
  analysis.index = to;
}

function straight(analysis: Analysis, insn: Insn, kind: number): Check {
  switch (kind) {
    case CLASS.ALU:
    case CLASS.ALU64:
      return checkAlu(analysis, insn);
    case CLASS.LDX:
    case CLASS.ST:
    case CLASS.STX:
      return checkMemoryInsn(analysis, insn);
    default: {
      const mode = insn.opcode & 0xe0;
      if (mode === MODE.ABS || mode === MODE.IND) return checkPacketLoad(analysis, insn);
      return checkWide(analysis, insn);
    }
  }
}

function jump(analysis: Analysis, insn: Insn): Check {
  const { opcode, dst, src, off, imm } = insn;
  if (opcode === JA || opcode === JA32) {
    const rest = opcode === JA ? imm : off;
    if ((insn.opcode & 8) !== 0 || src !== 0 || dst !== 0 || rest !== 0)
      return reject(EINVAL, "BPF_JA uses reserved fields");
    analysis.target = analysis.index + 1 + (opcode === JA ? off : imm);
    return undefined;
  }
  if (opcode === EXIT) return checkExit(analysis, insn);
  if (opcode !== CALL_OPCODE) return checkConditional(analysis, insn);
  if (src > CALL.KFUNC || (src !== CALL.KFUNC && off !== 0) || dst !== 0)
    return reject(EINVAL, "BPF_CALL uses reserved fields");
  if (analysis.state.hasLocks) {
    const isAllowed =
      src === CALL.HELPER
        ? imm === HELPER.spin_unlock
        : src === CALL.LOCAL || isAllowedUnderLock(calledKfunc(analysis.env, insn) ?? "");
    if (!isAllowed) return reject(EINVAL, "function calls are not allowed while holding a lock");
  }
  if (src === CALL.LOCAL) return checkLocalCall(analysis, insn);
  if (src === CALL.KFUNC) return checkKfuncCall(analysis, insn);
  const bad = checkHelperCall(analysis, insn);
  if (bad !== undefined) return bad;
  if (imm === HELPER.tail_call && analysis.state.frames.length > 1) return returnFromTailCall(analysis);
  analysis.target = analysis.index + 1;
  return undefined;
}
