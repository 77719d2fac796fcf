/**
 * The suite that every engine must pass: each opcode on edge operands against the reference semantics, and programs that use
 * what no single instruction shows (calls, loops, memory, packets).
 *
 * `engineSuite(engine)` gives named checks, each a list of differences (empty when the engine is right), so that a test file or
 * a script can run it. The yardstick is `runReference` of bpf-isa; the suite has no random numbers and no expectations of its
 * own except for the programs at its end.
 */
import { FRAME_BYTES, OPCODES, asm, insn, program, runReference, writtenRegister } from "@alien-ts/bpf-isa";
import type { AccessBytes, Insn, OpcodeRow, ReferenceMemory } from "@alien-ts/bpf-isa";

/** What an engine is asked to do: fresh memory, a program, its arguments. */
export interface EngineCase {
  readonly insns: readonly Insn[];
  /** Contents of the context at entry; r1 is its address, r2 its length. */
  readonly context: Uint8Array;
  readonly fuel: number;
  readonly packet?: Uint8Array;
}

export type EngineResult =
  | { readonly kind: "done"; readonly r0: bigint; readonly executed: number; readonly context: Uint8Array }
  | { readonly kind: "fault"; readonly pc: number; readonly executed: number; readonly context: Uint8Array }
  | { readonly kind: "fuel"; readonly executed: number; readonly context: Uint8Array };

export interface Engine {
  readonly name: string;
  /** Whether `executed` and the end of the fuel are exact; else fuel counts turns of loops and calls. */
  readonly isExact: boolean;
  /** Whether it trusts programs as verified ones: then only those that the reference runs to their exit are compared. */
  readonly isTrusting: boolean;
  /**
   * Runs the cases in checked mode, each with the stack and the context of `CASE_LAYOUT` and with `callCaseHelper` as helper 1.
   * Several at once, because compiling a module costs more than most cases; the results come one by one.
   */
  runAll(tests: readonly EngineCase[]): Iterable<EngineResult>;
}

/** Where things are, so that pointers are equal in all engines; the memory's high word is that of riscv64. */
export const CASE_LAYOUT = {
  memoryBytes: 0x3_0000,
  contextAddr: 0x1_0000,
  stackTop: 0x2_2000,
  stackBytes: 8 * 512,
  baseHigh: 0xffff_ffd6,
} as const;

/** Helper 1 of the cases: mixes its five arguments. */
export function callCaseHelper(args: readonly bigint[]): bigint {
  return BigInt.asUintN(
    64,
    args.reduce((sum, arg, index) => sum ^ (arg + BigInt(index)), 0x1234_5678_9abc_def0n),
  );
}

export interface EngineCheck {
  readonly name: string;
  /** Differences between the engine and the reference semantics. */
  check(): readonly string[];
}

/** Result of the reference semantics for `test`. */
export function referenceResult(test: EngineCase): EngineResult {
  const memory = new CaseMemory(test.context);
  const base = BigInt(CASE_LAYOUT.baseHigh) << 32n;
  const result = runReference(test.insns, {
    memory,
    r1: base | BigInt(CASE_LAYOUT.contextAddr),
    r2: BigInt(test.context.length),
    stackTop: base | BigInt(CASE_LAYOUT.stackTop),
    fuel: test.fuel,
    callHelper: (id, args) => (id === 1 ? callCaseHelper(args) : undefined),
    ...(test.packet === undefined ? {} : { packet: test.packet }),
  });
  return { ...result, context: memory.context };
}

/**
 * What differs between two results, or undefined. Of an engine that does not count instructions, a program that the reference
 * stops for its fuel is only asked to end.
 */
export function difference(
  actual: EngineResult,
  expected: EngineResult,
  { isExact, isTrusting }: Pick<Engine, "isExact" | "isTrusting">,
): string | undefined {
  if (isTrusting && expected.kind !== "done") return undefined;
  if (!isExact && expected.kind === "fuel") return undefined;
  const [found, wanted] = [describe(actual, isExact), describe(expected, isExact)];
  if (found !== wanted) return `${found}, but the reference ${wanted}`;
  const at = actual.context.findIndex((byte, index) => byte !== expected.context[index]);
  return at < 0 ? undefined : `context byte ${at} is ${actual.context[at]}, not ${expected.context[at]}`;
}

function describe(result: EngineResult, isExact: boolean): string {
  const executed = isExact ? `after ${result.executed} instructions` : "after some instructions";
  if (result.kind === "done") return `gives 0x${result.r0.toString(16)} ${executed}`;
  return result.kind === "fault" ? `faults at ${result.pc} ${executed}` : `is out of fuel ${executed}`;
}

