/**
 * Random programs on an engine and on the reference semantics: result, context bytes, fault and (on the interpreter)
 * instruction count must be equal, and nothing may throw. Run by `npm run fuzz -- bpf-vm --runs N --seed S`, or `bpf-jit`.
 *
 * A run is one program, made from the seed alone. The mutation runs the same programs on an interpreter with a planted bug,
 * which the suite must find.
 */
import { OPCODES, asm, identify, insn, opcodeByName, program } from "@alien-ts/bpf-isa";
import type { Insn, OpcodeRow } from "@alien-ts/bpf-isa";
import { type FuzzOptions, type FuzzReport, type FuzzSuite, Prng } from "@alien-ts/testkit";
import { interpreterEngine, jitEngine } from "./case-engine.ts";
import { EDGES, difference, referenceResult } from "./engine-suite.ts";
import type { Engine, EngineCase } from "./engine-suite.ts";
import { testHost } from "./test-host.ts";

export const fuzzSuite: FuzzSuite = {
  name: "bpf-vm",
  run: (options) => compare(interpreterEngine(), options),
  mutations: new Map([
    [
      "64-bit arithmetic right shifts are logical",
      (options) => compare(plantBug(interpreterEngine()), options),
    ],
  ]),
};

/** The same programs, compiled: with all checks, and as verified programs are. */
export const jitFuzzSuite: FuzzSuite = {
  name: "bpf-jit",
  run: (options) => {
    const checked = compare(jitEngine(testHost()), options);
    const trusting = compare(jitEngine(testHost(), { isTrusting: true }), options);
    return { ...checked, failures: [...checked.failures, ...trusting.failures] };
  },
  mutations: new Map([
    [
      "64-bit arithmetic right shifts are logical",
      (options) => compare(plantBug(jitEngine(testHost())), options),
    ],
  ]),
};

const MOST_FAILURES = 10;
/** Programs in one module of the JIT. */
const BATCH = 50;

function compare(engine: Engine, { runs, seed }: FuzzOptions): FuzzReport {
  const failures: string[] = [];
  const branches = new Map<string, number>();
  const random = new Prng(seed);
  for (let run = 0; run < runs && failures.length < MOST_FAILURES; run += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, runs - run) }, () => randomCase(random));
    failures.push(...attempt(run, () => compareBatch(engine, batch, run, branches)));
  }
  return { runs, seed, failures, branches };
}

function compareBatch(
  engine: Engine,
  batch: readonly EngineCase[],
  firstRun: number,
  branches: Map<string, number>,
): string[] {
  const failures: string[] = [];
  let i = 0;
  for (const result of engine.runAll(batch)) {
    const test = batch[i]!;
    const expected = referenceResult(test);
    for (const slot of test.insns) {
      const branch = `${identify(slot)?.name}: ${expected.kind}`;
      branches.set(branch, (branches.get(branch) ?? 0) + 1);
    }
    const text = difference(result, expected, engine);
    if (text !== undefined) failures.push(`run ${firstRun + i}: ${text}`);
    i += 1;
  }
  return failures;
}

function attempt(run: number, compareOnce: () => string[]): string[] {
  try {
    return compareOnce();
  } catch (error) {
    return [`from run ${run} on, the engine threw ${String(error)}`];
  }
}

/** Executes arithmetic right shifts of 64 bits as logical ones. */
function plantBug(engine: Engine): Engine {
  const replace: Record<number, number> = {
    [opcodeByName("arsh64_imm")!.opcode]: opcodeByName("rsh64_imm")!.opcode,
    [opcodeByName("arsh64_reg")!.opcode]: opcodeByName("rsh64_reg")!.opcode,
  };
  const mutate = (slot: Insn): Insn => ({ ...slot, opcode: replace[slot.opcode] ?? slot.opcode });
  return {
    name: `${engine.name} with a planted bug`,
    isExact: engine.isExact,
    isTrusting: engine.isTrusting,
    runAll: (tests) => engine.runAll(tests.map((test) => ({ ...test, insns: test.insns.map(mutate) }))),
  };
}

