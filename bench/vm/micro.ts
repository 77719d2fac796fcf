/** What loading a program costs, and the smallest pieces: a call through the dispatcher, helpers, lookups. */
import { spawnSync } from "node:child_process";
import { asm, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { type FastHelper, RUN, runOptions } from "@alien-ts/bpf-vm";
import { fastest, printTable } from "../measure.ts";
import { Engines, FUEL } from "./engines.ts";
import { makeImage, RING_LAYOUT, WORLD } from "./world.ts";

const LOAD_SIZES = [20, 100, 1000, 4000, 10_000] as const;
const LOADS = 40;

/** Instructions as compilers make them: arithmetic, memory, branches and a loop, `size` in all. */
function syntheticProgram(size: number, salt: number): Insn[] {
  const insns: Insn[] = program(asm.movImm(0, salt), asm.movReg(6, 1), asm.movImm(7, 3), asm.movImm(2, 5));
  const body = [
    asm.load(8, 3, 6, 8),
    asm.aluReg("add", 0, 3),
    asm.aluImm("xor", 0, salt),
    asm.jumpImm("jgt", 0, 100, 3),
    asm.storeReg(8, 10, -16, 0),
    asm.aluImm("rsh", 0, 3),
    asm.load(4, 2, 10, -16),
    asm.aluReg("add", 0, 2, 32),
    asm.aluImm("and", 2, 255),
    asm.storeReg(4, 6, 64, 2),
  ];
  while (insns.length + body.length + 3 <= size) insns.push(...body);
  while (insns.length < size - 3) insns.push(asm.aluImm("add", 0, 1));
  const back = -(insns.length - 3 + 2);
  if (back < -0x8000) throw new RangeError("the loop is too long");
  return program(insns, asm.aluImm("sub", 7, 1), asm.jumpImm("jne", 7, 0, back), asm.exit());
}

export async function benchLoads(): Promise<void> {
  const engines = new Engines();
  const options = runOptions({ stackTop: WORLD.stackTop, isChecked: false, fuel: 0x7fff_ffff });
  const load = (size: number, salt: number): number => {
    const insns = syntheticProgram(size, salt);
    const start = performance.now();
    const prepared = engines.prepare(insns);
    engines.compile(prepared, FUEL.without);
    const status = engines.machine.run(prepared, WORLD.context, options);
    const ms = performance.now() - start;
    if (status !== RUN.done) throw new Error("a synthetic program did not exit");
    engines.jit.release(prepared);
    return ms;
  };
  engines.linear.u8.set(makeImage(new Uint8Array(128)), WORLD.context);
  const rows = LOAD_SIZES.map((size) => {
    const first = load(size, 1);
    const times = Array.from({ length: LOADS }, (_, i) => load(size, i + 2)).sort((a, b) => a - b);
    return [String(size), first.toFixed(2), times[0]!.toFixed(2), times[LOADS / 2]!.toFixed(2)];
  });
  printTable("Loading: prepare, compile, first run; ms", ["instructions", "first", "least", "median"], rows);
}

const TURNS = 1000;

/** A loop of `TURNS` turns around `body`, which may use r1 to r5 and leaves r6, r7 alone. */
const loop = (...body: readonly (Insn | readonly Insn[])[]): Insn[] => {
  const inner = program(...body);
  return program(
    asm.movImm(6, TURNS),
    asm.movImm(7, 0),
    asm.movImm(0, 0),
    inner,
    asm.aluReg("add", 7, 0),
    asm.aluImm("sub", 6, 1),
    asm.jumpImm("jne", 6, 0, -(inner.length + 3)),
    asm.movReg(0, 7),
    asm.exit(),
  );
};

const HIGH = 0xffff_ffd6;
const key = (bytes: 4 | 8): Insn[] => [
  asm.storeReg(bytes, 10, -8, 6),
  asm.movReg(2, 10),
  asm.aluImm("add", 2, -8),
];

/** Stores the key's value; r4 are the flags. */
const update = (map: number, keyBytes: 4 | 8): Insn[] => [
  ...key(keyBytes),
  asm.storeReg(8, 10, -16, 6),
  asm.movReg(3, 10),
  asm.aluImm("add", 3, -16),
  asm.movImm(4, 0),
  ...asm.wide(1, map, HIGH),
  asm.call(1),
];

/** Reserves a record, submits it without waking, and reads it, as a consumer does. */
const ringTurn: Insn[] = [
  ...asm.wide(1, WORLD.ring, HIGH),
  asm.movImm(2, 24),
  asm.movImm(3, 0),
  asm.call(1),
  asm.storeReg(8, 0, 0, 6),
  asm.movReg(1, 0),
  asm.movImm(2, 1),
  asm.call(2),
  ...asm.wide(1, WORLD.ring, HIGH),
  asm.load(8, 2, 1, RING_LAYOUT.producer),
  asm.storeReg(8, 1, RING_LAYOUT.consumer, 2),
  asm.storeReg(8, 1, RING_LAYOUT.pending, 2),
];

/** `TURNS` callbacks that add their number to a word. */
const callbacks: Insn[] = program(
  asm.storeImm(8, 10, -8, 0),
  asm.movImm(1, TURNS),
  asm.functionAddress(2, 6),
  asm.movReg(3, 10),
  asm.aluImm("add", 3, -8),
  asm.movImm(4, 0),
  asm.call(1),
  asm.exit(),
  asm.load(8, 3, 2, 0),
  asm.aluReg("add", 3, 1),
  asm.storeReg(8, 2, 0, 3),
  asm.movImm(0, 0),
  asm.exit(),
);

const fast =
  (...helpers: readonly FastHelper[]) =>
  (id: number): FastHelper | undefined =>
    helpers[id - 1];

export function benchMicro(): void {
  const engines = new Engines();
  engines.linear.u8.set(makeImage(new Uint8Array(128)), WORLD.context);
  const options = runOptions({ stackTop: WORLD.stackTop, isChecked: false });
  const compiled = (insns: Insn[], helper?: (id: number) => FastHelper | undefined) => {
    const prepared = engines.prepare(insns);
    engines.compile(prepared, FUEL.without, helper);
    return prepared;
  };
  const empty = compiled(program(asm.movImm(0, 7), asm.exit()));
  const entry = engines.jit.entryOf(empty)!;
  const { dispatch } = engines.jit;
  const { context, stackTop } = WORLD;
  const inLoop = (name: string, insns: Insn[], helper?: (id: number) => FastHelper | undefined) => {
    const prepared = compiled(insns, helper);
    return {
      name,
      run: (count: number): void => {
        for (let i = 0; i < count; i += TURNS) engines.machine.run(prepared, WORLD.context, options);
      },
    };
  };
  const candidates = [
    {
      name: "a program called through the machine",
      run: (count: number): void => {
        for (let i = 0; i < count; i++) engines.machine.run(empty, context, options);
      },
    },
    {
      name: "a program called through the dispatcher",
      run: (count: number): void => {
        let sum = 0;
        for (let i = 0; i < count; i++) sum += dispatch(entry, context, stackTop);
        if (sum !== 7 * count) throw new Error("the empty program's result is wrong");
      },
    },
    inLoop("an empty loop's turn", loop(asm.movImm(0, 1))),
    inLoop(
      "a helper in JavaScript, two u64 arguments",
      loop(asm.movReg(1, 6), asm.movReg(2, 7), asm.call(2)),
      () => engines.combineInJavaScript(),
    ),
    inLoop(
      "a helper in JavaScript, u32 arguments",
      loop(asm.movReg(1, 6), asm.movReg(2, 7), asm.call(2)),
      () => ({ kind: "typed", params: ["u32", "u32"], result: "u32", call: (a, b) => (a! ^ b!) + 1 }),
    ),
    inLoop("a helper in WebAssembly", loop(asm.movReg(1, 6), asm.movReg(2, 7), asm.call(2))),
    inLoop(
      "a helper through the machine",
      loop(asm.movReg(1, 6), asm.movReg(2, 7), asm.call(2)),
      fast({ kind: "map_lookup" }, { kind: "map_lookup" }),
    ),
    inLoop("an array lookup, inlined", loop(key(4), asm.wide(1, WORLD.arrayMap, HIGH), asm.call(1))),
    inLoop("a hash lookup, specialised", loop(key(8), asm.wide(1, WORLD.hashMap, HIGH), asm.call(1))),
    inLoop("an array update, inlined", loop(update(WORLD.arrayMap, 4)), fast({ kind: "map_update" })),
    inLoop("a hash update, specialised", loop(update(WORLD.hashMap, 8)), fast({ kind: "map_update" })),
    inLoop(
      "a ring buffer's record, reserved and submitted",
      loop(ringTurn),
      fast({ kind: "ring_reserve" }, { kind: "ring_submit", layout: RING_LAYOUT }),
    ),
    inLoop("a turn of bpf_loop", callbacks, fast({ kind: "loop" })),
  ];
  const times = fastest(candidates);
  const rows = candidates.map(({ name }, i) => [name, times[i]!.toFixed(2)]);
  printTable("Pieces, ns", ["", "ns"], [...rows, ["getppid() of the host", getppidNs()]]);
}

/** The host's own system call, for scale; "-" where there is no Python to make it. */
function getppidNs(): string {
  const script =
    "import os,time\nf=os.getppid\nb=1e9\nfor _ in range(20):\n s=time.perf_counter_ns()\n for _ in range(10000): f()\n b=min(b,(time.perf_counter_ns()-s)/10000)\nprint(b)";
  const { status, stdout } = spawnSync("python3", ["-c", script], { encoding: "utf8" });
  return status === 0 ? `${Number(stdout).toFixed(0)} (from Python)` : "-";
}
