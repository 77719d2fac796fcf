/**
 * Random programs that the verifier accepts often: classifiers over numbers, stack, map values, packets, objects, functions, loops.
 *
 * `randomProgram` writes one; `mutated` then changes a few instructions of it.
 */
import { PRIVILEGED, UNPRIVILEGED, privilegesOf } from "../src/privileges.ts";
import type { Privileges } from "../src/privileges.ts";
import { pop, takeKept, throws } from "./random-owned.ts";
import { leak } from "./random-leaks.ts";
import { asm } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import type { Prng } from "@alien-ts/testkit";
import type { ProgramKind } from "./concrete-world.ts";
import { aimCall, beginFunction, call, endFunction, loop, tailCall } from "./random-calls.ts";
import { MAP } from "./random-maps.ts";
import { maze } from "./random-mazes.ts";
import {
  accessPacket,
  accessStack,
  accessValue,
  atomic,
  constant,
  memoryHelper,
  movePacket,
  oldPacketLoad,
} from "./random-memory.ts";
import {
  alu,
  branch,
  copy,
  diverging,
  fill,
  linked,
  lowerHalf,
  narrowSpill,
  number,
  spill,
  unknown,
} from "./random-numbers.ts";
import { OBJECTS } from "./random-objects.ts";
import { TRAPS } from "./random-traps.ts";
import { PROGRAMS } from "./random-types.ts";
import { REGISTERS, SLOTS, Writer } from "./random-writer.ts";
import type { Call, FunctionKind } from "./random-writer.ts";

export interface RandomProgram {
  readonly kind: ProgramKind;
  /** Of its loader. */
  readonly privileges: Privileges;
  readonly insns: readonly Insn[];
  /** Functions beside the main one, by first instruction. */
  readonly functions: ReadonlyMap<number, FunctionKind>;
}

const MOST_FUNCTIONS = 4;
const CAP_BPF = privilegesOf({ hasCapBpf: true, hasCapPerfmon: false, hasCapNetAdmin: true });
const FEW_PRIVILEGES = [CAP_BPF, UNPRIVILEGED];
/** Programs of this kind may be loaded by anybody. */
const OPEN = PROGRAMS[1];

/** A program whose jumps go forward but for loops; functions stand behind its end. */
export function randomProgram(random: Prng): RandomProgram {
  const privileges = random.oneIn(4) ? random.pick(FEW_PRIVILEGES) : PRIVILEGED;
  const kind = !privileges.isCapable ? OPEN : random.oneIn(2) ? PROGRAMS[0] : random.pick(PROGRAMS);
  const w = new Writer(random, kind, privileges);
  w.emit(asm.movReg(6, 1));
  if (random.oneIn(w.privileges.mayLeakPointers ? 3 : 2)) trapped(w);
  else {
    for (const register of REGISTERS) put(w, register);
    block(w, random.between(3, 22), 0);
  }
  endMain(w);
  return { kind: w.kind, privileges, insns: w.code, functions: writeFunctions(w) };
}

/** A short program around one trap or maze. */
function trapped(w: Writer): void {
  const { random } = w;
  if (random.oneIn(3)) for (const register of REGISTERS) put(w, register);
  if (random.oneIn(4)) block(w, random.between(1, 2), 0);
  const isLeak = !w.privileges.isCapable || (!w.privileges.mayLeakPointers && random.oneIn(2));
  (isLeak ? leak : random.oneIn(2) ? maze : random.pick(TRAPS))(w);
  if (random.oneIn(4)) block(w, random.between(1, 2), 0);
}

function endMain(w: Writer): void {
  const early = w.leaves;
  w.leaves = [];
  const { random } = w;
  if (w.kind.name === "cgroup_skb" && w.kinds[0] === "number" && random.oneIn(2))
    w.emit(asm.aluImm("and", 0, 1));
  else if (w.kind.name === "cgroup_skb" || w.kinds[0] !== "number" || random.oneIn(2))
    w.emit(asm.movImm(0, random.below(2)));
  w.emit(asm.exit());
  for (const at of early) w.aim(at);
  if (early.length > 0) w.emit(asm.movImm(0, 1), asm.exit());
}

