/**
 * What a hit costs in BPF: `runTracing` with loaded programs of the kinds that tracers have, on each engine. The checked
 * interpreter is what ran everything before programs were verified.
 */
import { asm, type Insn, program } from "@alien-ts/bpf-isa";
import { FakeKernel } from "../packages/bpf-basic/src/fake-kernel.ts";
import { ENGINES, type EngineName, ok, TestUser } from "../packages/bpf-basic/src/test-user.ts";
import { type Candidate, fastest, printTable } from "./measure.ts";

type Parts = readonly (Insn | readonly Insn[])[];

/** r<register> = r10 - 8 */
const key = (register: number): Insn[] => [asm.movReg(register, 10), asm.aluImm("add", register, -8)];

/** r0 = lookup; skips `then` where there is none. */
const lookup = (map: number, ...then: Insn[]): Parts => [
  asm.mapFd(1, map),
  key(2),
  asm.call(1),
  asm.jumpImm("jeq", 0, 0, then.length),
  then,
];
const increment = [asm.movImm(1, 1), asm.atomic("add", 8, 0, 0, 1)];

const PROGRAMS: Readonly<Record<string, (user: TestUser) => Parts>> = {
  "returns 0": () => [asm.movImm(0, 0)],
  "20 instructions over the trap frame": () => [
    [0, 1, 2, 3].map((i) => asm.load(8, 2 + i, 1, 80 + 8 * i)),
    [2, 3, 4, 5].flatMap((register) => [
      asm.aluImm("and", register, 0xff),
      asm.aluImm("add", register, 7),
      asm.aluReg("xor", register, 2),
    ]),
    asm.movReg(0, 5),
    asm.jumpImm("jgt", 0, 9, 1),
    asm.movImm(0, 1),
  ],
  "counts in an array": (user) => [
    asm.storeImm(4, 10, -8, 3),
    ...lookup(ok(user.map("ARRAY", 4, 8, 16)), ...increment),
    asm.movImm(0, 0),
  ],
  "counts in a hash, by an argument": (user) => {
    const map = ok(user.map("HASH", 8, 8, 1024));
    for (let i = 0; i < 512; i++)
      ok(user.update(map, [i & 255, i >> 8, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]));
    return [
      asm.load(8, 6, 1, 80),
      asm.storeReg(8, 10, -8, 6),
      ...lookup(map, ...increment),
      asm.movImm(0, 0),
    ];
  },
  "latency: clock, pid, hash update": (user) => [
    asm.call(14),
    asm.storeReg(8, 10, -8, 0),
    asm.call(5),
    asm.storeReg(8, 10, -16, 0),
    asm.mapFd(1, ok(user.map("HASH", 8, 8, 1024))),
    key(2),
    asm.movReg(3, 10),
    asm.aluImm("add", 3, -16),
    asm.movImm(4, 0),
    asm.call(2),
    asm.movImm(0, 0),
  ],
  "reads 64 bytes of the kernel": () => [
    asm.movReg(3, 1),
    asm.movReg(1, 10),
    asm.aluImm("add", 1, -64),
    asm.movImm(2, 64),
    asm.call(113),
    asm.movImm(0, 0),
  ],
};

function candidate(engineName: EngineName, partsOf: (user: TestUser) => Parts): Candidate {
  const user = new TestUser(new FakeKernel(), engineName);
  const fd = ok(user.load(program(...partsOf(user), asm.exit())));
  const loaded = user.programAt(fd);
  const regs = user.regs();
  const { engine, kernel } = user;
  const arg = (regs + 80) >> 2;
  return {
    name: engineName,
    run: (count) => {
      let sum = 0;
      for (let i = 0; i < count; i++) {
        kernel.memory.u32[arg] = i & 511;
        sum += engine.runTracing(loaded, regs);
      }
      return sum;
    },
  };
}

export function benchBpf(): void {
  const rows = Object.entries(PROGRAMS).map(([name, partsOf]) => {
    const times = fastest(ENGINES.map((engine) => candidate(engine, partsOf)));
    return [name, ...times.map((ns) => ns.toFixed(1)), `${(times[0]! / times.at(-1)!).toFixed(1)}x`];
  });
  printTable("A run of a BPF program, in nanoseconds", ["", ...ENGINES, "faster"], rows);
}
