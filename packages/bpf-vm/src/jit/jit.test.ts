import { LinearMemory } from "@alien-ts/abi";
import { asm, assemble, AssembleError, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { Prng } from "@alien-ts/testkit";
import { describe, expect, test } from "vitest";
import { BpfMachine } from "../machine.ts";
import { prepare } from "../program.ts";
import type { BpfProgram, Helper } from "../program.ts";
import { describeFault, RUN, runOptions } from "../run.ts";
import { LOOP_PROGRAM, loopHelper } from "../test-callback.ts";
import { testHost } from "../test-host.ts";
import { Jit } from "./jit.ts";
import type { CompileOptions, HashShape, TypedHelper } from "./options.ts";

const SEED = 1963;
const CONTEXT = 0x1_0000;
const MAP = 0x1_8000;
const STACK_TOP = 0x2_2000;
const INNER_STACK_TOP = 0x2_8000;
const SCRATCH = 0x2_9000;
const BASE_HIGH = 0xffff_ffd6;

const CHECKED: CompileOptions = { checks: "all", hasFuel: true };
const TRUSTED: CompileOptions = { checks: "none", hasFuel: false };

interface Bench {
  readonly jit: Jit;
  readonly machine: BpfMachine;
  readonly memory: LinearMemory;
}

function bench(withoutTailCalls = false): Bench {
  const host = testHost();
  const memory = host.newMemory(3);
  const linear = new LinearMemory(memory.buffer);
  const jit = new Jit({ wasm: host.wasm, memory, linear, scratch: SCRATCH, withoutTailCalls });
  return { jit, machine: new BpfMachine(linear), memory: linear };
}

type Parts = readonly (Insn | readonly Insn[])[];

function load(
  jit: Jit,
  parts: Parts,
  helpers: readonly (Helper | undefined)[],
  options: CompileOptions,
): BpfProgram {
  const prepared = prepare(program(...parts), { helpers });
  expect(jit.compile(prepared, options)).toBe(true);
  return prepared;
}

function run({ machine }: Bench, prepared: BpfProgram, fuel = 10_000) {
  const options = runOptions({ stackTop: STACK_TOP, contextBytes: 64, contextIsWritable: true, fuel });
  const status = machine.run(prepared, CONTEXT, options);
  return { status, r0: machine.r0Low, high: machine.r0High, fault: describeFault(machine.fault) };
}

function text(source: string): Insn[] {
  const insns = assemble(source);
  if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}`);
  return insns;
}

describe.each([
  ["checked", CHECKED],
  ["trusted", TRUSTED],
] as const)("helpers of a %s program", (_, options) => {
  test("a helper reads its arguments, sets r0, and is told apart from others", () => {
    const at = bench();
    const helpers: Helper[] = [
      (machine) => machine.setR0Signed(machine.argLow(1) * 2),
      (machine) => machine.setR0(machine.argLow(5), machine.argHigh(5)),
    ];
    const parts = [
      asm.movImm(1, -21),
      asm.call(0),
      asm.movReg(5, 0),
      asm.movImm(0, 0),
      asm.call(1),
      asm.exit(),
    ];
    expect(run(at, load(at.jit, parts, helpers, options))).toMatchObject({
      status: RUN.done,
      r0: -42,
      high: -1,
    });
  });

  test("a helper calls back into the program, frame by frame", () => {
    const at = bench();
    expect(run(at, load(at.jit, [LOOP_PROGRAM], [undefined, loopHelper], options))).toMatchObject({
      status: RUN.done,
      r0: 1010,
    });
  });

  test("what a helper throws passes through, and the machine runs on", () => {
    const at = bench();
    const bad: Helper = () => {
      throw new Error("a bug");
    };
    const prepared = load(at.jit, [asm.call(0), asm.exit()], [bad], options);
    expect(() => run(at, prepared)).toThrow("a bug");
    const good = load(at.jit, [asm.movImm(0, 3), asm.exit()], [], options);
    expect(run(at, good)).toMatchObject({ status: RUN.done, r0: 3 });
  });

  test("a run inside a helper leaves the outer run as it was, even of the same program", () => {
    const at = bench();
    let turns = 0;
    let self: BpfProgram | undefined;
    const again: Helper = (machine) => {
      turns += 1;
      if (turns > 3) return machine.setR0(7, 0);
      const stackTop = INNER_STACK_TOP - turns * 4096 + 4096;
      const status = machine.run(self!, CONTEXT, runOptions({ stackTop }));
      machine.setR0(status === RUN.done ? machine.r0Low : -1, 0);
    };
    const parts = [
      asm.movImm(6, 100),
      asm.storeImm(8, 10, -8, 1000),
      asm.call(0),
      asm.aluReg("add", 0, 6),
      asm.load(8, 1, 10, -8),
      asm.aluReg("add", 0, 1),
      asm.exit(),
    ];
    self = load(at.jit, parts, [again], options);
    expect(run(at, self)).toMatchObject({ status: RUN.done, r0: 4 * 1100 + 7 });
  });
});

describe("faults", () => {
  test("a helper's access outside the regions ends the run", () => {
    const at = bench();
    const write: Helper = (machine) => {
      const address = machine.argMemory(1, 8, true);
      if (address !== 0) machine.setR0(1, 0);
    };
    const store = (offset: number): Parts => [
      asm.movReg(1, 10),
      asm.aluImm("add", 1, offset),
      asm.call(0),
      asm.exit(),
    ];
    expect(run(at, load(at.jit, store(-8), [write], CHECKED))).toMatchObject({ status: RUN.done, r0: 1 });
    expect(run(at, load(at.jit, store(-7), [write], CHECKED))).toMatchObject({
      status: RUN.fault,
      fault: "invalid write of 8 bytes at 0xffffffd600021ff9, insn 2",
    });
  });

  test("a region can be read until it is removed", () => {
    const at = bench();
    const prepared = load(at.jit, [asm.wide(2, MAP, -42), asm.load(8, 0, 2, 56), asm.exit()], [], CHECKED);
    at.machine.regions.add(MAP, 64, true);
    at.memory.u8[MAP + 56] = 77;
    expect(run(at, prepared)).toMatchObject({ status: RUN.done, r0: 77 });
    at.machine.regions.remove(MAP);
    expect(run(at, prepared)).toMatchObject({
      status: RUN.fault,
      fault: "invalid read of 8 bytes at 0xffffffd600018038, insn 2",
    });
  });

  test("a fault in a function that a helper called ends the run", () => {
    const at = bench();
    const callback: Helper = (machine) => void machine.callFunction(4);
    const parts = [asm.functionAddress(2, 3), asm.call(0), asm.exit(), asm.load(8, 0, 9, 0), asm.exit()];
    expect(run(at, load(at.jit, parts, [callback], CHECKED))).toMatchObject({ status: RUN.fault });
    const first = [asm.functionAddress(2, 3), asm.call(0), asm.exit(), asm.movImm(0, 1), asm.exit()];
    expect(run(at, load(at.jit, first, [callback], CHECKED))).toMatchObject({ status: RUN.done });
  });

  test("an access outside the memory faults in a trusted program too", () => {
    const at = bench();
    const parts = [asm.wide(2, 0x7fff_0000, -42), asm.load(8, 0, 2), asm.exit()];
    expect(run(at, load(at.jit, parts, [], TRUSTED))).toMatchObject({
      status: RUN.fault,
      fault: "invalid access outside the memory",
    });
  });

  test.each([[false], [true]])("an untrusted load outside the memory reads 0; compiled: %s", (isCompiled) => {
    const at = bench();
    at.memory.u8.fill(0x9a, MAP, MAP + 8);
    const read = (opcode: number, low: number, high: number): BpfProgram => {
      const insns = program(asm.wide(2, low, high), { ...asm.load(8, 0, 2, 8), opcode }, asm.exit());
      const prepared = prepare(insns, { isUntrusted: (slot) => slot === 2 });
      if (isCompiled) expect(at.jit.compile(prepared, TRUSTED)).toBe(true);
      return prepared;
    };
    const results = (opcode: number): (number | bigint)[][] =>
      [
        [MAP - 8, BASE_HIGH],
        [MAP - 8, 0],
        [-8, -1],
        [0x2_fff0, BASE_HIGH],
        [0x2_fff8, BASE_HIGH],
        [-4, BASE_HIGH - 1],
        [0x7fff_fff0, -1],
      ].map(([low, high]) => {
        const { status, r0, high: highWord } = run(at, read(opcode, low!, high!));
        return [status, r0, highWord];
      });
    const zero = [RUN.done, 0, 0];
    const word = 0x9a9a_9a9a | 0;
    const expected = (low: number, high: number): number[][] => [
      [RUN.done, low, high],
      zero,
      zero,
      zero,
      zero,
      zero,
      zero,
    ];
    expect(results(0x79)).toEqual(expected(word, word));
    expect(results(0x61).slice(0, 3)).toEqual(expected(word, 0).slice(0, 3));
    expect(results(0x69)[0]).toEqual([RUN.done, 0x9a9a, 0]);
    expect(results(0x71)[0]).toEqual([RUN.done, 0x9a, 0]);
    expect(results(0x81)[0]).toEqual([RUN.done, word, -1]);
    expect(results(0x89)[0]).toEqual([RUN.done, 0xffff_9a9a | 0, -1]);
    expect(results(0x91)[0]).toEqual([RUN.done, 0xffff_ff9a | 0, -1]);
  });

  test("endless loops and recursion end", () => {
    const at = bench();
    for (const parts of [
      [asm.goto(-1)],
      [asm.movImm(1, 0), asm.jumpImm("jeq", 1, 0, -2), asm.exit()],
      text("r1 = 1\nif r2 == 7 goto b\na:\nr1 += 1\ngoto b\nb:\nr1 += 2\ngoto a\nexit"),
    ]) {
      expect(run(at, load(at.jit, parts, [], CHECKED), 100_000).status).toBe(RUN.outOfFuel);
      expect(at.machine.executed).toBe(100_000);
    }
    const recursion = load(at.jit, [asm.callLocal(-1), asm.exit()], [], CHECKED);
    expect(run(at, recursion)).toMatchObject({ status: RUN.fault, fault: "call depth at insn 0" });
  });
});

describe.each([
  ["with tail calls", false],
  ["without tail calls", true],
])("tail calls in an engine %s", (_, withoutTailCalls) => {
  const tailCaller =
    (target: () => BpfProgram): Helper =>
    (machine) => {
      if (!machine.tailCall(target())) machine.setR0Signed(-2);
    };

  test.each([true, false])("a tail call goes on in the other program (compiled: %s)", (isCompiled) => {
    const at = bench(withoutTailCalls);
    const other = prepare(program(asm.load(4, 0, 1, 0), asm.storeImm(8, 10, -8, 4), asm.exit()));
    if (isCompiled) at.jit.compile(other, CHECKED);
    at.memory.u8[CONTEXT] = 99;
    const parts = [asm.call(0), asm.movImm(0, 1), asm.exit()];
    expect(run(at, load(at.jit, parts, [tailCaller(() => other)], CHECKED))).toMatchObject({
      status: RUN.done,
      r0: 99,
    });
  });

  test("after 33 tail calls the next one fails and the program goes on", () => {
    const at = bench(withoutTailCalls);
    let turns = 0;
    let self: BpfProgram | undefined;
    const helpers: Helper[] = [
      (machine) => {
        turns += 1;
        tailCaller(() => self!)(machine);
      },
    ];
    self = load(at.jit, [asm.movReg(6, 1), asm.call(0), asm.exit()], helpers, CHECKED);
    expect(run(at, self)).toMatchObject({ status: RUN.done, r0: -2, high: -1 });
    expect(turns).toBe(34);
  });

  test("a tail call in a function replaces that function only", () => {
    const at = bench(withoutTailCalls);
    const other = load(at.jit, [asm.movImm(6, 5), asm.movImm(0, 30), asm.exit()], [], CHECKED);
    const parts = [
      asm.movReg(7, 1),
      asm.movImm(6, 12),
      asm.callLocal(2),
      asm.aluReg("add", 0, 6),
      asm.exit(),
      asm.call(0),
      asm.exit(),
    ];
    const prepared = load(at.jit, parts, [tailCaller(() => other)], CHECKED);
    for (let i = 0; i < 3; i++) expect(run(at, prepared)).toMatchObject({ status: RUN.done, r0: 42 });
  });
});

describe("fast helpers", () => {
  const typed = (
    params: TypedHelper["params"],
    result: TypedHelper["result"],
    call: TypedHelper["call"],
  ) => ({
    ...TRUSTED,
    helper: () => ({ kind: "typed", params, result, call }) as const,
  });
  const args = [asm.wide64(1, 0x1_0000_0002n), asm.wide64(2, 0xfedc_ba98_7654_3210n)];

  test.each([
    ["u32", typed(["u32"], "u32", (a) => a - 3), [-1, 0]],
    ["s32", typed(["u32"], "s32", (a) => a - 3), [-1, -1]],
    ["none", typed(["u32"], "none", () => undefined), [0, 0]],
    ["pointer", typed(["u32"], "pointer", () => MAP), [MAP, BASE_HIGH | 0]],
    ["NULL pointer", typed([], "pointer", () => 0), [0, 0]],
    [
      "u64 argument",
      typed(["u32", "u64"], "u32", (_, low, high) => low! ^ high!),
      [0x7654_3210 ^ 0xfedc_ba98, 0],
    ],
  ] as const)("a typed helper with a %s", (_, options, [low, high]) => {
    const at = bench();
    const prepared = load(at.jit, [...args, asm.call(0), asm.exit()], [() => undefined], options);
    expect(run(at, prepared)).toMatchObject({ status: RUN.done, r0: low, high });
  });

  test("a typed helper gives a u64 in two words", () => {
    const at = bench();
    const options = typed(["u64"], "u64", (low, high) => {
      at.memory.i32[at.jit.resultHigh >> 2] = high! + 1;
      return low! + 1;
    });
    const prepared = load(at.jit, [...args, asm.call(0), asm.exit()], [() => undefined], options);
    expect(run(at, prepared)).toMatchObject({ r0: 3, high: 2 });
  });

  test("a u64 in memory is read where it stands", () => {
    const at = bench();
    at.memory.i32.set([0x1234, 0x5678], MAP >> 2);
    const options: CompileOptions = { ...TRUSTED, helper: () => ({ kind: "load_u64", address: MAP }) };
    const prepared = load(at.jit, [asm.call(0), asm.exit()], [() => undefined], options);
    expect(run(at, prepared)).toMatchObject({ r0: 0x1234, high: 0x5678 });
  });

  test("probe_read copies, or clears the destination and says EFAULT", () => {
    const at = bench();
    const options: CompileOptions = { ...TRUSTED, helper: () => ({ kind: "probe_read" }) };
    const read = (source: readonly Insn[], size = 8) => {
      const parts = [
        asm.movReg(1, 10),
        asm.aluImm("add", 1, -16),
        asm.storeImm(8, 10, -16, -1),
        asm.movImm(2, size),
        source,
        asm.call(0),
        asm.load(8, 1, 10, -16),
        asm.aluImm("lsh", 1, 8),
        asm.aluReg("add", 0, 1),
        asm.exit(),
      ];
      return run(at, load(at.jit, parts, [() => undefined], options));
    };
    at.memory.u8.fill(0, MAP, MAP + 8);
    at.memory.u8[MAP] = 5;
    expect(read(asm.wide(3, MAP, BASE_HIGH))).toMatchObject({ r0: 5 << 8 });
    for (const bad of [
      asm.wide(3, 0),
      asm.wide(3, MAP, 0),
      asm.wide(3, 0x2_fff9, BASE_HIGH),
      asm.wide(3, -1, -1),
    ]) {
      expect(read(bad)).toMatchObject({ r0: -14 });
    }
  });

  test("an array map is looked up up to its last element", () => {
    const at = bench();
    const shape = { kind: "array", values: MAP + 256, stride: 24, maxEntries: 5 } as const;
    const options: CompileOptions = {
      ...TRUSTED,
      helper: () => ({ kind: "map_lookup" }),
      mapAt: (address) => (address === MAP ? shape : undefined),
    };
    const look = (index: number) => {
      const key = [asm.storeImm(4, 10, -4, index), asm.movReg(2, 10), asm.aluImm("add", 2, -4)];
      const parts = [key, asm.wide(1, MAP, BASE_HIGH), asm.call(0), asm.exit()];
      return run(at, load(at.jit, parts, [() => undefined], options)).r0;
    };
    expect([0, 4, 5, -1].map(look)).toEqual([MAP + 256, MAP + 256 + 96, 0, 0]);
  });

  test.each([4, 8, 12, 64])(`a hash map with keys of %i bytes is looked up (seed ${SEED})`, (keyBytes) => {
    const at = bench();
    const map = new TestHashMap(at.memory, keyBytes);
    const options: CompileOptions = {
      ...TRUSTED,
      helper: () => ({ kind: "map_lookup" }),
      mapAt: () => map.shape,
    };
    const parts = [asm.movReg(2, 1), asm.wide(1, MAP, BASE_HIGH), asm.call(0), asm.exit()];
    const prepared = load(at.jit, parts, [() => undefined], options);
    const random = new Prng(SEED);
    const keys = Array.from({ length: 40 }, () => random.bytes(keyBytes));
    const values = keys.slice(0, 20).map((key) => map.insert(key));
    const found = keys.map((key) => {
      at.memory.u8.set(key, CONTEXT);
      return run(at, prepared).r0;
    });
    expect(found).toEqual([...values, ...Array.from({ length: 20 }, () => 0)]);
  });
});

test("programs deeper than any stack are compiled", () => {
  const at = bench();
  const parts = Array.from({ length: 20_000 }, (_, i) => [
    asm.jumpImm("jeq", 1, i, 1),
    asm.aluImm("add", 0, 1),
  ]);
  const prepared = load(at.jit, [asm.movImm(0, 0), parts.flat(), asm.exit()], [], TRUSTED);
  expect(run(at, prepared)).toMatchObject({ status: RUN.done, r0: 20_000 });
});

test("releasing a program gives it back to the interpreter", () => {
  const at = bench();
  const prepared = load(at.jit, [asm.movImm(0, 6), asm.exit()], [], TRUSTED);
  at.jit.release(prepared);
  expect(prepared.compiled).toBe(null);
  expect(run(at, prepared)).toMatchObject({ r0: 6 });
  expect(at.machine.executed).toBe(2);
});

/** A hash map with the layout of `HashShape`, written from MurmurHash3's description alone. */
class TestHashMap {
  readonly shape: HashShape;
  private readonly memory: LinearMemory;
  private free = MAP + 512;

  constructor(memory: LinearMemory, keyBytes: number) {
    this.memory = memory;
    this.shape = { kind: "hash", buckets: MAP, bucketCount: 8, seed: 0x1357, keyBytes, valueOffset: 64 };
  }

  insert(key: Uint8Array): number {
    const { i32, u8 } = this.memory;
    const hash = this.hash(key);
    const bucket = (MAP >> 2) + (hash & 7);
    const link = this.free;
    const data = link + 16;
    this.free += 16 + 72;
    u8.set(key, data);
    i32.set([i32[bucket]!, hash, data], link >> 2);
    i32[bucket] = link;
    return data + 64;
  }

  private hash(key: Uint8Array): number {
    const words = new Int32Array(key.slice().buffer);
    let h = 0x1357 ^ key.length;
    for (const word of words) {
      let k = Math.imul(word, 0xcc9e2d51);
      k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
      h ^= k;
      h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
    }
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return h ^ (h >>> 16);
  }
}
