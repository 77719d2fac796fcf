/**
 * Bugs for the random programs to find, as changes of the verifier's source: a rule that is forgotten, a bound that is off by one.
 * `npm run fuzz -- verifier-programs --planted` builds the suite with each and counts the programs until it is found.
 *
 * A row is the file, what stands there (once), and what stands there instead. A change of the verifier that moves a line moves its row.
 */
import type { PlantedBug } from "@alien-ts/testkit";

const SOURCE = "packages/bpf-verifier/src/";
const inFile =
  (file: string) =>
  (bug: string, find: string, replace: string): PlantedBug => ({ bug, file: SOURCE + file, find, replace });

const transfer = inFile("scalar/transfer.ts");
const refine = inFile("scalar/refine.ts");
const alu = inFile("check/alu.ts");
const pointer = inFile("check/pointer-alu.ts");
const jump = inFile("check/jump.ts");
const stack = inFile("access/stack.ts");
const region = inFile("access/region.ts");
const memory = inFile("access/memory.ts");
const release = inFile("call/release.ts");
const returns = inFile("call/returns.ts");
const equal = inFile("prune/equal.ts");
const precision = inFile("prune/precision.ts");
const live = inFile("prune/live.ts");

const NUMBERS: readonly PlantedBug[] = [
  transfer(
    "sums that wrap keep their bounds",
    "const maxWraps = below(out.high, out.low, draft.umaxHigh, draft.umaxLow);",
    "const maxWraps = minWraps;",
  ),
  transfer(
    "a shift to the right goes one too far in the upper bound",
    "shiftRight(draft.umaxHigh, draft.umaxLow, by, false);",
    "shiftRight(draft.umaxHigh, draft.umaxLow, by + 1, false);",
  ),
  transfer(
    "an operation on low halves keeps the high one",
    "  if (bits === 32) draft.zeroExtend32();\n  return draft.sync().freeze();",
    "  return draft.sync().freeze();",
  ),
  refine(
    "less-than learns one too much",
    "subtract(y.umaxHigh, y.umaxLow, 0, gap);",
    "subtract(y.umaxHigh, y.umaxLow, 0, gap + 1);",
  ),
  refine(
    "less-than of low halves learns one too much",
    "smaller32(x.umax32, (y.umax32 - gap) | 0)",
    "smaller32(x.umax32, (y.umax32 - gap - 1) | 0)",
  ),
  refine(
    "signed less-than learns one too much",
    "subtract(y.smaxHigh, y.smaxLow, 0, gap);",
    "subtract(y.smaxHigh, y.smaxLow, 0, gap + 1);",
  ),
  refine("one of several bits is taken for all", "if (!isSingle) return;", ""),
  refine(
    "less-than is decided for equal ones",
    "? a.umax32 >>> 0 < b.umin32 >>> 0",
    "? a.umax32 >>> 0 <= b.umin32 >>> 0",
  ),
  alu(
    "copies of low halves are taken for whole",
    "const keeps = off === 0 ? widthOf(source) <= 32 :",
    "const keeps = off === 0 ? true :",
  ),
  alu(
    "sign extensions are taken for copies",
    "const keeps = source.scalar.umax < 1n << BigInt(off - 1);\n  const copy = keeps ? tied(analysis, source) : source;\n  if (keeps) analysis.set(src, copy);\n  const scalar = signExtend64",
    "const keeps = true;\n  const copy = keeps ? tied(analysis, source) : source;\n  if (keeps) analysis.set(src, copy);\n  const scalar = signExtend64",
  ),
  alu(
    "a copy that was lowered is taken for one that was raised",
    'op === "sub" ? 0 - right.valueLow : right.valueLow',
    "right.valueLow",
  ),
  alu(
    "numbers that are shortened stay as they are",
    "const scalar = zeroExtend(draft.sync().freeze(), bytes);",
    "const scalar = zeroExtend(draft.sync().freeze(), 8);",
  ),
  jump("copies follow without their distance", "if (distance === 0) return known;", "return known;"),
];

