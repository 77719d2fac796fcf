/** Helpers that are WebAssembly against the same in JavaScript under the interpreter: results and all of memory must be equal. */
import { LinearMemory } from "@alien-ts/abi";
import { asm, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { Prng } from "@alien-ts/testkit";
import { describe, expect, test } from "vitest";
import { BpfMachine } from "../machine.ts";
import { prepare } from "../program.ts";
import type { Helper } from "../program.ts";
import { RUN, runOptions } from "../run.ts";
import { testHost } from "../test-host.ts";
import { RING_LAYOUT, TestArray, TestHash, TestRing } from "../test-maps.ts";
import type { TestMap } from "../test-maps.ts";
import { Jit } from "./jit.ts";
import { RING_RECORD } from "./options.ts";
import type { CompileOptions, FastHelper, MapShape } from "./options.ts";

const SEED = 20_261_121;
const SCRATCH = 0x1_0000;
const STACK_TOP = 0x1_2000;
const CONTEXT = 0x1_3000;
const MAP = 0x1_4000;
const MEMORY_BYTES = 0x3_0000;
const BASE_HIGH = 0xffff_ffd6;

interface World {
  readonly machine: BpfMachine;
  readonly memory: LinearMemory;
  readonly jit: Jit | undefined;
  /** Calls of JavaScript helpers. */
  calls: number;
  /** How the run of a program ends, with its result. */
  run(insns: readonly Insn[], turns?: number): string;
}

interface Contents {
  readonly helpers: readonly (Helper | undefined)[];
  readonly fast: (id: number) => FastHelper | undefined;
  readonly shape?: MapShape;
}

/** The same contents twice: interpreted, with helpers in JavaScript; compiled, with those in WebAssembly. */
function worlds<T>(make: (memory: LinearMemory) => Contents & T): { worlds: World[]; contents: T[] } {
  const made = [false, true].map((isCompiled) => {
    const host = testHost();
    const memory = host.newMemory(MEMORY_BYTES / 0x1_0000);
    const linear = new LinearMemory(memory.buffer);
    const contents = make(linear);
    const jit = isCompiled ? new Jit({ wasm: host.wasm, memory, linear, scratch: SCRATCH }) : undefined;
    return { contents, world: makeWorld(linear, jit, contents) };
  });
  return { worlds: made.map(({ world }) => world), contents: made.map(({ contents }) => contents) };
}

function makeWorld(memory: LinearMemory, jit: Jit | undefined, { helpers, fast, shape }: Contents): World {
  const machine = new BpfMachine(memory);
  const counted = helpers.map(
    (one) =>
      one &&
      ((caller: BpfMachine): void => {
        world.calls += 1;
        one(caller);
      }),
  );
  const options: CompileOptions = {
    checks: "none",
    hasFuel: true,
    helper: fast,
    mapAt: (address) => (address === MAP ? shape : undefined),
  };
  const run = (insns: readonly Insn[], turns?: number): string => {
    const prepared = prepare(insns, { helpers: counted });
    if (jit !== undefined) expect(jit.compile(prepared, options)).toBe(true);
    const limits = turns === undefined ? {} : { turns };
    const status = machine.run(
      prepared,
      CONTEXT,
      runOptions({ stackTop: STACK_TOP, isChecked: false, fuel: 0x7fff_ffff, ...limits }),
    );
    jit?.release(prepared);
    return status === RUN.done ? `${machine.r0High}:${machine.r0Low}` : `status ${status}`;
  };
  const world: World = { machine, memory, jit, calls: 0, run };
  return world;
}

/** Everything but the mailbox. */
const bytesOf = ({ memory }: World): Uint8Array => memory.u8.slice(STACK_TOP - 4096);

/** Runs the program in both worlds; its result, with which no fault is meant. */
function expectEqual([interpreted, compiled]: World[], insns: readonly Insn[], turns?: number): string {
  const result = interpreted!.run(insns, turns);
  expect(result).not.toBe(`status ${RUN.fault}`);
  expect(compiled!.run(insns, turns)).toBe(result);
  const [wanted, found] = [bytesOf(interpreted!), bytesOf(compiled!)];
  const at = wanted.findIndex((byte, i) => byte !== found[i]);
  expect(at < 0 ? "equal" : `byte ${(STACK_TOP - 4096 + at).toString(16)} differs`).toBe("equal");
  return result;
}

const u64 = (machine: BpfMachine, n: number): bigint =>
  (BigInt(machine.argHigh(n) >>> 0) << 32n) | BigInt(machine.argLow(n) >>> 0);

const LOOKUP = 1;
const UPDATE = 2;
const DELETE = 3;

function mapContents(map: TestMap, shape: MapShape): Contents {
  const kinds = ["map_lookup", "map_update", "map_delete"] as const;
  return {
    helpers: [
      undefined,
      (machine) => machine.setR0Pointer(map.lookup(machine.argPointer(2))),
      (machine) =>
        machine.setR0Signed(map.update(machine.argPointer(2), machine.argPointer(3), u64(machine, 4))),
      (machine) => machine.setR0Signed(map.delete(machine.argPointer(2))),
    ],
    fast: (id) => ({ kind: kinds[id - 1]! }),
    shape,
  };
}

/** One operation with a key of few, so that it is met again; its result goes on in r7. */
function mapOperation(random: Prng, keyBytes: number, valueBytes: number): Insn[] {
  const insns: (Insn | readonly Insn[])[] = [];
  for (let at = 0; at < keyBytes; at += 4) {
    insns.push(asm.storeImm(4, 10, -64 + at, at === 0 ? random.below(24) : 7));
  }
  for (let at = 0; at < valueBytes; at += 8) insns.push(asm.storeImm(8, 10, -256 + at, random.i32()));
  insns.push(asm.movReg(2, 10), asm.aluImm("add", 2, -64), asm.wide(1, MAP, BASE_HIGH));
  insns.push(asm.movReg(3, 10), asm.aluImm("add", 3, -256));
  insns.push(...asm.wide64(4, random.oneIn(10) ? random.u64() : BigInt(random.below(4))));
  insns.push(asm.call(random.pick([LOOKUP, UPDATE, UPDATE, UPDATE, DELETE])));
  insns.push(asm.aluImm("mul", 7, 31), asm.aluReg("add", 7, 0));
  return program(...insns);
}

function mapProgram(random: Prng, keyBytes: number, valueBytes: number): Insn[] {
  const operations = Array.from({ length: 12 }, () => mapOperation(random, keyBytes, valueBytes));
  return program(asm.movImm(7, 0), operations.flat(), asm.movReg(0, 7), asm.exit());
}

describe.each([
  ["of 4 and 8 bytes, preallocated", 4, 8, true],
  ["of 8 and 1 bytes, preallocated", 8, 1, true],
  ["of 64 and 100 bytes, preallocated", 64, 100, true],
  ["of 8 and 15 bytes, made as needed", 8, 15, false],
  ["of 12 and 24 bytes, made as needed", 12, 24, false],
] as const)("a hash map with keys and values %s", (_, keyBytes, valueBytes, isPreallocated) => {
  test(`is written as in JavaScript (seed ${SEED})`, () => {
    const random = new Prng(SEED);
    const { worlds: both } = worlds((memory) => {
      const map = new TestHash(memory, MAP, { keyBytes, valueBytes, maxEntries: 16, isPreallocated });
      return mapContents(map, map.shape);
    });
    for (let i = 0; i < 40; i++) expectEqual(both, mapProgram(random, keyBytes, valueBytes));
    expect(both[0]!.calls).toBe(480);
    // Only elements that are made as they are needed are made in JavaScript.
    expect(both[1]!.calls).toBeLessThanOrEqual(isPreallocated ? 0 : 17);
  });
});

test.each([1, 4, 8, 24, 63, 100])(
  `an array of values of %i bytes is written as in JavaScript (seed ${SEED})`,
  (valueBytes) => {
    const random = new Prng(SEED);
    const { worlds: both } = worlds((memory) => {
      const map = new TestArray(memory, MAP, valueBytes, 20);
      return mapContents(map, map.shape);
    });
    for (let i = 0; i < 20; i++) expectEqual(both, mapProgram(random, 4, valueBytes));
    expect(both[1]!.calls).toBe(0);
  },
);

test("a map without a shape for writing is written by the helper's other form, and by the machine", () => {
  const calls: string[] = [];
  const typed = {
    kind: "typed",
    params: ["u32", "u32"],
    result: "s32",
    call: () => {
      calls.push("typed");
      return -1;
    },
  } as const;
  const { worlds: both } = worlds((memory) => {
    const { shape } = new TestArray(memory, MAP, 8, 4);
    const { valueBytes: _, ...readOnly } = shape;
    return {
      helpers: [
        undefined,
        undefined,
        (machine) => machine.setR0Signed(-1),
        (machine) => machine.setR0Signed(-22),
      ],
      fast: (id) => (id === UPDATE ? { kind: "map_update", otherwise: typed } : { kind: "map_delete" }),
      shape: readOnly,
    };
  });
  expectEqual(both, program(asm.wide(1, MAP, BASE_HIGH), asm.call(UPDATE), asm.exit()));
  expect(calls).toEqual(["typed"]);
  expectEqual(both, program(asm.wide(1, MAP + 8, BASE_HIGH), asm.call(DELETE), asm.exit()));
});

const RESERVE = 1;
const SUBMIT = 2;
const DISCARD = 3;

function ringContents(memory: LinearMemory): Contents & { readonly ring: TestRing } {
  const ring = new TestRing(memory, MAP, 4096);
  return {
    ring,
    helpers: [
      undefined,
      (machine) => machine.setR0Pointer(ring.reserve(u64(machine, 2), u64(machine, 3))),
      (machine) => {
        ring.commit(machine.argPointer(1), machine.argLow(2), 0);
        machine.setR0(0, 0);
      },
      (machine) => {
        ring.commit(machine.argPointer(1), machine.argLow(2), RING_RECORD.discarded);
        machine.setR0(0, 0);
      },
    ],
    fast: (id) =>
      id === RESERVE
        ? { kind: "ring_reserve" }
        : { kind: id === SUBMIT ? "ring_submit" : "ring_discard", layout: RING_LAYOUT },
    shape: ring.shape,
  };
}

/** A word of the context is a record or 0: the record is committed, or one is reserved. */
function ringOperation(random: Prng): Insn[] {
  const slot = 8 * random.below(4);
  const size = random.oneIn(12)
    ? random.u64()
    : BigInt(random.oneIn(8) ? random.below(4200) : random.below(300) + 8);
  const commit = program(
    asm.wide64(2, BigInt(random.pick([0, 0, 0, 1, 2, 3]))),
    asm.call(random.pick([SUBMIT, SUBMIT, DISCARD])),
    asm.storeImm(8, 6, slot, 0),
  );
  const reserve = program(
    asm.wide64(2, size),
    asm.movImm(3, random.oneIn(20) ? 1 : 0),
    asm.wide(1, MAP, BASE_HIGH),
    asm.call(RESERVE),
    asm.storeReg(8, 6, slot, 0),
    asm.aluReg("add", 7, 0),
    asm.jumpImm("jeq", 0, 0, 1),
    asm.storeImm(4, 0, 0, random.i32()),
  );
  return program(
    asm.load(8, 1, 6, slot),
    asm.jumpImm("jeq", 1, 0, commit.length + 1),
    commit,
    asm.goto(reserve.length),
    reserve,
  );
}

test(`a ring buffer is written as in JavaScript (seed ${SEED})`, () => {
  const random = new Prng(SEED);
  const { worlds: both, contents } = worlds(ringContents);
  let consumed = 0;
  for (let i = 0; i < 300; i++) {
    const operations = Array.from({ length: 8 }, () => ringOperation(random)).flat();
    const end = [asm.movReg(0, 7), asm.exit()];
    expectEqual(both, program(asm.movReg(6, 1), asm.movImm(7, 0), operations, end));
    if (random.oneIn(3)) continue;
    const [wanted, found] = contents.map(({ ring }) => ring.consume());
    expect(found).toEqual(wanted);
    consumed += wanted!.filter((size) => size > 0).length;
  }
  expect(consumed).toBeGreaterThan(300);
  expect(both[1]!.calls).toBeLessThan(both[0]!.calls / 2);
});

const LOOP = 1;

/** As bpf_loop, with its limit and the callback's wish to stop. */
const boundedLoop: Helper = (machine) => {
  const [count, slot] = [machine.argLow(1) >>> 0, machine.argLow(2)];
  const [low, high] = [machine.argLow(3), machine.argHigh(3)];
  if (u64(machine, 4) !== 0n) return machine.setR0Signed(-22);
  if (count > 8 << 20) return machine.setR0Signed(-7);
  let done = 0;
  while (done < count) {
    machine.setArg(1, done, 0);
    machine.setArg(2, low, high);
    if (!machine.callFunction(slot)) return;
    done += 1;
    if ((machine.argLow(0) | machine.argHigh(0)) !== 0) break;
  }
  machine.setR0(done, 0);
};

/** A loop around a callback that adds what it gets to a word, uses its own frame and r6, and stops at turn `last`. */
function loopProgram(count: number, flags: number, last: number, inner: readonly Insn[] = []): Insn[] {
  const callback = program(
    asm.movReg(6, 1),
    asm.movReg(7, 2),
    asm.storeReg(8, 10, -8, 1),
    asm.load(8, 3, 7, 0),
    asm.aluImm("mul", 3, 3),
    asm.aluReg("add", 3, 6),
    asm.storeReg(8, 7, 0, 3),
    inner,
    asm.movImm(0, 0),
    asm.jumpImm("jne", 6, last, 2),
    asm.wide64(0, 1n << 40n),
    asm.exit(),
  );
  const main = program(
    asm.movReg(6, 1),
    asm.storeReg(8, 10, -8, 6),
    asm.movImm(1, count),
    asm.functionAddress(2, 7),
    asm.movReg(3, 6),
    asm.movImm(4, flags),
    asm.call(LOOP),
    asm.load(8, 1, 10, -8),
    asm.aluReg("xor", 0, 1),
    asm.exit(),
  );
  return [...main, ...callback];
}

function loopWorlds(): World[] {
  return worlds(() => ({ helpers: [undefined, boundedLoop], fast: () => ({ kind: "loop" }) })).worlds;
}

test.each([
  ["no turns", 0, 0, -1],
  ["a few turns", 7, 0, -1],
  ["a callback that stops", 9, 0, 3],
  ["a callback that stops at once", 9, 0, 0],
  ["unknown flags", 5, 1, -1],
  ["more turns than are allowed", (8 << 20) + 1, 0, -1],
] as const)("bpf_loop with %s is as in JavaScript", (_, count, flags, last) => {
  const both = loopWorlds();
  expectEqual(both, loopProgram(count, flags, last));
  expect(both.map(({ calls }) => calls)).toEqual([1, 0]);
});

test("bpf_loop in the callback of a bpf_loop is as in JavaScript", () => {
  // The inner callback stands behind the outer one.
  const inner = program(
    asm.movImm(1, 3),
    asm.functionAddress(2, 10),
    asm.movReg(3, 7),
    asm.movImm(4, 0),
    asm.call(LOOP),
    asm.aluReg("add", 6, 0),
  );
  const second = program(
    asm.load(8, 3, 2, 0),
    asm.aluReg("xor", 3, 1),
    asm.storeReg(8, 2, 0, 3),
    asm.movImm(0, 0),
    asm.exit(),
  );
  const both = loopWorlds();
  expectEqual(both, [...loopProgram(20, 0, -1, inner), ...second]);
  expect(both.map(({ calls }) => calls)).toEqual([21, 0]);
});

test("a run ends where it has made as many callbacks as it may", () => {
  const both = loopWorlds();
  expect(expectEqual(both, loopProgram(50, 0, -1), 49)).toBe(`status ${RUN.outOfFuel}`);
  expect(expectEqual(both, loopProgram(50, 0, -1), 50)).not.toContain("status");
});

test("a program that needs no state tail-calls one that does", () => {
  const { worlds: both } = worlds(() => ({
    helpers: [undefined, boundedLoop],
    fast: () => ({ kind: "loop" }) as const,
  }));
  const results = both.map(({ machine, jit }) => {
    const options = { checks: "none", hasFuel: false, helper: () => ({ kind: "loop" }) as const } as const;
    const other = prepare(loopProgram(7, 0, -1), { helpers: [undefined, boundedLoop] });
    const first = prepare(program(asm.call(1), asm.exit()), {
      helpers: [undefined, (caller) => void caller.tailCall(other)],
    });
    jit?.compile(other, options);
    jit?.compile(first, { checks: "none", hasFuel: false });
    const run = runOptions({ stackTop: STACK_TOP, isChecked: false, turns: 7 });
    return [machine.run(first, CONTEXT, run), machine.r0Low];
  });
  expect(results[1]).toEqual(results[0]);
});
