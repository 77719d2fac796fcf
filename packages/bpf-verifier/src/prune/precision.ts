/**
 * Precision: which numbers decided something. Going back along the path, every register and slot that a decision depends on is
 * marked, in the states that later states are compared with. Answers to __mark_chain_precision() and backtrack_insn().
 *
 * Invariant: marks are put into parent states only; the current state needs none.
 */
import { ATOMIC, CALL, CLASS, LOAD_ACQUIRE, MODE, REG, STORE_RELEASE } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { HELPER, callsCallback } from "../call/callback-kinds.ts";
import { subprogramAt } from "../cfg.ts";
import { isGlobal } from "../state.ts";
import { stateText } from "../print.ts";
import { isSpilledScalar } from "../state/stack.ts";
import type { History, LinkedRegister } from "../state/history.ts";
import type { Frame, State } from "../state/state.ts";
import type { Check } from "../verdict.ts";
import { Wanted } from "./wanted.ts";

const CALL_OPCODE = 0x85;
const EXIT = 0x95;
/** BPF_FETCH */
const FETCH = 1;
const ARGUMENTS = 0b111110;

/** Marks register `number` of the current frame. */
export function markPrecise(analysis: Analysis, number: number): Check {
  if (!analysis.env.privileges.isCapable || !analysis.register(number).isScalar) return undefined;
  const wanted = new Wanted(analysis.state.frames.length - 1);
  wanted.registers[wanted.frame] = 1 << number;
  trace(analysis, wanted, analysis.state);
  return undefined;
}

/** Marks the slot of a frame. */
export function markSlotPrecise(analysis: Analysis, frame: number, slot: number): void {
  const wanted = new Wanted(analysis.state.frames.length - 1);
  wanted.addSlot(frame, slot);
  trace(analysis, wanted, analysis.state);
}

export interface Propagation {
  readonly old: State;
  readonly state: State;
  /** Nothing is printed. */
  readonly isQuiet: boolean;
}

/**
 * Marks on the way to `state` what is precise in the equal state `old`; says whether any mark is new. Linux: propagate_precision()
 */
export function propagatePrecision(analysis: Analysis, { old, state, isQuiet }: Propagation): boolean {
  const wanted = new Wanted(old.frames.length - 1);
  wanted.isQuiet = isQuiet;
  const { log } = analysis;
  for (let index = old.frames.length - 1; index >= 0; index--) {
    const frame = old.frames[index]!;
    const names: string[] = [];
    for (let number = 0; number < frame.registers.length; number++) {
      const register = frame.registers[number]!;
      if (!register.isScalar || !(register.isPrecise || old.areNumbersPrecise)) continue;
      wanted.add(index, number);
      names.push(`r${number}`);
    }
    for (let number = 0; number < frame.stack.length; number++) {
      const slot = frame.stack[number]!;
      if (!slot.spilled.isPrecise || !isSpilledScalar(slot)) continue;
      wanted.addSlot(index, number);
      names.push(`fp${-8 * (number + 1)}`);
    }
    if (names.length > 0 && log.isVerbose && !isQuiet)
      log.line(`frame ${index}: propagating ${names.join(",")}`);
  }
  return analysis.env.privileges.isCapable && trace(analysis, wanted, state);
}

/**
 * Goes back from the instruction at hand, which itself is not part of the path. Differs from Linux, which takes a number that an
 * atomic operation fetched for that of the register before: the way is gone once more, to what the slot held.
 */
function trace(analysis: Analysis, wanted: Wanted, start: State): boolean {
  const again = analysis.hasFetches ? wanted.copy() : undefined;
  follow(analysis, wanted, start);
  if (again === undefined || !wanted.hasFetched) return wanted.hasMarked;
  again.isCareful = true;
  again.isQuiet = true;
  follow(analysis, again, start);
  return wanted.hasMarked || again.hasMarked;
}

