/**
 * The stack: reads, writes, spills and fills, at fixed and at variable offsets. Linux: check_stack_read(), check_stack_write(),
 * check_stack_range_initialized().
 */
import { EACCES, EFAULT, EINVAL } from "@alien-ts/abi";
import { FRAME_BYTES } from "@alien-ts/bpf-isa";
import { assert } from "../assert.ts";
import type { Analysis } from "../analysis.ts";
import { MAX_VARIABLE_OFFSET } from "../analysis.ts";
import { tnumText } from "../print.ts";
import { sourceLine } from "../source.ts";
import { markPrecise } from "../prune/precision.ts";
import { NOT_INIT, NULL_REGISTER, UNKNOWN, smallRegister } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { destroyDynptr } from "../state/dynptr.ts";
import {
  DATA_SLOT,
  SPILLED,
  byteOf,
  isSpecial,
  isSpilled,
  isSpilledScalar,
  scrubbed,
  slotOf,
  spilledTypes,
  withBytes,
} from "../state/stack.ts";
import type { StackSlot } from "../state/stack.ts";
import type { Frame } from "../state/state.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import type { AccessKind } from "./region.ts";

const MOST_OFFSET = Number(MAX_VARIABLE_OFFSET);

const frameOf = (analysis: Analysis, register: Register): Frame => analysis.state.frames[register.frame]!;

/** Linux: check_stack_access_within_bounds(). Makes the slots that it allows. */
export function checkStackBounds(
  analysis: Analysis,
  number: number,
  off: number,
  size: number,
  kind: AccessKind,
): Check {
  const register = analysis.register(number);
  const { scalar } = register;
  const word = kind === "read" ? " read from" : " write to";
  const { sminNumber, smaxNumber } = scalar;
  if (!scalar.isConst && (smaxNumber >= MOST_OFFSET || sminNumber <= -MOST_OFFSET))
    return reject(EACCES, `invalid unbounded variable-offset${word} stack R${number}`);
  const low = sminNumber + off;
  const high = smaxNumber + off + size;
  const mayBeNew = kind === "write" || analysis.env.privileges.mayReadUninitialised;
  const lowest = mayBeNew ? -FRAME_BYTES : -8 * frameOf(analysis, register).stack.length;
  const isBelow = low < lowest || low > -1;
  if (isBelow || high > 0 || size < 0) {
    const errno = isBelow ? EACCES : high > 0 ? EINVAL : EFAULT;
    return reject(
      errno,
      scalar.isConst
        ? `invalid${word} stack R${number} off=${low} size=${size}`
        : `invalid variable-offset${word} stack R${number} var_off=${tnumText(scalar.tnum)} off=${off} size=${size}`,
    );
  }
  const frame = frameOf(analysis, register);
  frame.grow(slotOf(low));
  analysis.useStack(frame, Math.floor(low / 8) * 8);
  return undefined;
}

/** A load from the stack into register `into`; -1 for a read by a helper. */
export function readStack(
  analysis: Analysis,
  number: number,
  off: number,
  size: number,
  into: number,
): Check {
  const register = analysis.register(number);
  const frame = frameOf(analysis, register);
  if (register.scalar.isConst) {
    return readFixed(analysis, frame, off + register.scalar.constantNumber, size, into);
  }
  if (into < 0) {
    return reject(
      EACCES,
      `variable offset stack pointer cannot be passed into helper function; var_off=${tnumText(register.scalar.tnum)} off=${off} size=${size}`,
    );
  }
  const bad = checkInitialised(analysis, {
    number,
    off,
    size,
    isZeroAllowed: false,
    kind: "read",
    raw: undefined,
  });
  if (bad !== undefined) return bad;
  const low = register.scalar.sminNumber + off;
  const high = register.scalar.smaxNumber + off + size;
  analysis.set(into, allZero(analysis, frame, low, high) ? NULL_REGISTER : UNKNOWN);
  return undefined;
}

function allZero(analysis: Analysis, frame: Frame, low: number, high: number): boolean {
  for (let at = low; at < high; at++) {
    analysis.touchSlot(slotOf(at));
    if (frame.stack[slotOf(at)]?.types[byteOf(at)] !== "0") return false;
  }
  return true;
}

function noteAccess(analysis: Analysis, frame: Frame, slot: number): void {
  analysis.history.noteSlot(frame.index, slot);
}