/** @param every takes one of so many cases of each opcode, for engines that share most of their code with another. */
export function engineSuite(engine: Engine, every = 1): EngineCheck[] {
  const rows = OPCODES.map((row) => ({
    name: row.name,
    check: () =>
      differences(
        engine,
        [...casesOf(row), ...frameCases(row)].filter((_, index) => index % every === 0),
      ),
  }));
  const programs = PROGRAMS.map(({ name, test }) => ({ name, check: () => differences(engine, [test]) }));
  return [...rows, ...programs];
}

/** Cases that are handed to the engine at once. */
const BATCH = 2000;

function differences(engine: Engine, cases: readonly EngineCase[]): string[] {
  const found: string[] = [];
  for (let at = 0; at < cases.length && found.length < 5; at += BATCH) {
    const batch = cases.slice(at, at + BATCH);
    let i = 0;
    for (const result of engine.runAll(batch)) {
      const test = batch[i++]!;
      const text = difference(result, referenceResult(test), engine);
      if (text !== undefined)
        found.push(`${test.insns.map((slot) => JSON.stringify(slot)).join(" ")}: ${text}`);
    }
  }
  return found;
}

const bits = (count: number): number[] => Array.from({ length: count }, (_, bit) => bit);

/** Magnitudes around the given powers of two, with both signs, as unsigned 64-bit numbers. */
function around(powers: readonly number[]): bigint[] {
  const values = powers.flatMap((bit) => {
    const power = 1n << BigInt(bit);
    return [power - 1n, power, power + 1n].flatMap((value) => [value, -value]);
  });
  return [...new Set(values.map((value) => BigInt.asUintN(64, value)))];
}

/** Operands that meet every other operand. */
export const EDGES: readonly bigint[] = [
  ...around([0, 1, 5, 31, 32, 62, 63]),
  0x0123_4567_89ab_cdefn,
  0xfedc_ba98_7654_3210n,
];

/** Magnitudes around every power of two. */
const ALL_EDGES: readonly bigint[] = [...around(bits(64)), ...EDGES.slice(-2)];

const IMMEDIATES: readonly number[] = [
  ...new Set(around(bits(32)).map((value) => Number(BigInt.asIntN(32, value)))),
  0x1234_5678,
];

/** What a value meets as the second operand: itself, its negative, and some of the edges. */
const partners = (a: bigint): bigint[] => [
  a,
  BigInt.asUintN(64, -a),
  ...EDGES.filter((_, index) => index % 5 === 0),
];

const NO_BYTES = new Uint8Array(0);
const simple = (...parts: readonly (Insn | readonly Insn[])[]): EngineCase => ({
  insns: program(...parts),
  context: NO_BYTES,
  fuel: 1000,
});

/** A context of three words; the cases of one program differ in theirs, so that it is compiled once. */
function words(...values: readonly bigint[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(24));
  values.forEach((value, i) => view.setBigUint64(8 * i, value, true));
  return new Uint8Array(view.buffer);
}

/** r6 and r7 from the context's first words. */
const LOAD_OPERANDS = [asm.load(8, 6, 1, 0), asm.load(8, 7, 1, 8)];

/** r6 = a, r7 = b, the instruction on them, and r6 as the result; then with r6 as both operands. */
function onEdges(make: (dst: number, src: number) => Insn, hasSource: boolean): EngineCase[] {
  const result = [asm.movReg(0, 6), asm.exit()];
  const two = program(LOAD_OPERANDS, make(6, 7), result);
  const same = program(LOAD_OPERANDS, make(6, 6), result);
  return ALL_EDGES.flatMap((a) => [
    ...(hasSource ? [{ insns: same, context: words(a, a), fuel: 1000 }] : []),
    ...(hasSource ? partners(a) : [0n]).map((b) => ({ insns: two, context: words(a, b), fuel: 1000 })),
  ]);
}

function onImmediates(make: (imm: number) => Insn): EngineCase[] {
  return IMMEDIATES.flatMap((imm) => {
    const insns = program(LOAD_OPERANDS, make(imm), asm.movReg(0, 6), asm.exit());
    return partners(BigInt.asUintN(64, BigInt(imm))).map((a) => ({
      insns,
      context: words(a, 0n),
      fuel: 1000,
    }));
  });
}