const POINTERS: readonly PlantedBug[] = [
  pointer(
    "a packet pointer keeps its range when it moves by an unknown number",
    "return base.isPacket ? moved.with({ id: analysis.newId(), range: 0 }) : moved;",
    "return moved;",
  ),
  pointer(
    "a pointer that is lowered is raised",
    "base.with({ off: base.off - Number(scalar.constant) })",
    "base.with({ off: base.off + Number(scalar.constant) })",
  ),
  jump("a packet's range is one too long", "const range = isOpen ? off + 1 : off;", "const range = off + 1;"),
  jump("the range of one packet pointer is that of all", "    register.id === packet.id &&\n", ""),
  jump(
    "the other side of a NULL check is not NULL",
    'markNull(here, dst, op === "jne");',
    'markNull(here, dst, op === "jeq");',
  ),
  inFile("state/nullness.ts")(
    "one NULL check is good for all pointers",
    "if (!register.isMaybeNull || register.id !== id) return register;",
    "if (!register.isMaybeNull) return register;",
  ),
  returns(
    "what is looked up is found",
    "flags: isFound ? flags & ~FLAG.MAYBE_NULL : flags,",
    "flags: flags & ~FLAG.MAYBE_NULL,",
  ),
  returns(
    "there is room for every record",
    'pointer("mem", { flags: flags | FLAG.RINGBUF,',
    'pointer("mem", { flags: FLAG.RINGBUF,',
  ),
  returns(
    "a machine has one processor less",
    "draft.setUnsigned(0n, BigInt(cpus - 1));\n    draft.setSigned(0n, BigInt(cpus - 1));\n    draft.umax32 = draft.s32max = cpus - 1;",
    "draft.setUnsigned(0n, BigInt(cpus - 2));\n    draft.setSigned(0n, BigInt(cpus - 2));\n    draft.umax32 = draft.s32max = cpus - 2;",
  ),
  region(
    "a value has one byte more",
    "access.off + umaxNumber + size <= bytes",
    "access.off + umaxNumber + size <= bytes + 1",
  ),
  region(
    "a lock is a number like others",
    "  for (const field of fields) {",
    "  for (const field of fields.slice(1)) {",
  ),
  memory("constants are one larger", "return constRegister(number);", "return constRegister(number + 1n);"),
  memory(
    "atomic accesses need not be aligned",
    "const strict = isStrict || (",
    "const strict = false && isStrict || (",
  ),
  release(
    "pointers into a packet outlive it",
    "return isSlice || isPacket ? analysis.gone : register;",
    "return isSlice ? analysis.gone : register;",
  ),
  release(
    "slices of a packet outlive it",
    "return isSlice || isPacket ? analysis.gone : register;",
    "return isPacket ? analysis.gone : register;",
  ),
  release(
    "what was given back can still be used",
    "(register.refId === refId ? analysis.gone : register)",
    "register",
  ),
  inFile("call/dynptr.ts")(
    "slices of a record outlive it",
    "(register.dynptrId !== 0 && ended.has(register.dynptrId))",
    "false",
  ),
  inFile("call/iterator.ts")(
    "an iterator at its end goes on",
    'iterator: { ...iterator, state: "drained" }',
    "iterator",
  ),
  inFile("call/subprogram.ts")(
    "functions leave packets where they are",
    "if (changesPacket) forgetPackets(analysis);",
    "",
  ),
  inFile("call/callback.ts")(
    "a loop makes the fewest turns that it may",
    "BigInt(analysis.frame.callbackDepth) < at(REG.R1).scalar.umax",
    "BigInt(analysis.frame.callbackDepth) < at(REG.R1).scalar.umin",
  ),
  inFile("call/helper.ts")(
    "calls leave r1 to r5 alone",
    "  analysis.clearCallerSaved();\n  const bad =",
    "  const bad =",
  ),
];

const STACK: readonly PlantedBug[] = [
  memory(
    "signed loads are taken for unsigned ones",
    "isSigned ? signExtend64(loaded.scalar, size) :",
    "false ? signExtend64(loaded.scalar, size) :",
  ),
  stack(
    "a spill of a part is one of all",
    'types: types + "r".repeat(size), spilled: register',
    'types: "r".repeat(8), spilled: register',
  ),
  stack(
    "a number that is cut is a copy",
    "const fits = widthOf(register) <= size * 8;",
    "const fits = true;",
  ),
  stack(
    "zeros stay where something may have been written",
    'types: withByte(types, byteOf(at), keepsZero ? "0" : "m"),',
    "types,",
  ),
  stack(
    "a write in the middle of a slot spills",
    "const isAligned = off % 8 === 0;",
    "const isAligned = true;",
  ),
  stack(
    "a helper's writes leave spilled registers whole",
    'if (kind === "write" && letter !== "m" && !isFilled) frame.stack[index] = scrubbed(slot);',
    "",
  ),
  stack(
    "variable offsets reach one byte too far",
    "const high = smaxNumber + off + size;",
    "const high = smaxNumber + off + size - 1;",
  ),
  inFile("call/helper.ts")(
    "what a helper fills keeps its contents",
    "  if (raw === undefined) return undefined;\n",
    "  if (raw !== undefined || raw === undefined) return undefined;\n",
  ),
];