function follow(analysis: Analysis, wanted: Wanted, start: State): void {
  if (wanted.isEmpty) return;
  const { log } = analysis;
  const isTold = log.isVerbose && !wanted.isQuiet;
  let state: State | undefined = start;
  let last = start.insn;
  let skips = true;
  let subsequent = -1;
  while (state !== undefined) {
    if (isTold)
      log.line(
        `mark_precise: frame${wanted.frame}: last_idx ${last} first_idx ${state.firstInsn} subseq_idx ${subsequent} `,
      );
    if (last < 0) {
      markAtEntry(state, wanted);
      return;
    }
    const past: History = state.history;
    let history = past.length;
    for (let index = last; ;) {
      if (skips) skips = false;
      else if (
        (isTold || !passes(analysis, wanted, index)) &&
        !stepBack(analysis, wanted, { index, subsequent, history: past, step: stepAt(past, history, index) })
      ) {
        markEverything(analysis, start, wanted.isQuiet);
        return;
      }
      if (wanted.isEmpty) return;
      subsequent = index;
      if (index === state.firstInsn && (history === 0 || (history === 1 && past.insnOf(0) === index))) break;
      const step = stepAt(past, history, index);
      if (step < 0) index -= 1;
      else {
        index = past.previousOf(step);
        history -= 1;
      }
      if (index < 0) break;
    }
    const first: number = state.firstInsn;
    state = state.parent;
    if (state === undefined) break;
    markState(analysis, state, wanted);
    if (wanted.isEmpty) return;
    subsequent = first;
    last = state.lastInsn;
  }
  if (!wanted.isEmpty) markEverything(analysis, start, wanted.isQuiet);
}

/** The last of the first `end` steps, where it is that of the instruction; otherwise -1. */
const stepAt = (history: History, end: number, index: number): number =>
  end > 0 && history.insnOf(end - 1) === index ? end - 1 : -1;

/** A global function's arguments come from nowhere. */
function markAtEntry(state: State, wanted: Wanted): void {
  const frame = state.frames[0]!;
  for (let i = 1; i <= 5; i++) {
    if ((wanted.registers[0]! & (1 << i)) === 0 || !frame.registers[i]!.isScalar) continue;
    setPrecise(frame, i);
    wanted.hasMarked = true;
  }
}

function setPrecise(frame: Frame, number: number): void {
  const register = frame.registers[number]!;
  if (register.isScalar) frame.registers[number] = register.withPrecision(true);
}

function markState(analysis: Analysis, state: State, wanted: Wanted): void {
  for (let index = wanted.frame; index >= 0; index--) {
    const frame = state.frames[index];
    if (frame === undefined) continue;
    for (let number = 0; number <= 10; number++) {
      if ((wanted.registers[index]! & (1 << number)) === 0) continue;
      const register = frame.registers[number]!;
      // What is marked was followed before; but the careful way may part from that one further up.
      if (!register.isScalar || (register.isPrecise && !wanted.isCareful))
        wanted.registers[index]! &= ~(1 << number);
      else {
        wanted.hasMarked ||= !register.isPrecise;
        setPrecise(frame, number);
      }
    }
    for (const slotNumber of wanted.slots(index)) {
      const slot = frame.stack[slotNumber];
      if (slot === undefined || !isSpilledScalar(slot) || (slot.spilled.isPrecise && !wanted.isCareful))
        wanted.dropSlot(index, slotNumber);
      else {
        wanted.hasMarked ||= !slot.spilled.isPrecise;
        frame.stack[slotNumber] = { types: slot.types, spilled: slot.spilled.withPrecision(true) };
      }
    }
    if (analysis.log.isVerbose && !wanted.isQuiet) {
      analysis.log.line(
        `mark_precise: frame${index}: parent state regs=${registersText(wanted, index)} stack=${slotsText(wanted, index)}: ${stateText(state, frame, undefined)}`,
      );
    }
  }
}

/** Gives up: every number on the way to `start` is precise. Linux: mark_all_scalars_precise() */
export function markEverything(analysis: Analysis, start: State, isQuiet = false): void {
  const tell = (line: string): void => {
    if (analysis.log.isVerbose && !isQuiet) analysis.log.line(line);
  };
  tell(`mark_precise: frame${start.top.index}: falling back to forcing all scalars precise`);
  for (let state = start.parent; state !== undefined; state = state.parent) {
    for (const frame of state.frames) {
      for (let i = 0; i < 10; i++) {
        if (!frame.registers[i]!.isScalar || frame.registers[i]!.isPrecise) continue;
        setPrecise(frame, i);
        tell(`force_precise: frame${frame.index}: forcing r${i} to be precise`);
      }
      frame.stack.forEach((slot, i) => {
        if (!isSpilledScalar(slot) || slot.spilled.isPrecise) return;
        frame.stack[i] = { types: slot.types, spilled: slot.spilled.withPrecision(true) };
        tell(`force_precise: frame${frame.index}: forcing fp${-8 * (i + 1)} to be precise`);
      });
    }
  }
}