/** A jump's result is which of two constants reached r0; it is tried with a label ahead and one behind. */
function jumpPrograms(jump: (off: number) => Insn): Insn[][] {
  const start = [...LOAD_OPERANDS, asm.movImm(0, 1)];
  return [
    program(start, jump(1), asm.movImm(0, 2), asm.exit()),
    program(start, asm.goto(2), asm.movImm(0, 3), asm.exit(), jump(-3), asm.exit()),
  ];
}

const jumpCases = (
  jump: (off: number) => Insn,
  operands: readonly (readonly [bigint, bigint])[],
): EngineCase[] =>
  jumpPrograms(jump).flatMap((insns) =>
    operands.map(([a, b]) => ({ insns, context: words(a, b), fuel: 1000 })),
  );

/** The old value is a, the source b; cmpxchg compares with a or with b. The last program has the pointer as its source. */
function atomicCases(row: OpcodeRow & { readonly kind: "atomic" }): EngineCase[] {
  const make = (src: number, compared: number): Insn[] =>
    program(
      asm.movReg(6, 1),
      asm.load(8, 7, 6, 8),
      asm.load(8, 0, 6, compared),
      insn(row.name, { dst: 6, src, off: 16 }),
      asm.aluReg("xor", 0, 7),
      asm.exit(),
    );
  const programs = [make(7, 0), make(7, 8), make(6, 0)];
  return ALL_EDGES.flatMap((a) =>
    partners(a).flatMap((b) => programs.map((insns) => ({ insns, context: words(a, b, a), fuel: 1000 }))),
  );
}

function casesOf(row: OpcodeRow): EngineCase[] {
  switch (row.kind) {
    case "alu":
      if (row.source === "imm") return onImmediates((imm) => asm.aluImm(row.op, 6, imm, row.bits));
      return onEdges((dst, src) => asm.aluReg(row.op, dst, src, row.bits), true);
    case "neg":
    case "end":
      return onEdges((dst) => insn(row.name, { dst }), false);
    case "movsx":
      return onEdges((dst, src) => insn(row.name, { dst, src }), true);
    case "jump":
      if (row.source === "imm") {
        return IMMEDIATES.flatMap((imm) =>
          jumpCases(
            (off) => asm.jumpImm(row.op, 6, imm, off, row.bits),
            partners(BigInt.asUintN(64, BigInt(imm))).map((a) => [a, 0n]),
          ),
        );
      }
      return [
        ...jumpCases(
          (off) => asm.jumpReg(row.op, 6, 7, off, row.bits),
          ALL_EDGES.flatMap((a) => partners(a).map((b): [bigint, bigint] => [a, b])),
        ),
        ...jumpCases(
          (off) => asm.jumpReg(row.op, 6, 6, off, row.bits),
          ALL_EDGES.map((a): [bigint, bigint] => [a, 0n]),
        ),
      ];
    case "goto":
      return jumpCases((off) => (row.field === "off" ? asm.goto(off) : asm.gotol(off)), [[0n, 0n]]);
    case "may_goto":
      return [simple(asm.movImm(0, 5), asm.mayGoto(1), asm.movImm(0, 6), asm.exit())];
    case "wide":
      return EDGES.map((value) =>
        simple(
          asm
            .wide64(0, value)
            .map((slot, i) =>
              i === 0 ? { ...slot, src: row.opcode === 0x18 ? (row.when.src ?? 0) : 0 } : slot,
            ),
          asm.exit(),
        ),
      );
    case "exit":
      return [simple(asm.movImm(0, 9), asm.exit(), asm.movImm(0, 8)), simple(asm.movImm(0, 9))];
    case "call":
      return callCases(row.target);
    case "packet":
      return packetCases(row);
    case "atomic":
      return [...memoryCases(row), ...atomicCases(row)];
    default:
      return memoryCases(row);
  }
}

/** The instruction with r10 as the register that it sets. */
function frameCases(row: OpcodeRow): EngineCase[] {
  return [
    { dst: 10, src: row.when.src ?? 6 },
    { dst: 6, src: 10 },
  ]
    .map((fields) => insn(row.name, fields))
    .filter((slot) => writtenRegister(row, slot) === 10)
    .map((slot) => ({
      insns: program(
        asm.movReg(6, 1),
        row.kind === "wide" ? [slot, { opcode: 0, dst: 0, src: 0, off: 0, imm: 0 }] : slot,
        asm.movReg(0, 10),
        asm.exit(),
      ),
      context: new Uint8Array(8),
      fuel: 100,
    }));
}