/** Linux: check_stack_read_fixed_off() */
function readFixed(analysis: Analysis, frame: Frame, off: number, size: number, into: number): Check {
  const index = slotOf(off);
  const slot = frame.stack[index]!;
  analysis.touchSlot(index);
  analysis.liveStack.read(frame.index, index);
  if (!isSpilled(slot)) {
    const bad = checkBytes(analysis, slot, off, size);
    if (bad !== undefined) return bad;
    if (into >= 0) analysis.set(into, allZero(analysis, frame, off, off + size) ? NULL_REGISTER : UNKNOWN);
    return undefined;
  }
  const spillSize = slot.types === SPILLED ? 8 : 8 - slot.types.indexOf("r");
  if (size === 8 && spillSize === 8) {
    if (into >= 0) {
      noteAccess(analysis, frame, index);
      analysis.set(into, slot.spilled);
      return undefined;
    }
    return !analysis.env.privileges.mayLeakPointers && slot.spilled.isPointer
      ? reject(EACCES, `leaking pointer from stack off ${off}`)
      : undefined;
  }
  if (!slot.spilled.isScalar) {
    sourceLine(analysis, analysis.index);
    return reject(EACCES, "invalid size of register fill");
  }
  if (into < 0) return undefined;
  if (size <= spillSize && off % 8 === 0) {
    let spilled = slot.spilled;
    if (size === 4 && spillSize === 4 && widthOf(spilled) <= 32) spilled = withId(analysis, frame, index);
    noteAccess(analysis, frame, index);
    analysis.set(into, widthOf(spilled) > size * 8 ? spilled.with({ id: 0, hasDelta: false }) : spilled);
    return undefined;
  }
  return readMixed(analysis, frame, off, size, into);
}

/** Bytes of a spilled register beside others. */
function readMixed(analysis: Analysis, frame: Frame, off: number, size: number, into: number): Check {
  const index = slotOf(off);
  const slot = frame.stack[index]!;
  const bad = checkBytes(analysis, slot, off, size, "r");
  if (bad !== undefined) return bad;
  let spills = 0;
  let zeros = 0;
  for (let i = 0; i < size; i++) {
    const letter = slot.types[byteOf(off + i)]!;
    if (letter === "r") spills += 1;
    else if (letter === "0") zeros += 1;
  }
  if (spills === size && slot.spilled.isNull) {
    analysis.set(into, NULL_REGISTER);
    noteAccess(analysis, frame, index);
  } else analysis.set(into, zeros === size ? NULL_REGISTER : UNKNOWN);
  return undefined;
}

function checkBytes(analysis: Analysis, slot: StackSlot, off: number, size: number, extra = ""): Check {
  for (let i = 0; i < size; i++) {
    const letter = slot.types[byteOf(off + i)]!;
    if (letter === "m" || letter === "0" || letter === extra) continue;
    if (letter === "?" && analysis.env.privileges.mayReadUninitialised) continue;
    return reject(EACCES, `invalid read from stack off ${off}+${i} size ${size}`);
  }
  return undefined;
}

/** Bits that the scalar has at most. Linux: get_reg_width() */
export function widthOf(register: Register): number {
  return register.scalar.width;
}

/** The spilled register, with an id that ties it to its copies. */
function withId(analysis: Analysis, frame: Frame, index: number): Register {
  const slot = frame.stack[index]!;
  const spilled = tied(analysis, slot.spilled);
  if (spilled !== slot.spilled) frame.stack[index] = { types: slot.types, spilled };
  return spilled;
}

/** A scalar that is not constant gets an id before it is copied. Linux: assign_scalar_id_before_mov() */
export function tied(analysis: Analysis, register: Register): Register {
  if (!register.isScalar) return register;
  const base = register.hasDelta ? register.with({ id: 0, hasDelta: false, off: 0 }) : register;
  if (base.id !== 0 || base.scalar.isConst) return base;
  return base.with({ id: analysis.newId() });
}

/** What is stored: a register, or the constant of an instruction; undefined for bytes of a helper. */
export type Stored = { readonly number: number } | { readonly constant: number } | undefined;

export function writeStack(
  analysis: Analysis,
  number: number,
  off: number,
  size: number,
  stored: Stored,
): Check {
  const register = analysis.register(number);
  const frame = frameOf(analysis, register);
  return register.scalar.isConst
    ? writeFixed(analysis, frame, off + register.scalar.constantNumber, size, stored)
    : writeVariable(analysis, frame, register, off, size, stored);
}

const isZeroStored = (analysis: Analysis, stored: Stored): boolean =>
  stored !== undefined &&
  ("constant" in stored ? stored.constant === 0 : analysis.register(stored.number).isNull);

/** A part of a pointer is not overwritten by those who may not see the rest of it. */
function checkCorruption(analysis: Analysis, slot: StackSlot): Check {
  if (analysis.env.privileges.mayLeakPointers || !isSpilled(slot) || isSpilledScalar(slot)) return undefined;
  return reject(EACCES, "attempt to corrupt spilled pointer on stack");
}

