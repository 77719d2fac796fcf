/**
 * Conditional jumps: whether they are decided, and what each side learns of numbers, packets and null pointers. Linux:
 * check_cond_jmp_op().
 */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { CLASS, JUMP } from "@alien-ts/bpf-isa";
import type { Bits, Insn, JumpOp } from "@alien-ts/bpf-isa";
import type { Analysis } from "../analysis.ts";
import { assert } from "../assert.ts";
import { markPrecise } from "../prune/precision.ts";
import { widen } from "../prune/widen.ts";
import { findPreviousEntry } from "../prune/visited.ts";
import { decide, negated, refine, refineSame, swapped } from "../scalar/refine.ts";
import { addConstant, addConstant32 } from "../scalar/transfer.ts";
import { scalarConst } from "../scalar/scalar.ts";
import { smallRegister } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { pushMispredicted } from "../speculation/paths.ts";
import { isTrusted, markNull, notNull } from "../state/nullness.ts";
import type { LinkedRegister } from "../state/history.ts";
import type { Frame, State } from "../state/state.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

const OPERATIONS: readonly (JumpOp | undefined)[] = (() => {
  const byCode: (JumpOp | undefined)[] = [];
  for (const name of Object.keys(JUMP) as JumpOp[]) byCode[JUMP[name].code] = name;
  return byCode;
})();

/** Checks the jump, and says where this path goes on. */
export function checkConditional(analysis: Analysis, insn: Insn): Check {
  const { opcode, dst, src, off, imm } = insn;
  if ((opcode & 0xf0) === 0xe0) return checkMayGoto(analysis, insn);
  const op = OPERATIONS[opcode & 0xf0];
  assert(op !== undefined, "opcodes are known");
  const bits: Bits = (opcode & 7) === CLASS.JMP ? 64 : 32;
  const isRegister = (opcode & 8) !== 0;
  const unreadable = analysis.read(dst);
  if (unreadable !== undefined) return unreadable;
  if (isRegister ? imm !== 0 : src !== 0) return reject(EINVAL, "BPF_JMP/JMP32 uses reserved fields");
  if (isRegister) {
    const bad = analysis.read(src);
    if (bad !== undefined) return bad;
    const isPacket = isAnyPacket(analysis.register(dst)) && isAnyPacket(analysis.register(src));
    if (!isPacket && analysis.isLeak(src)) return reject(EACCES, `R${src} pointer comparison prohibited`);
  }
  const left = analysis.register(dst);
  const right = isRegister ? analysis.register(src) : smallRegister(imm);
  const stackPointers = (left.kind === "fp" ? 1 << dst : 0) | (right.kind === "fp" ? 1 << src : 0);
  if (stackPointers !== 0) analysis.history.noteStackPointers(stackPointers);
  const taken = decideJump(op, bits, left, right);
  if (taken !== undefined) {
    const bad =
      (left.isPointer ? undefined : markPrecise(analysis, dst)) ??
      (isRegister && !right.isPointer ? markPrecise(analysis, src) : undefined);
    if (bad !== undefined) return bad;
    const full = pushMispredicted(analysis, insn, analysis.index + 1 + (taken ? 0 : off));
    if (full !== undefined) return full;
    analysis.printState();
    analysis.target = analysis.index + 1 + (taken ? off : 0);
    return undefined;
  }
  return branch(analysis, { insn, op, bits, isRegister, left, right });
}

interface Comparison {
  readonly insn: Insn;
  readonly op: JumpOp;
  readonly bits: Bits;
  readonly isRegister: boolean;
  readonly left: Register;
  readonly right: Register;
}

/** Both sides are possible: the jump is walked later. */
function branch(analysis: Analysis, comparison: Comparison): Check {
  const { insn, op, bits, isRegister, left, right } = comparison;
  const { dst, src, off, imm } = insn;
  noteLinked(analysis, isRegister ? [left, right] : [left]);
  const here = analysis.state;
  const other = here.copy();
  const full = analysis.push(analysis.index + 1 + off, other);
  if (full !== undefined) return full;
  if (isRegister && dst === src && left.isScalar) {
    setScalar(other, dst, refineSame(op, bits, left.scalar));
    setScalar(here, dst, refineSame(negated(op), bits, left.scalar));
    syncLinked(analysis, here, dst);
    syncLinked(analysis, other, dst);
  } else if (left.isScalar && right.isScalar) {
    const [takenLeft, takenRight] = refine(op, bits, left.scalar, right.scalar);
    const [restLeft, restRight] = refine(negated(op), bits, left.scalar, right.scalar);
    setScalar(other, dst, takenLeft);
    setScalar(here, dst, restLeft);
    if (isRegister) {
      setScalar(other, src, takenRight);
      setScalar(here, src, restRight);
      syncLinked(analysis, here, src);
      syncLinked(analysis, other, src);
    }
    syncLinked(analysis, here, dst);
    syncLinked(analysis, other, dst);
  }
  if (bits === 64 && isRegister && left.isPointer && right.isPointer) liftNull(comparison, here, other);
  const isNullTest = bits === 64 && !isRegister && imm === 0 && (op === "jeq" || op === "jne");
  if (isNullTest && left.isMaybeNull) {
    markNull(here, dst, op === "jne");
    markNull(other, dst, op === "jeq");
  } else if (!matchPackets(comparison, here, other) && analysis.isLeak(dst)) {
    return reject(EACCES, `R${dst} pointer comparison prohibited`);
  }
  analysis.printState();
  analysis.target = analysis.index + 1;
  return undefined;
}