function registersText({ registers }: Wanted, frame: number): string {
  const mask = registers[frame]!;
  let text = "";
  for (let i = 0; mask >> i !== 0; i++) if ((mask & (1 << i)) !== 0) text += text === "" ? `r${i}` : `,r${i}`;
  return text;
}
const slotsText = (wanted: Wanted, frame: number): string =>
  wanted
    .slots(frame)
    .map((slot) => String(-8 * (slot + 1)))
    .join(",");

/** Whether the instruction does no more than make what is not wanted: most do. */
function passes({ insns }: Analysis, wanted: Wanted, index: number): boolean {
  const { opcode, dst } = insns[index]!;
  const kind = opcode & 7;
  const makesRegister = kind === CLASS.ALU64 || kind === CLASS.ALU || kind === CLASS.LDX;
  return makesRegister && !wanted.has(wanted.frame, dst);
}

/** Undoes one instruction; false where it cannot be followed. */
function stepBack(analysis: Analysis, wanted: Wanted, past: Past): boolean {
  const { index } = past;
  const insn = analysis.insns[index]!;
  // The second half of a wide load.
  if (insn.opcode === 0) return true;
  if (analysis.log.isVerbose && !wanted.isQuiet) {
    const text = analysis.insnText(index);
    analysis.log.line(
      `mark_precise: frame${wanted.frame}: regs=${registersText(wanted, wanted.frame)} stack=${slotsText(wanted, wanted.frame)} before ${index}: ${text}`,
    );
  }
  const linked = past.step < 0 ? undefined : past.history.linkedOf(past.step);
  if (linked !== undefined) joinLinked(wanted, linked);
  const followed = undo(analysis, wanted, insn, past);
  if (followed && linked !== undefined) joinLinked(wanted, linked);
  return followed;
}

function joinLinked(wanted: Wanted, linked: readonly LinkedRegister[]): void {
  const isWanted = linked.some(({ frame, at, isSlot }) =>
    isSlot ? wanted.hasSlot(frame, at) : (wanted.registers[frame]! & (1 << at)) !== 0,
  );
  if (!isWanted) return;
  for (const { frame, at, isSlot } of linked) {
    if (isSlot) wanted.addSlot(frame, at);
    else wanted.registers[frame]! |= 1 << at;
  }
}

/** An instruction that was executed, and the one behind it. */
interface Past {
  readonly index: number;
  readonly subsequent: number;
  readonly history: History;
  /** Its step; -1 for none. */
  readonly step: number;
}

const slotOf = ({ history, step }: Past): ReturnType<History["slotOf"]> =>
  step < 0 ? undefined : history.slotOf(step);

function undo(analysis: Analysis, wanted: Wanted, insn: Insn, past: Past): boolean {
  const { frame } = wanted;
  const { opcode, dst, src } = insn;
  const isRegister = (opcode & 8) !== 0;
  switch (opcode & 7) {
    case CLASS.ALU:
    case CLASS.ALU64: {
      if (!wanted.has(frame, dst)) return true;
      const operation = opcode & 0xf0;
      if (operation === 0x80 || operation === 0xd0) return true;
      if (operation === 0xb0) wanted.drop(frame, dst);
      if (isRegister && src !== REG.R10) wanted.add(frame, src);
      return true;
    }
    case CLASS.LDX:
      return undoLoad(wanted, insn, past);
    case CLASS.STX:
    case CLASS.ST:
      return undoStore(wanted, insn, past);
    case CLASS.JMP:
    case CLASS.JMP32:
      if (opcode === CALL_OPCODE || opcode === EXIT) return undoCall(analysis, wanted, insn, past);
      if (isRegister && (wanted.has(frame, dst) || wanted.has(frame, src))) {
        const pointers = past.step < 0 ? 0 : past.history.stackPointersOf(past.step);
        wanted.registers[frame]! |= ((1 << dst) | (1 << src)) & ~pointers;
      }
      return true;
    default:
      if (!wanted.has(frame, dst)) return true;
      wanted.drop(frame, dst);
      return (opcode & 0xe0) === MODE.IMM;
  }
}