/** Writes what is called; calls beyond the last go to one of the same kind, or nowhere. */
function writeFunctions(w: Writer): ReadonlyMap<number, FunctionKind> {
  const starts = new Map<number, FunctionKind>();
  /** Those that nothing else calls. */
  const isOwn = new Set<number>();
  for (let i = 0; i < w.calls.length; i++) {
    const made = w.calls[i]!;
    const known = [...starts].find(
      ([at, kind]) =>
        kind === made.kind && !isOwn.has(at) && (starts.size >= MOST_FUNCTIONS || w.random.oneIn(4)),
    );
    if (made.body !== undefined) {
      isOwn.add(w.length);
      writeFunction(w, made, starts);
    } else if (known !== undefined) aimCall(w, made, known[0]);
    else if (starts.size >= MOST_FUNCTIONS) dropCall(w, made);
    else writeFunction(w, made, starts);
  }
  return starts;
}

function dropCall(w: Writer, { at, kind }: Call): void {
  if (!kind.endsWith("callback")) w.code[at] = asm.movImm(0, 0);
  else [w.code[at], w.code[at + 1]] = asm.wide(2, 0) as [Insn, Insn];
}

function writeFunction(w: Writer, made: Call, starts: Map<number, FunctionKind>): void {
  const start = w.length;
  aimCall(w, made, start);
  starts.set(start, made.kind);
  w.framesLeft = made.at < (starts.keys().next().value ?? 0) ? 1 : 0;
  if (made.body !== undefined) return made.body(w);
  w.mayThrow = !made.kind.endsWith("callback") && w.random.oneIn(5);
  beginFunction(w, made.kind);
  block(w, w.random.between(1, 6), 1);
  endFunction(w, made.kind);
}

/** Puts something into the register. */
function put(w: Writer, register: number): void {
  const { random } = w;
  switch (w.hasContext ? random.below(10) : 9) {
    case 0:
      w.pointTo(register, -8 * random.between(1, SLOTS));
      return w.set(register, "stack");
    case 1:
      w.emit(asm.mapValue(register, MAP.single.fd, 8 * random.below(3)));
      return w.set(register, "value");
    default:
      if (register > 5 && random.oneIn(3) && !w.hasContext) return unknown(w, register);
      return number(w, register);
  }
}

function block(w: Writer, length: number, depth: number): void {
  for (let i = 0; i < length; i++) statement(w, depth);
}

type Statement = (w: Writer, block: (length: number) => void) => void;

/** Statements by how often they are written. */
const ALWAYS: readonly (readonly [number, Statement])[] = [
  [10, alu],
  [4, branch],
  [4, spill],
  [4, fill],
  [3, accessValue],
  [2, accessStack],
  [2, copy],
  [2, narrowSpill],
  [2, linked],
  [2, lowerHalf],
  [2, diverging],
  [2, atomic],
  [1, constant],
  [2, (w) => put(w, w.random.pick(REGISTERS))],
];
const CALLS: readonly (readonly [number, Statement])[] = [
  [2, (w) => unknown(w, w.random.pick(REGISTERS))],
  [2, memoryHelper],
];
const WITH_CONTEXT: readonly (readonly [number, Statement])[] = [
  [5, accessPacket],
  [2, movePacket],
];

/** Statements that all may write who may not know addresses: none looks at the stack at an unknown offset. */
const SECRET: readonly (readonly [number, Statement])[] = [
  ...ALWAYS.filter(([, write]) => write !== accessStack && write !== accessValue),
  [4, accessValue],
];

