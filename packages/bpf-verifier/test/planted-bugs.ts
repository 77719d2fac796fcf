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
const liveStack = inFile("prune/live-stack.ts");
const loops = inFile("prune/loops.ts");
const visited = inFile("prune/visited.ts");
const exit = inFile("check/exit.ts");
const leaks = inFile("check/leaks.ts");
const memoryArguments = inFile("call/memory-arguments.ts");

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
    "return base.withOffset(base.off - scalar.constantNumber);",
    "return base.withOffset(base.off + scalar.constantNumber);",
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
    "types: spilledTypes(frame.stack[index]!, size), spilled: register",
    "types: spilledTypes(frame.stack[index]!, 8), spilled: register",
  ),
  stack(
    "a part of what was spilled is a copy of it",
    "widthOf(spilled) > size * 8 ? spilled.with({ id: 0, hasDelta: false }) : spilled",
    "spilled",
  ),
  stack(
    "zeros stay where something may have been written",
    'frame.stack[index] = { types: withBytes(types, at, 1, keepsZero ? "0" : "m"), spilled: NOT_INIT };',
    "frame.stack[index] = { types, spilled: NOT_INIT };",
  ),
  stack(
    "a write in the middle of a slot spills",
    "const isAligned = off % 8 === 0;",
    "const isAligned = true;",
  ),
  stack(
    "a helper's writes leave spilled registers whole",
    'isFilled ? { types: withBytes(types, at, 1, "m"), spilled } : scrubbed(slot);',
    'isFilled ? { types: withBytes(types, at, 1, "m"), spilled } : slot;',
  ),
  stack(
    "variable offsets reach one byte too far",
    "const high = smaxNumber + off + size;",
    "const high = smaxNumber + off + size - 1;",
  ),
  inFile("call/helper.ts")(
    "what a helper fills keeps its contents",
    "(facts.raw === undefined ? undefined : fillStack(analysis, facts.raw.number, facts.raw.size));",
    "(facts.raw === undefined || facts.raw !== undefined ? undefined : fillStack(analysis, 0, 0));",
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
    "  a.kind === b.kind &&\n  a.flags === b.flags &&",
    "  a.kind === b.kind &&",
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
    "      noteAccess(analysis, frame, index);\n      analysis.set(into, slot.spilled);",
    "      analysis.set(into, slot.spilled);",
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

const HELD: readonly PlantedBug[] = [
  equal(
    "sections without preemption are not counted",
    "    old.activePreemptLocks !== now.activePreemptLocks ||\n",
    "",
  ),
  equal("RCU sections are not counted", "    old.activeRcuLocks !== now.activeRcuLocks ||\n", ""),
  leaks("a program may end with what it holds", "lingering.length > 0) {", "lingering.length > 1) {"),
  leaks("a program may end with a lock", "if (withLocks && state.hasLocks)", "if (false)"),
  inFile("call/subprogram.ts")(
    "a function may give away its stack",
    'if (result.kind === "fp")',
    "if (false)",
  ),
  stack(
    "a function may leave its stack with its caller",
    'if (frame !== analysis.frame && register.kind === "fp")',
    "if (false)",
  ),
  exit(
    "results are not looked at",
    "  if (wrong === undefined ||",
    "  return undefined;\n  if (wrong === undefined ||",
  ),
  memoryArguments("sizes of arguments are not marked", "}) ?? markPrecise(analysis, number)", "})"),
  memoryArguments(
    "the least size of an argument counts",
    "size: scalar.umaxNumber,",
    "size: Number(scalar.umin),",
  ),
];

const LOOPS: readonly PlantedBug[] = [
  loops(
    "marks are not carried around loops",
    "if (propagatePrecision(this.#analysis, { old: equal, state, isQuiet: !isShown })) isChanged = true;",
    "void [state, equal, isShown, propagatePrecision];",
  ),
  loops(
    "marks are carried around loops once",
    "isQuiet: !isShown })) isChanged = true;",
    "isQuiet: !isShown })) isChanged = false;",
  ),
  loops(
    "no loop lacks marks",
    "  loops.some(({ backedges }) => backedges.length > 0);",
    "  loops.some(({ backedges }) => backedges.length < 0);",
  ),
  loops(
    "the inner loop of two has all marks",
    "for (const visit of equal.loops) {\n      if",
    "for (const visit of equal.loops.slice(1)) {\n      if",
  ),
  visited(
    "turns of a loop are compared by what is marked so far",
    'old.loops.length > 0 && this.#equal(remembered, now, "within");',
    'old.loops.length > 0 && this.#equal(remembered, now, "safe");',
  ),
  visited(
    "where loops lack marks, those that there are do",
    'if (isIncompleteInLinux(old)) return this.#equal(remembered, now, "within") ? "loops" : "no";',
    'if (isIncompleteInLinux(old)) return this.#equal(remembered, now, "safe") ? "loops" : "no";',
  ),
  visited(
    "where loops of callbacks lack marks, those that there are do",
    "const exactness = isLoop || this",
    "const exactness = this",
  ),
  visited(
    "marks do not pass to paths that were cut short",
    "    propagatePrecision(this.#analysis, { old, state, isQuiet: false });\n",
    "    void propagatePrecision;\n",
  ),
  loops(
    "loops of callbacks leave no marks",
    "if (visit.isShown && !isLinux) continue;",
    "if (!isLinux) continue;",
  ),
  inFile("prune/widen.ts")(
    "numbers that were marked are widened to those before",
    "return isExact(old, now, ids) ? now : UNKNOWN;",
    "return isExact(old, now, ids) ? now : old;",
  ),
  equal(
    "callers are not compared",
    "for (let i = 0; i < old.frames.length; i++) {\n    const a = old.frames[i]!;",
    "for (let i = old.frames.length - 1; i < old.frames.length; i++) {\n    const a = old.frames[i]!;",
  ),
  equal("parts of slots are not compared", "if (!slotSafe(a, b, comparison)) return false;", ""),
  equal(
    "distances of copies are not compared",
    "if (old.id !== 0 && !sameDistance(old, now)) return false;",
    "",
  ),
  equal(
    "what callers read later is dead",
    "return site < 0 ? 0x3ff : this.#live[site]! | (this.#live[site + 1] ?? 0);",
    "return site < 0 ? 0x3ff : 0;",
  ),
];

const OWNED: readonly PlantedBug[] = [
  inFile("call/locks.ts")(
    "elements of a list outlive its lock",
    "  forgetUnowned(analysis);\n",
    "  void forgetUnowned;\n",
  ),
  inFile("call/kfunc/call.ts")(
    "a throw may leave what is held",
    "return checkLeaks(analysis, name, true, true);",
    "return void checkLeaks;",
  ),
  inFile("call/kfunc/call.ts")(
    "what is thrown is not looked at",
    "if (kfunc.name === THROW) return checkThrown(analysis) ?? endByException(analysis, kfunc);",
    "if (kfunc.name === THROW) return void checkThrown ?? endByException(analysis, kfunc);",
  ),
  inFile("call/subprogram.ts")(
    "global functions that throw leave what is held",
    'mightThrow ? checkLeaks(analysis, "bpf_throw", true, true) : undefined;',
    "undefined;",
  ),
  inFile("access/region.ts")(
    "pointers of a map are numbers like others",
    '    const name = fieldName(field);\n    if (field.kind !== "kptr")',
    '    const name = fieldName(field);\n    if (field.kind === "kptr") continue;\n    if (field.kind !== "kptr")',
  ),
];

const LIVE_STACK: readonly PlantedBug[] = [
  liveStack(
    "what is written on one path is written on all",
    "const after = isKnown ? mask & before : mask;",
    "const after = mask | before;",
  ),
  liveStack(
    "functions read nothing of their callers",
    "outer.addReads(frame, site, sets[at + LIVE]!, sets[at + LIVE + 1]!);",
    "",
  ),
  liveStack(
    "what callers read later is dead",
    "if (instances[i]!.isLive(again, frame, slot)) return true;",
    "",
  ),
  liveStack(
    "callbacks are called once",
    "const again = callsCallback(env, insns[site]!) ? site : site + 1;",
    "const again = site + 1;\n      void [callsCallback, env, insns];",
  ),
  liveStack(
    "one of two ways is read",
    "((sets[a + LIVE]! | sets[b + LIVE]!) & ~writtenLow)",
    "(sets[a + LIVE]! & ~writtenLow)",
  ),
  liveStack(
    "writes on one of two ways are writes on both",
    "(sets[a + WRITTEN_LATER]! & sets[b + WRITTEN_LATER]!) | writtenLow",
    "(sets[a + WRITTEN_LATER]! | sets[b + WRITTEN_LATER]!) | writtenLow",
  ),
  stack("parts of slots are whole slots", "if (off % 8 === 0 && size === 8) analysis", "if (true) analysis"),
  stack(
    "loads do not read",
    "  analysis.touchSlot(index);\n  analysis.liveStack.read(frame.index, index);\n  if (!isSpilled(slot)) {",
    "  analysis.touchSlot(index);\n  if (!isSpilled(slot)) {",
  ),
  stack(
    "arguments on the stack are not read",
    "    analysis.liveStack.read(frame.index, index);\n    if (frame.stack[index] === DATA_SLOT)",
    "    if (frame.stack[index] === DATA_SLOT)",
  ),
  inFile("call/iterator.ts")(
    "iterators are not read",
    "    analysis.liveStack.read(place.frame, place.slot - i);\n",
    "",
  ),
];

const SECRETS: readonly PlantedBug[] = [
  inFile("access/memory.ts")(
    "addresses go into maps",
    'return isLeak ? leak(access, "map") : mapValue',
    "return mapValue",
  ),
  inFile("access/memory.ts")(
    "addresses go into contexts",
    '      if (isLeak) return leak(access, "ctx");\n',
    "",
  ),
  inFile("check/exit.ts")(
    "an address is a result",
    "if (analysis.isLeak(number)) return reject",
    "if (false) return reject",
  ),
  alu("addresses are negated", "if (analysis.isLeak(dst)) return reject", "if (false) return reject"),
  alu(
    "low halves of addresses are numbers",
    "if (analysis.isLeak(src)) return reject(EACCES, `R${src} partial copy of pointer`);",
    "",
  ),
  alu(
    "sign extensions of addresses are numbers",
    "if (analysis.isLeak(src)) return reject(EACCES, `R${src} sign-extension part of pointer`);",
    "",
  ),
  alu(
    "distances between addresses are numbers",
    'if (op === "sub" && analysis.env.privileges.mayLeakPointers) {',
    'if (op === "sub") {',
  ),
  jump(
    "addresses are compared with numbers",
    "} else if (!matchPackets(comparison, here, other) && analysis.isLeak(dst)) {",
    "} else if (!matchPackets(comparison, here, other) && false) {",
  ),
  jump(
    "addresses are compared with registers",
    "if (!isPacket && analysis.isLeak(src)) return",
    "if (false) return",
  ),
  inFile("check/memory-op.ts")(
    "addresses are added to memory",
    "if (analysis.isLeak(src)) return reject(EACCES, `R${src} leaks addr into mem`);",
    "",
  ),
  inFile("check/memory-op.ts")(
    "addresses are fetched from the stack",
    "const isSecret = into >= 0 && !analysis",
    "const isSecret = false && !analysis",
  ),
  stack(
    "parts of spilled addresses are written over",
    "size === 8 ? undefined : checkCorruption(analysis, before)",
    "undefined as Check",
  ),
  stack(
    "what nobody wrote is read",
    'if (letter === "?" && analysis.env.privileges.mayReadUninitialised) continue;',
    'if (letter === "?") continue;',
  ),
  stack(
    "what nobody wrote is given to helpers",
    '  if (letter === "?" && !mayReadUninitialised) return false;\n',
    "",
  ),
  stack("spilled addresses are given to helpers", "(spilled.isScalar || mayLeakPointers)", "true"),
  stack(
    "parts of spilled addresses are read",
    "if (!slot.spilled.isScalar) {",
    "if (!slot.spilled.isScalar) return void analysis.setUnknown(into);\n  if (false) {",
  ),
  inFile("call/arguments.ts")(
    "addresses are arguments that may be any number",
    "return analysis.isLeak(number) ? reject",
    "return false ? reject",
  ),
];

export const PLANTED_BUGS: readonly PlantedBug[] = [
  ...NUMBERS,
  ...POINTERS,
  ...STACK,
  ...PRUNING,
  ...HELD,
  ...LOOPS,
  ...LIVE_STACK,
  ...OWNED,
  ...SECRETS,
];