/** Linux: check_stack_write_fixed_off() */
function writeFixed(analysis: Analysis, frame: Frame, off: number, size: number, stored: Stored): Check {
  const index = slotOf(off);
  const before = frame.stack[index]!;
  const corrupted = size === 8 ? undefined : checkCorruption(analysis, before);
  if (corrupted !== undefined) return corrupted;
  const register = stored !== undefined && "number" in stored ? analysis.register(stored.number) : undefined;
  noteBarrier(analysis, before, size, register);
  const destroyed = destroyDynptr(analysis, frame, index);
  if (destroyed !== undefined) return destroyed;
  // Parts of a slot do not count: what was in the others may still be read.
  if (off % 8 === 0 && size === 8) analysis.liveStack.wrote(frame.index, index);
  analysis.touchSlot(index);
  const isAligned = off % 8 === 0;
  if (register !== undefined && register.isScalar && isAligned && analysis.env.privileges.isCapable) {
    noteAccess(analysis, frame, index);
    const fits = widthOf(register) <= size * 8;
    const kept = fits ? tied(analysis, register) : register.with({ id: 0, hasDelta: false });
    if (fits) analysis.set((stored as { number: number }).number, kept);
    spill(frame, index, kept, size);
    return undefined;
  }
  if (stored !== undefined && "constant" in stored && isAligned && analysis.env.privileges.isCapable) {
    noteAccess(analysis, frame, index);
    spill(frame, index, smallRegister(stored.constant), size);
    return undefined;
  }
  if (register !== undefined && register.isPointer && register.kind !== "dynptr_ptr") {
    if (size !== 8) {
      sourceLine(analysis, analysis.index);
      return reject(EACCES, "invalid size of register spill");
    }
    if (frame !== analysis.frame && register.kind === "fp")
      return reject(EINVAL, "cannot spill pointers to stack into stack frame of the caller");
    noteAccess(analysis, frame, index);
    spill(frame, index, register, size);
    return undefined;
  }
  const isZero = isZeroStored(analysis, stored);
  if (isZero && register !== undefined) markPrecise(analysis, (stored as { number: number }).number);
  putBytes(frame, off, size, isZero ? "0" : "m");
  return undefined;
}

/** Bytes of one slot hold data, or zeroes; what else was in the slot is data. */
function putBytes(frame: Frame, off: number, size: number, letter: "m" | "0"): void {
  const index = slotOf(off);
  const before = frame.stack[index]!;
  const rest = isSpilled(before) ? scrubbed(before) : isSpecial(before) ? DATA_SLOT : before;
  const types = withBytes(rest.types, off, size, letter);
  frame.stack[index] = types === DATA_SLOT.types ? DATA_SLOT : { types, spilled: NOT_INIT };
}

/** A helper fills the `size` bytes that register `number` points to, as Linux byte by byte. `checkInitialised` allowed it. */
export function fillStack(analysis: Analysis, number: number, size: number): Check {
  const register = analysis.register(number);
  const frame = frameOf(analysis, register);
  const low = register.off + register.scalar.constantNumber;
  for (let at = low, end = low; at < low + size; at = end) {
    const index = slotOf(at);
    end = Math.min(low + size, -8 * index);
    const corrupted = checkCorruption(analysis, frame.stack[index]!);
    if (corrupted !== undefined) return corrupted;
    noteBarrier(analysis, frame.stack[index]!, 1, undefined);
    const destroyed = destroyDynptr(analysis, frame, index);
    if (destroyed !== undefined) return destroyed;
    analysis.touchSlot(index);
    putBytes(frame, at, end - at, "m");
  }
  return undefined;
}

/** What was in the slot must not be read by what comes next, however early that is executed. */
function noteBarrier(analysis: Analysis, slot: StackSlot, size: number, stored: Register | undefined): void {
  if (analysis.env.privileges.bypassesSpecV4) return;
  if (stored?.isPointer !== true && /^[m0]*$/.test(slot.types.slice(0, size))) return;
  analysis.notes[analysis.index]!.hasBarrierAfter = true;
}

/** Linux: save_register_state() */
function spill(frame: Frame, index: number, register: Register, size: number): void {
  frame.stack[index] = { types: spilledTypes(frame.stack[index]!, size), spilled: register };
}