function setScalar(state: State, number: number, scalar: Register["scalar"]): void {
  state.registers[number] = state.registers[number]!.withScalar(scalar);
}

/** Equal to a pointer that is not null: not null. */
function liftNull({ insn, op, left, right }: Comparison, here: State, other: State): void {
  if (left.isMaybeNull === right.isMaybeNull || left.kind === "ptr_" || right.kind === "ptr_") return;
  const equal = op === "jeq" ? other : op === "jne" ? here : undefined;
  if (equal === undefined) return;
  const number = right.isMaybeNull ? insn.src : insn.dst;
  equal.registers[number] = notNull(equal.registers[number]!);
}

const isAnyPacket = ({ kind }: Register): boolean =>
  kind === "pkt" || kind === "pkt_meta" || kind === "pkt_end";

function decideJump(op: JumpOp, bits: Bits, left: Register, right: Register): boolean | undefined {
  if (isAnyPacket(left) && isAnyPacket(right) && bits === 64) return decidePacket(op, left, right);
  const isSwapped = !(right.isScalar && right.scalar.isConst);
  const [a, b] = isSwapped ? [right, left] : [left, right];
  const operation = isSwapped ? swapped(op) : op;
  if (!(b.isScalar && b.scalar.isConst)) {
    if (left.isPointer || right.isPointer) return undefined;
    return decide(op, bits, left.scalar, right.scalar);
  }
  if (a.isPointer) {
    // A pointer that is known to be valid is not NULL.
    if (!isTrusted(a) || !b.scalar.isZero) return undefined;
    return operation === "jeq" ? false : operation === "jne" ? true : undefined;
  }
  return decide(operation, bits, a.scalar, b.scalar);
}

const AT_END = -1;
const BEYOND_END = -2;

function decidePacket(op: JumpOp, left: Register, right: Register): boolean | undefined {
  const isForward = right.kind === "pkt_end";
  if (!isForward && left.kind !== "pkt_end") return undefined;
  const packet = isForward ? left : right;
  if (packet.range >= 0) return undefined;
  const operation = isForward ? op : swapped(op);
  if (operation === "jle" || operation === "jgt")
    return packet.range === BEYOND_END ? operation === "jgt" : undefined;
  if (operation === "jlt" || operation === "jge") return operation === "jge";
  return undefined;
}

const isInitial = (register: Register): boolean =>
  register.kind === "pkt" && register.id === 0 && register.off === 0 && register.scalar.isZero;

/**
 * A comparison of a packet pointer with the packet's end proves how many bytes there are. Linux: try_match_pkt_pointers()
 */
function matchPackets(
  { insn, op, bits, isRegister, left, right }: Comparison,
  here: State,
  other: State,
): boolean {
  if (!isRegister || bits !== 64) return false;
  const isPair = (a: Register, b: Register): boolean =>
    (a.kind === "pkt" && b.kind === "pkt_end") || (a.kind === "pkt_meta" && isInitial(b));
  const forward = isPair(left, right);
  if (!forward && !isPair(right, left)) return false;
  const packet = forward ? left : right;
  const number = forward ? insn.dst : insn.src;
  // As if the packet pointer were on the left.
  const operation = forward ? op : swapped(op);
  const [inside, outside, isOpen] =
    operation === "jgt"
      ? [here, other, false]
      : operation === "jge"
        ? [here, other, true]
        : operation === "jlt"
          ? [other, here, true]
          : operation === "jle"
            ? [other, here, false]
            : [undefined, undefined, false];
  if (inside === undefined || outside === undefined) return false;
  extendRanges(inside, packet, isOpen);
  markEnd(outside, number, isOpen ? AT_END : BEYOND_END);
  return true;
}

const MAX_PACKET_OFFSET = 0xffff;