function statement(w: Writer, depth: number): void {
  const rows = w.privileges.mayLeakPointers ? [...ALWAYS] : [...SECRET];
  if (!w.privileges.mayLeakPointers && depth === 0) rows.push([4, leak]);
  if (!w.privileges.isCapable) rows.push(CALLS[0]!);
  else if (!w.isLocked) {
    rows.push(...CALLS);
    if (w.hasContext) rows.push(...WITH_CONTEXT);
    if (depth < 3) rows.push([1, objects], [2, loop]);
    if (depth < 2 && w.framesLeft > 0) rows.push([3, call]);
    const isBare = depth === 0 && w.busy.size === 0;
    if (isBare && w.hasContext && w.random.oneIn(3))
      rows.push([1, oldPacketLoad], [1, tailCall], [2, objects], [1, takeKept], [1, pop], [1, throws]);
    else if (isBare) rows.push([2, objects]);
    if (w.mayThrow && depth > 0) {
      rows.push([1, throws]);
      if (w.hasContext && depth === 1) rows.push([1, tailCall]);
    }
  } else if (depth < 3) rows.push([1, loop]);
  let left = w.random.below(rows.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, write] of rows) {
    left -= weight;
    if (left < 0) return write(w, (length) => block(w, length, depth + 1));
  }
}

function objects(w: Writer, inner: (length: number) => void): void {
  const [resource, write] = w.random.pick(OBJECTS);
  if (resource !== undefined && w.busy.has(resource)) return;
  // Functions have little stack: sections are all they open.
  if (!w.hasContext && resource !== undefined && resource !== "iterator") return;
  write(w, inner);
}

const OFFSETS = [-8, -4, -2, -1, 1, 2, 4, 8];
const WIDE = 0x18;
const CALL = 0x85;

/** The program with a few fields changed. */
export function mutated(random: Prng, program: RandomProgram): RandomProgram {
  const copied = program.insns.map((insn) => ({ ...insn }));
  for (let times = random.between(1, 3); times > 0; times--) mutate(random, copied);
  return { ...program, insns: copied };
}

const isPlain = (insn: Insn): boolean => insn.opcode !== WIDE && insn.opcode !== 0 && insn.opcode !== CALL;

function mutate(random: Prng, code: Insn[]): void {
  const at = random.below(code.length);
  const insn = code[at]!;
  if (insn.opcode === WIDE && insn.src === 0) {
    code[at] = { ...insn, imm: random.oneIn(2) ? random.i32() : (insn.imm + random.pick(OFFSETS)) | 0 };
    return;
  }
  if (!isPlain(insn)) return;
  const hasRegister = (insn.opcode & 8) !== 0;
  const isJump = (insn.opcode & 7) >= 5 && (insn.opcode & 7) <= 6;
  switch (random.below(9)) {
    case 0:
      if (!hasRegister) code[at] = { ...insn, imm: (insn.imm + random.pick(OFFSETS)) | 0 };
      return;
    case 1:
      code[at] = { ...insn, dst: random.below(10) };
      return;
    case 2:
      if (hasRegister) code[at] = { ...insn, src: random.below(11) };
      return;
    case 3:
      if (insn.off !== 0)
        code[at] = { ...insn, off: insn.off + random.pick(isJump ? [-2, -1, 1, 2, 3] : OFFSETS) };
      return;
    case 4:
      code[at] = { ...insn, opcode: changed(random, insn.opcode) };
      return;
    case 5:
      code[at] = asm.movReg(random.below(10), random.below(11));
      return;
    case 6: {
      const next = code[at + 1];
      if (next !== undefined && isPlain(next)) [code[at], code[at + 1]] = [next, insn];
      return;
    }
    case 7:
      code[at] = asm.goto(0);
      return;
    default: {
      // The same once more, elsewhere.
      const to = random.below(code.length);
      if (isPlain(code[to]!)) code[to] = { ...insn };
    }
  }
}

/** Another operation or width of the same shape. */
function changed(random: Prng, opcode: number): number {
  const kind = opcode & 7;
  if (kind === 4 || kind === 7)
    return random.oneIn(2) ? opcode ^ 3 : (opcode & 0x0f) | (random.below(13) << 4);
  if ((kind === 5 || kind === 6) && opcode !== 0x95 && opcode !== 0x05 && opcode !== 0xe5)
    return random.oneIn(2) ? opcode ^ 3 : (opcode & 0x0f) | ((random.between(1, 13) << 4) & 0xf0);
  if (kind === 1 || kind === 2 || kind === 3) return (opcode & ~0x18) | (random.below(4) << 3);
  return opcode;
}