/** Linux: check_stack_write_var_off() */
function writeVariable(
  analysis: Analysis,
  frame: Frame,
  register: Register,
  off: number,
  size: number,
  stored: Stored,
): Check {
  const low = register.scalar.sminNumber + off;
  const high = register.scalar.smaxNumber + off + size;
  const isZero = isZeroStored(analysis, stored);
  let usedZero = false;
  for (let at = low; at < high; at++) {
    const destroyed = destroyDynptr(analysis, frame, slotOf(at));
    if (destroyed !== undefined) return destroyed;
  }
  for (let at = low; at < high; at++) {
    const index = slotOf(at);
    const slot = frame.stack[index]!;
    const letter = slot.types[byteOf(at)]!;
    analysis.touchSlot(index);
    if (!analysis.env.privileges.mayLeakPointers && letter === "r" && !slot.spilled.isScalar) {
      return new Reject(
        EINVAL,
        `spilled ptr in range of var-offset stack write; insn ${analysis.index}, ptr off: ${at}`,
        false,
      );
    }
    if (isZero && letter === "r" && slot.spilled.isNull) {
      usedZero = true;
      continue;
    }
    if (letter === "?" && !analysis.env.privileges.mayReadUninitialised) {
      return new Reject(
        EINVAL,
        `uninit stack in range of var-offset write prohibited for !root; insn ${analysis.index}, off: ${at}`,
        false,
      );
    }
    const keepsZero = isZero && letter === "0";
    usedZero ||= keepsZero;
    const types = slot.types.replaceAll("r", "m");
    frame.stack[index] = { types: withBytes(types, at, 1, keepsZero ? "0" : "m"), spilled: NOT_INIT };
  }
  if (usedZero && stored !== undefined && "number" in stored) markPrecise(analysis, stored.number);
  return undefined;
}

export interface StackRange {
  readonly number: number;
  readonly off: number;
  readonly size: number;
  readonly isZeroAllowed: boolean;
  readonly kind: AccessKind;
  /** The memory need not be initialised, since the call will write it: the range is noted there. */
  readonly raw: RawMemory | undefined;
}

export interface RawMemory {
  /** Stack that a call will write. */
  raw: { readonly number: number; readonly size: number } | undefined;
}

/** A helper's access to the stack. Linux: check_stack_range_initialized() */
export function checkInitialised(analysis: Analysis, range: StackRange): Check {
  const { number, off, size, kind } = range;
  const register = analysis.register(number);
  const { scalar } = register;
  if (size === 0 && !range.isZeroAllowed) return reject(EACCES, "invalid zero-sized read");
  const outside = checkStackBounds(analysis, number, off, size, kind);
  if (outside !== undefined) return outside;
  assert(
    scalar.isConst || analysis.env.privileges.bypassesSpecV1,
    "pointers to the stack are moved by known numbers where mispredicted paths matter",
  );
  const low = scalar.sminNumber + off;
  const high = scalar.smaxNumber + off + size;
  const frame = frameOf(analysis, register);
  if (range.raw !== undefined && scalar.isConst) {
    for (let at = low; at < high; at++) {
      if (frame.stack[slotOf(at)]?.types[7] === "d")
        return reject(EACCES, `potential write to dynptr at off=${at} disallowed`);
    }
    range.raw.raw = { number, size };
    return undefined;
  }
  for (let at = low; at < high; at++) {
    const index = slotOf(at);
    if (!useByte(analysis, frame, at, kind)) {
      const where = scalar.isConst ? `off ${low}` : `var_off ${tnumText(scalar.tnum)}`;
      return reject(EACCES, `invalid read from stack R${number} ${where}+${at - low} size ${size}`);
    }
    analysis.liveStack.read(frame.index, index);
    if (frame.stack[index] === DATA_SLOT) at = -8 * index - 1;
  }
  return undefined;
}

/**
 * Whether a helper may use the byte; one that it may write is data afterwards. Differs from Linux, which lets those who must not read
 * what nobody wrote pass it on where a part of its slot holds a number.
 */
function useByte(analysis: Analysis, frame: Frame, at: number, kind: AccessKind): boolean {
  const { mayReadUninitialised, mayLeakPointers } = analysis.env.privileges;
  const index = slotOf(at);
  const slot = frame.stack[index]!;
  const { types, spilled } = slot;
  const letter = types[byteOf(at)]!;
  if (letter === "m") return true;
  if (letter === "?" && !mayReadUninitialised) return false;
  const isFilled = letter === "0" || letter === "?";
  if (!isFilled && !(isSpilled(slot) && (spilled.isScalar || mayLeakPointers))) return false;
  if (kind === "write")
    frame.stack[index] = isFilled ? { types: withBytes(types, at, 1, "m"), spilled } : scrubbed(slot);
  return true;
}