/** A program over its context and stack: every register set, a random body, everything folded into r0. */
export function randomCase(random: Prng): EngineCase {
  const context = random.bytes(random.pick([0, 8, 24, 64]));
  const setup: (Insn | readonly Insn[])[] = [asm.movReg(6, 1), asm.movReg(9, 10)];
  for (const register of [0, 1, 2, 3, 4, 5, 7, 8]) setup.push(asm.wide64(register, random.pick(EDGES)));
  const length = random.between(1, 30);
  const body: Insn[] = [];
  while (body.length < length) body.push(...randomInstruction(random, length - body.length));
  const fold = [1, 2, 3, 4, 5, 7, 8].map((register) => asm.aluReg(random.pick(["add", "xor"]), 0, register));
  const callee = [asm.movReg(0, 2), randomAlu(random), asm.exit()];
  const packet = random.oneIn(4) ? { packet: random.bytes(16) } : {};
  return { insns: program(...setup, body, fold, asm.exit(), callee), context, fuel: 300, ...packet };
}

/** Only instructions that a run survives often; the faults of the others are in the shared suite. */
const BODY_ROWS = OPCODES.filter(
  ({ kind, name }) => kind !== "exit" && name !== "call_kfunc" && name !== "callx",
);

function randomInstruction(random: Prng, remaining: number): readonly Insn[] {
  if (random.oneIn(2)) return [randomAlu(random)];
  const row = random.pick(BODY_ROWS);
  const field = { dst: random.below(10), src: random.below(11) };
  switch (row.kind) {
    case "jump":
      return [insn(row.name, { ...operandsOf(random, row), off: randomJump(random, remaining) })];
    case "goto":
    case "may_goto":
      return [insn(row.name, { [row.name === "gotol" ? "imm" : "off"]: random.between(0, remaining) })];
    case "call":
      return [
        row.target === "local"
          ? asm.callLocal(random.between(0, remaining + 8))
          : asm.call(random.oneIn(20) ? 2 : 1),
      ];
    case "wide":
      return asm.wide64(field.dst, random.oneIn(2) ? random.pick(EDGES) : random.u64());
    case "packet":
      return random.oneIn(3) ? [insn(row.name, { imm: random.between(-1, 17) })] : [];
    case "load":
    case "store":
    case "atomic":
    case "load_acquire":
    case "store_release":
      return [randomAccess(random, row)];
    default:
      return [randomAlu(random)];
  }
}

function randomJump(random: Prng, remaining: number): number {
  return random.oneIn(8) ? -random.between(1, 6) : random.between(0, remaining);
}

const ALU_ROWS = OPCODES.filter(
  ({ kind }) => kind === "alu" || kind === "neg" || kind === "movsx" || kind === "end",
);

function randomAlu(random: Prng): Insn {
  const row = random.pick(ALU_ROWS);
  return insn(row.name, operandsOf(random, row));
}

/** Never writes r6 and r9, which are pointers, and seldom r10, which ends the run. */
function operandsOf(random: Prng, row: OpcodeRow): Partial<Insn> {
  const imm = random.oneIn(2) ? random.i32() : Number(BigInt.asIntN(32, random.pick(EDGES)));
  return {
    dst: random.oneIn(500) ? 10 : random.pick([0, 1, 2, 3, 4, 5, 7, 8]),
    ...(row.operands.includes("src") ? { src: random.below(11) } : {}),
    ...(row.operands.includes("imm") ? { imm } : {}),
  };
}

/** Mostly in bounds and aligned, on the stack (r9, r10) or the context (r6). */
function randomAccess(random: Prng, row: OpcodeRow): Insn {
  const size = "size" in row ? row.size : 8;
  const isContext = random.oneIn(2);
  const base = random.oneIn(30) ? random.below(11) : isContext ? 6 : random.pick([9, 10]);
  const slots = isContext ? random.below(64 / size) : -1 - random.below(512 / size);
  const off = slots * size + (random.oneIn(30) ? random.between(-9, 9) : 0);
  const value = random.oneIn(500) ? 10 : random.pick([0, 1, 2, 3, 4, 5, 7, 8]);
  const isLoad = row.kind === "load" || row.kind === "load_acquire";
  const isImmediate = row.kind === "store" && row.source === "imm";
  const registers = isLoad
    ? { dst: value, src: base }
    : isImmediate
      ? { dst: base }
      : { dst: base, src: value };
  return insn(row.name, { ...registers, off, ...(isImmediate ? { imm: random.i32() } : {}) });
}