function callCases(target: string): EngineCase[] {
  const args = [1, 2, 3, 4, 5].map((r) => asm.wide64(r, EDGES[r * 5]!)).flat();
  switch (target) {
    case "helper":
      return [simple(args, asm.call(1), asm.exit()), simple(asm.call(2), asm.exit())];
    case "register":
      return [
        simple(args, asm.movImm(6, 1), asm.callRegister(6), asm.exit()),
        simple(asm.movImm(6, -1), asm.callRegister(6), asm.exit()),
      ];
    case "local":
      return [
        simple(args, asm.callLocal(1), asm.exit(), asm.movReg(0, 3), asm.movImm(6, 7), asm.exit()),
        simple(asm.callLocal(-1), asm.exit()),
        simple(asm.callLocal(100), asm.exit()),
      ];
    default:
      return [simple(asm.callKfunc(3), asm.exit())];
  }
}

/** Every offset near the ends of the context and of the stack frame, in and out of bounds, aligned and not. */
function memoryCases(row: OpcodeRow): EngineCase[] {
  const context = Uint8Array.from({ length: 64 }, (_, index) => 0xff ^ (index * 37));
  const cases: EngineCase[] = [];
  const offsets = [
    -9, -8, -7, -4, -1, 0, 1, 2, 3, 4, 7, 8, 12, 48, 55, 56, 57, 60, 61, 62, 63, 64, 0x7fff, -0x8000,
  ];
  for (const off of offsets) {
    for (const value of [0n, 0x7fff_ffff_ffffn, 0xffff_ffff_0000_0001n, 0xfedc_ba98_7654_3210n]) {
      cases.push({ insns: memoryProgram(row, 6, off, value), context, fuel: 1000 });
    }
    cases.push({ insns: memoryProgram(row, 10, off - 8, 0x8000_0000_0000_0001n), context, fuel: 1000 });
  }
  // Pointers without the memory's high word, and NULL.
  for (const pointer of [0n, 0x1_0000n, 0xffff_ffff_0001_0000n]) {
    cases.push({ insns: [...asm.wide64(1, pointer), ...memoryProgram(row, 6, 8, 1n)], context, fuel: 1000 });
  }
  return cases;
}

/** r6 is the context; r7 a value, r0 what cmpxchg compares; the result mixes all that the instruction may have changed. */
function memoryProgram(row: OpcodeRow, base: number, off: number, value: bigint): Insn[] {
  const isLoad = row.kind === "load" || row.kind === "load_acquire";
  const fields = isLoad ? { dst: 7, src: base, off } : { dst: base, src: 7, off };
  const isImmediate = row.kind === "store" && row.source === "imm";
  return program(
    asm.movReg(6, 1),
    asm.storeImm(8, 10, -8, -5),
    asm.storeImm(8, 10, -16, 77),
    asm.wide64(7, value),
    asm.load(4, 0, 6, 8),
    isImmediate
      ? insn(row.name, { dst: base, off, imm: Number(BigInt.asIntN(32, value)) })
      : insn(row.name, fields),
    asm.aluImm("lsh", 0, 1),
    asm.aluReg("xor", 0, 7),
    asm.load(8, 1, 10, -8),
    asm.aluReg("add", 0, 1),
    asm.load(8, 1, 10, -16),
    asm.aluReg("add", 0, 1),
    asm.exit(),
  );
}

function packetCases(row: OpcodeRow & { readonly kind: "packet" }): EngineCase[] {
  const packet = Uint8Array.from({ length: 20 }, (_, index) => 200 + index * 3);
  const cases: EngineCase[] = [];
  for (const at of [-1, 0, 1, 3, 16, 17, 18, 19, 20, 1000, -0x8000_0000]) {
    for (const index of row.mode === "ind" ? [0, 1, -1, 5] : [0]) {
      const insns = program(
        asm.movReg(6, 1),
        asm.movImm(7, index),
        insn(row.name, row.mode === "ind" ? { src: 7, imm: at } : { imm: at }),
        asm.aluImm("add", 0, 1),
        asm.exit(),
      );
      cases.push({ insns, context: NO_BYTES, fuel: 100, packet }, { insns, context: NO_BYTES, fuel: 100 });
    }
  }
  return cases;
}