function undoLoad(wanted: Wanted, { dst }: Insn, past: Past): boolean {
  if (!wanted.has(wanted.frame, dst)) return true;
  wanted.drop(wanted.frame, dst);
  addSlot(wanted, past);
  return true;
}

function addSlot(wanted: Wanted, past: Past): void {
  const from = slotOf(past);
  if (from !== undefined) wanted.addSlot(from.frame, from.slot);
}

function undoStore(wanted: Wanted, insn: Insn, past: Past): boolean {
  const { opcode, dst, src } = insn;
  const { frame } = wanted;
  const isAtomic = (opcode & 0xe7) === (MODE.ATOMIC | CLASS.STX);
  if (isAtomic && insn.imm === LOAD_ACQUIRE) return undoLoad(wanted, insn, past);
  // A number as address: a difference of pointers, which cannot be followed.
  if (wanted.has(frame, dst)) return false;
  const fetched = isAtomic ? fetchedInto(insn) : undefined;
  if (fetched !== undefined && wanted.has(frame, fetched)) {
    wanted.hasFetched = true;
    if (wanted.isCareful) {
      wanted.drop(frame, fetched);
      addSlot(wanted, past);
      return true;
    }
  }
  const into = slotOf(past);
  if (into === undefined || !wanted.hasSlot(into.frame, into.slot)) return true;
  wanted.dropSlot(into.frame, into.slot);
  if ((opcode & 7) === CLASS.STX) wanted.add(frame, src);
  return true;
}

/** The register that an atomic operation loads the old value into. */
function fetchedInto({ src, imm }: Insn): number | undefined {
  if (imm === ATOMIC.cmpxchg.imm) return REG.R0;
  return (imm & FETCH) === 0 || imm === STORE_RELEASE ? undefined : src;
}

/** Goes up into the caller at a call, down into the callee at an exit. */
function undoCall(analysis: Analysis, wanted: Wanted, insn: Insn, { index, subsequent }: Past): boolean {
  const { frame } = wanted;
  if (insn.opcode === EXIT) {
    if (subsequent >= 0 && callsCallback(analysis.env, analysis.insns[subsequent]!))
      wanted.registers[frame]! &= ~ARGUMENTS;
    const caller = subsequent >= 1 ? analysis.insns[subsequent - 1]! : undefined;
    const isLocal = caller?.opcode === CALL_OPCODE && caller.src === CALL.LOCAL;
    const isWanted = isLocal && (wanted.registers[frame]! & 1) !== 0;
    wanted.registers[frame]! &= ~1;
    wanted.enterFrame();
    wanted.registers[wanted.frame] = isWanted ? 1 : 0;
    return wanted.frame < 8;
  }
  if (insn.src === CALL.LOCAL) {
    const called = subprogramAt(analysis.subprograms, index + 1 + insn.imm);
    if (isGlobal(analysis.env, analysis.subprograms, called)) {
      wanted.registers[frame]! &= ~1;
      return true;
    }
    if (frame === 0) return false;
    wanted.registers[frame - 1]! |= wanted.registers[frame]! & ARGUMENTS;
    wanted.clear(frame);
    wanted.frame -= 1;
    return true;
  }
  // Back into the function that a tail call has left.
  if (insn.src === CALL.HELPER && insn.imm === HELPER.tail_call && index !== subsequent - 1) {
    wanted.registers[frame]! &= ~1;
    wanted.frame += 1;
    wanted.clear(wanted.frame);
    return wanted.frame < 8;
  }
  if (callsCallback(analysis.env, insn) && index !== subsequent - 1 && frame > 0) {
    wanted.clear(frame);
    wanted.frame -= 1;
    return true;
  }
  wanted.registers[frame]! &= ~1;
  return (wanted.registers[frame]! & ARGUMENTS) === 0;
}