const PRUNING: readonly PlantedBug[] = [
  equal(
    "ranges are not compared",
    "return old.scalar.contains(now.scalar) && ids.matchesScalar(old.id, now.id);",
    "return ids.matchesScalar(old.id, now.id);",
  ),
  equal(
    "ties of numbers are not compared",
    "return old.scalar.contains(now.scalar) && ids.matchesScalar(old.id, now.id);",
    "return old.scalar.contains(now.scalar);",
  ),
  equal(
    "longer ranges of packets do for shorter ones",
    "old.range !== now.range : old.range > now.range",
    "old.range !== now.range : old.range < now.range",
  ),
  equal(
    "pointers that may be NULL are like others",
    "if (old.kind !== now.kind || old.flags !== now.flags) return false;",
    "if (old.kind !== now.kind) return false;",
  ),
  equal(
    "turns of callbacks are not compared",
    "if (old.callbackDepth > now.callbackDepth) return false;",
    "",
  ),
  equal(
    "stacks are not compared",
    "for (let index = 0; index < old.stack.length; index++) {\n    const a",
    "for (let index = 64; index < old.stack.length; index++) {\n    const a",
  ),
  equal("no number counts", 'if (!old.isPrecise && exactness === "safe" &&', 'if (exactness === "safe" &&'),
  equal(
    "iterators at their end are like others",
    "a.spilled.iterator?.state === b.spilled.iterator?.state &&",
    "",
  ),
  equal("references are not counted", "old.references.length !== now.references.length ||\n", ""),
  precision("nothing is marked as precise", "  wanted.registers[wanted.frame] = 1 << number;\n", ""),
  precision(
    "marks do not pass to paths that are covered",
    "names.push(`fp${-8 * (number + 1)}`);\n    }",
    "names.push(`fp${-8 * (number + 1)}`);\n    }\n    wanted.clear(index);",
  ),
  precision(
    "numbers that a jump ties are not followed",
    "if (isRegister && (wanted.has(frame, dst) || wanted.has(frame, src)))",
    "if (isRegister && wanted.has(frame, dst) && wanted.has(frame, src))",
  ),
  precision(
    "copies are not followed",
    "  if (!isWanted) return;\n",
    "  if (isWanted || !isWanted) return;\n",
  ),
  precision(
    "summands are not followed",
    "if (isRegister && src !== REG.R10) wanted.add(frame, src);",
    "if (isRegister && src !== REG.R10 && operation === 0xb0) wanted.add(frame, src);",
  ),
  precision("stores are not followed", "if ((opcode & 7) === CLASS.STX) wanted.add(frame, src);", ""),
  precision(
    "arguments of functions are not followed",
    "wanted.registers[frame - 1]! |= wanted.registers[frame]! & ARGUMENTS;",
    "",
  ),
  precision(
    "results of functions are not followed",
    "wanted.registers[wanted.frame] = isWanted ? 1 : 0;",
    "wanted.registers[wanted.frame] = 0;",
  ),
  alu(
    "offsets of pointers are not marked",
    "const bad = isRegister ? markPrecise(analysis, src) : undefined;",
    "const bad = undefined as Check;",
  ),
  jump(
    "what decides a jump is not marked",
    "(left.isPointer ? undefined : markPrecise(analysis, dst)) ??",
    "undefined ??",
  ),
  stack(
    "loads from the stack are not followed",
    "      noteAccess(analysis, frame, index);\n      analysis.set(into, withId(analysis, frame, index));",
    "      analysis.set(into, withId(analysis, frame, index));",
  ),
  live(
    "what a jump compares with is dead",
    "return effect(target | (isRegister ? source : 0), 0);",
    "return effect(target, 0);",
  ),
  live(
    "what is stored is dead",
    "atomicEffect(insn, effect) : effect(target | source, 0);",
    "atomicEffect(insn, effect) : effect(target, 0);",
  ),
  live(
    "the last argument of a helper is dead",
    "return effect((1 << (count + 1)) - 2, ALL_CALLER_SAVED);",
    "return effect((1 << count) - 2, ALL_CALLER_SAVED);",
  ),
  inFile("prune/live-stack.ts")(
    "what is read later is dead",
    "const liveLow = ((sets[a + LIVE]! | sets[b + LIVE]!) & ~writtenLow) | sets[own + READ]!;",
    "const liveLow = sets[own + READ]!;",
  ),
];

export const PLANTED_BUGS: readonly PlantedBug[] = [...NUMBERS, ...POINTERS, ...STACK, ...PRUNING];