/** Depth of calls, callee-saved registers, frames, fuel, and jumps to where no instruction is. */
const PROGRAMS: readonly { readonly name: string; readonly test: EngineCase }[] = [
  { name: "a loop sums the context", test: sumLoop() },
  {
    name: "a callee has its own frame, r6 to r9 come back",
    test: simple(
      asm.movImm(6, 6),
      asm.storeImm(8, 10, -8, 11),
      asm.callLocal(3),
      asm.aluReg("add", 0, 6),
      asm.load(8, 1, 10, -8),
      asm.exit(),
      asm.movImm(6, 60),
      asm.storeImm(8, 10, -8, 22),
      asm.load(8, 0, 10, -8),
      asm.exit(),
    ),
  },
  { name: "a callee may use its caller's stack", test: callerStack() },
  {
    name: "recursion faults at the ninth frame",
    test: simple(asm.movImm(0, 0), asm.callLocal(-2), asm.exit()),
  },
  { name: "an endless loop runs out of fuel", test: simple(asm.goto(-1), asm.exit()) },
  {
    name: "may_goto lets a loop turn until the fuel ends",
    test: simple(asm.mayGoto(1), asm.goto(-2), asm.exit()),
  },
  { name: "a jump into a wide load faults", test: simple(asm.goto(1), asm.wide(0, 5, 6), asm.exit()) },
  {
    name: "a wide load without its second slot faults",
    test: simple({ opcode: 0x18, dst: 0, src: 0, off: 0, imm: 1 }, asm.exit()),
  },
  {
    name: "what stands in the place of a second slot runs where it is jumped to",
    test: simple(
      asm.movImm(0, 1),
      asm.goto(1),
      { opcode: 0x18, dst: 0, src: 0, off: 0, imm: 1 },
      asm.movImm(0, 7),
      asm.exit(),
    ),
  },
  { name: "a jump before the program faults", test: simple(asm.goto(-9), asm.exit()) },
  { name: "running off the end faults", test: simple(asm.movImm(0, 1)) },
  {
    name: "an opcode that no instruction has faults",
    test: simple({ opcode: 0xff, dst: 0, src: 0, off: 0, imm: 0 }),
  },
  { name: "register 11 faults", test: simple({ opcode: 0xbf, dst: 0, src: 11, off: 0, imm: 0 }, asm.exit()) },
  {
    name: "a function's address is its slot",
    test: simple(asm.functionAddress(0, 2), asm.exit(), asm.exit()),
  },
];

function sumLoop(): EngineCase {
  const insns = program(
    asm.movImm(0, 0),
    asm.jumpImm("jeq", 2, 0, 5),
    asm.load(1, 3, 1, 0),
    asm.aluReg("add", 0, 3),
    asm.aluImm("add", 1, 1),
    asm.aluImm("sub", 2, 1),
    asm.goto(-6),
    asm.exit(),
  );
  return { insns, context: Uint8Array.from({ length: 100 }, (_, index) => index * 7), fuel: 1000 };
}

function callerStack(): EngineCase {
  return simple(
    asm.storeImm(8, 10, -8, 5),
    asm.movReg(1, 10),
    asm.callLocal(2),
    asm.load(8, 0, 10, -8),
    asm.exit(),
    asm.storeImm(8, 1, -8, 99),
    asm.exit(),
  );
}

/** The context and the stack of a case, as the reference machine sees them. */
class CaseMemory implements ReferenceMemory {
  readonly context: Uint8Array;
  private readonly stack = new Uint8Array(CASE_LAYOUT.stackBytes);

  constructor(context: Uint8Array) {
    this.context = context.slice();
  }

  load(address: bigint, size: AccessBytes, frames: number): bigint | undefined {
    const place = this.find(address, size, frames);
    if (place === undefined) return undefined;
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(place.bytes[place.at + i]!);
    return value;
  }

  store(address: bigint, size: AccessBytes, value: bigint, frames: number): boolean {
    const place = this.find(address, size, frames);
    if (place === undefined) return false;
    for (let i = 0; i < size; i++) place.bytes[place.at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
    return true;
  }

  /** In the context, or in the frames in use. */
  private find(address: bigint, size: number, frames: number): { bytes: Uint8Array; at: number } | undefined {
    if (address >> 32n !== BigInt(CASE_LAYOUT.baseHigh)) return undefined;
    const low = Number(address & 0xffff_ffffn);
    const { contextAddr, stackTop, stackBytes } = CASE_LAYOUT;
    if (low >= contextAddr && low + size <= contextAddr + this.context.length) {
      return { bytes: this.context, at: low - contextAddr };
    }
    const isInFrames = low >= stackTop - FRAME_BYTES * frames && low + size <= stackTop;
    return isInFrames ? { bytes: this.stack, at: low - (stackTop - stackBytes) } : undefined;
  }
}