/** Linux: find_good_pkt_pointers() */
function extendRanges(state: State, packet: Register, isOpen: boolean): void {
  const { off, scalar } = packet;
  if (off < 0 || (off === 0 && isOpen)) return;
  if (scalar.umax > BigInt(MAX_PACKET_OFFSET) || scalar.umax + BigInt(off) > BigInt(MAX_PACKET_OFFSET))
    return;
  const range = isOpen ? off + 1 : off;
  state.replaceAll((register) =>
    register.kind === packet.kind &&
    register.id === packet.id &&
    register.flags === packet.flags &&
    register.range < range
      ? register.with({ range })
      : register,
  );
}

function markEnd(state: State, number: number, range: number): void {
  const register = state.registers[number]!;
  if (register.kind === "pkt") state.registers[number] = register.with({ range });
}

/** Most registers and slots that are joined at one jump. */
const MAX_LINKED = 6;

/** Scalars of the same id that are read later. Those beyond the sixth lose their tie. Linux: collect_linked_regs() */
function noteLinked(analysis: Analysis, registers: readonly Register[]): void {
  const ids = registers.filter(({ isScalar, id }) => isScalar && id !== 0).map(({ id }) => id);
  if (ids.length === 0) return;
  const linked: LinkedRegister[] = [];
  const isMember = (register: Register): boolean => register.isScalar && ids.includes(register.id);
  const { frames } = analysis.state;
  for (let index = frames.length - 1; index >= 0; index--) {
    const frame = frames[index]!;
    const live = liveIn(analysis, frame);
    frame.registers.forEach((register, at) => {
      if ((live & (1 << at)) === 0 || !isMember(register)) return;
      if (linked.length < MAX_LINKED) linked.push({ frame: index, at, isSlot: false });
      else frame.registers[at] = register.with({ id: 0, hasDelta: false });
    });
    frame.stack.forEach((slot, at) => {
      if (slot.types[7] !== "r" || !isMember(slot.spilled)) return;
      if (linked.length < MAX_LINKED) linked.push({ frame: index, at, isSlot: true });
      else frame.stack[at] = { types: slot.types, spilled: slot.spilled.with({ id: 0, hasDelta: false }) };
    });
  }
  if (linked.length < 2) return;
  analysis.history.noteLinked(linked);
}

/** Registers of a frame that are read after the jump at hand, or after the frame's call. */
function liveIn(analysis: Analysis, frame: Frame): number {
  const inner = analysis.state.frames[frame.index + 1];
  const at = inner === undefined ? analysis.index : inner.callSite;
  return analysis.live[at] ?? 0x3ff;
}

/** What was learnt of a number holds for its copies. Linux: sync_linked_regs() */
function syncLinked(analysis: Analysis, state: State, number: number): void {
  const known = state.registers[number]!;
  if (!known.isScalar || known.id === 0) return;
  const follow = (register: Register): Register => {
    if (register === known || !register.isScalar || register.id !== known.id) return register;
    const { hasDelta, off, deltaBits } = register;
    // What low halves and whole registers were moved by says nothing of each other.
    if (hasDelta && known.hasDelta && deltaBits !== known.deltaBits) return register;
    const distance = (hasDelta ? off : 0) - (known.hasDelta ? known.off : 0);
    if (distance === 0) return known;
    const isLow = (hasDelta && deltaBits === 32) || (known.hasDelta && known.deltaBits === 32);
    const scalar = (isLow ? addConstant32 : addConstant)(known.scalar, scalarConst(BigInt(distance)));
    return known.with({ scalar, hasDelta, off, deltaBits });
  };
  for (const frame of state.frames) {
    const live = liveIn(analysis, frame);
    frame.registers.forEach((register, at) => {
      if ((live & (1 << at)) !== 0) frame.registers[at] = follow(register);
    });
    frame.stack.forEach((slot, at) => {
      if (slot.types[7] === "r") frame.stack[at] = { types: slot.types, spilled: follow(slot.spilled) };
    });
  }
}

/** Goes on with the loop, and remembers to leave it; numbers that were not needed are widened. */
function checkMayGoto(analysis: Analysis, insn: Insn): Check {
  if (insn.opcode !== 0xe5 || insn.src !== 0 || insn.dst !== 0 || insn.imm !== 0)
    return reject(EINVAL, `invalid may_goto imm ${insn.imm}`);
  const { state } = analysis;
  const queued = state.copy();
  queued.mayGotoDepth += 1;
  const before = findPreviousEntry(state.parent ?? state, analysis.index);
  if (before !== undefined) widen(before, queued);
  const full = analysis.push(analysis.index + 1, queued);
  if (full !== undefined) return full;
  analysis.target = analysis.index + 1 + insn.off;
  return undefined;
}
