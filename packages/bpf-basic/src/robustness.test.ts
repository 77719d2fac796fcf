/** What must hold for any guest: nothing throws, nothing leaks, and no kernel layout or number of CPUs changes a result. */
import { BPF_F, type BPF_MAP_TYPE, EACCES, isErr, Layout } from "@alien-ts/abi";
import { asm, type Insn, OPCODES, program } from "@alien-ts/bpf-isa";
import { linuxHelper } from "@alien-ts/bpf-verifier";
import { describe, expect, test } from "vitest";
import { FakeKernel } from "./fake-kernel.ts";
import { helperIds } from "./helpers/ids.ts";
import { helperRows } from "./helpers/table.ts";
import { mapTypes } from "./maps/types.ts";
import { ENGINES, le, ok, TestUser } from "./test-user.ts";

function generator(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 8) % n;
  };
}

describe.each([
  ["natural", Layout.natural()],
  ["shuffled(1)", Layout.shuffled(1)],
  ["shuffled(2)", Layout.shuffled(2)],
  ["shuffled(3)", Layout.shuffled(3)],
])("on a kernel with layout %s", (_, layout) => {
  test.each([1, 2, 4])("and %i CPUs a program counts per CPU", (cpus) => {
    const user = new TestUser(new FakeKernel(cpus, layout));
    const map = ok(user.map("PERCPU_ARRAY", 4, 8, 1, { map_name: "counts" }));
    expect(user.mapAt(map).map.t.name).toBe("counts");
    const insns = program(
      asm.storeImm(4, 10, -4, 0),
      asm.mapFd(1, map),
      asm.movReg(2, 10),
      asm.aluImm("add", 2, -4),
      asm.call(1),
      asm.jumpImm("jeq", 0, 0, 3),
      asm.load(8, 1, 0),
      asm.aluImm("add", 1, 1),
      asm.storeReg(8, 0, 0, 1),
      asm.movImm(0, 0),
      asm.exit(),
    );
    const prog = user.programAt(ok(user.load(insns)));
    const regs = user.regs();
    for (let cpu = 0; cpu < cpus; cpu++) {
      user.kernel.cpu = cpu;
      for (let i = 0; i <= cpu; i++) prog.run(regs);
    }
    const expected = Array.from({ length: cpus }, (__, cpu) => le(cpu + 1, 8)).flat();
    expect(user.lookup(map, le(0), 8 * cpus)).toEqual(expected);
  });
});

test("BPF_F_RDONLY_PROG keeps programs from writing, by helper and directly", () => {
  const user = new TestUser();
  const map = ok(user.map("ARRAY", 4, 8, 1, { map_flags: BPF_F.RDONLY_PROG }));
  const update = program(
    asm.storeImm(8, 10, -8, 0),
    asm.mapFd(1, map),
    asm.movReg(2, 10),
    asm.aluImm("add", 2, -8),
    asm.movReg(3, 2),
    asm.movImm(4, 0),
    asm.call(2),
    asm.exit(),
  );
  expect(user.load(update)).toBe(EACCES);
  const store = program(asm.mapValue(1, map, 0), asm.storeImm(8, 1, 0, 1), asm.movImm(0, 1), asm.exit());
  expect(user.load(store)).toBe(EACCES);
});

/** Puts something fitting into the register of each argument; what is wrong with it the verifier says. */
function randomCall(random: (n: number) => number, map: number, id: number): (Insn | readonly Insn[])[] {
  const stack = (register: number): Insn[] => [
    asm.movReg(register, 10),
    asm.aluImm("add", register, -8 * (1 + random(4))),
  ];
  const fitting = (role: string, register: number): Insn | readonly Insn[] => {
    switch (role) {
      case "map":
        return asm.mapFd(register, map);
      case "ctx":
        return asm.movReg(register, 6);
      case "size":
        return asm.movImm(register, random(10) - 1);
      case "any":
        return asm.movImm(register, random(4));
      default:
        return stack(register);
    }
  };
  return [...linuxHelper(id)!.args.map(({ role }, i) => fitting(role, i + 1)), asm.call(id)];
}

const SUPPORTED_HELPERS = Object.keys(helperRows).map((name) => helperIds[name as keyof typeof helperIds]);
const SUPPORTED_MAPS = Object.entries(mapTypes).flatMap(([name, row]) =>
  row.supported ? [name as keyof typeof BPF_MAP_TYPE] : [],
);
const OPCODE_BYTES = OPCODES.map(({ opcode }) => opcode);

function randomProgram(random: (n: number) => number, map: number): Insn[] {
  const any = (): Insn => ({
    opcode: OPCODE_BYTES[random(OPCODE_BYTES.length)]!,
    dst: 7 + random(3),
    src: random(3) === 0 ? 0 : 7 + random(4),
    off: random(2) === 0 ? 0 : -8 * random(5),
    imm: random(2) === 0 ? 0 : random(64) - 32,
  });
  const part = (): readonly (Insn | readonly Insn[])[] =>
    random(3) === 0 ? [any()] : randomCall(random, map, SUPPORTED_HELPERS[random(SUPPORTED_HELPERS.length)]!);
  return program(
    asm.movReg(6, 1),
    [-8, -16, -24, -32].map((off) => asm.storeImm(8, 10, off, random(4))),
    [0, 7, 8, 9].map((register) => asm.movImm(register, random(100))),
    ...Array.from({ length: 1 + random(3) }, part).flat(),
    // What was read is part of the result.
    [asm.load(8, 1, 10, -32), asm.aluReg("add", 0, 1), asm.aluReg("xor", 0, 9), asm.exit()],
  );
}

/** What rounds of random programs give on one engine: r0, or the errno of the load. */
function* randomRuns(user: TestUser, seed: number, rounds: number): Generator<number | string> {
  const random = generator(seed);
  for (let round = 0; round < rounds; round++) {
    const type = SUPPORTED_MAPS[random(SUPPORTED_MAPS.length)]!;
    const isKeyless = type === "QUEUE" || type === "STACK";
    const map = ok(user.map(type, isKeyless ? 0 : 4, type === "PERF_EVENT_ARRAY" ? 4 : 8, 3));
    const fd = user.load(randomProgram(random, map));
    if (isErr(fd)) yield fd.name;
    else {
      const regs = user.regs();
      const loaded = user.programAt(fd);
      loaded.run(regs);
      yield loaded.run(regs);
      user.kernel.free(regs);
      user.kernel.close(fd);
    }
    user.kernel.close(map);
    if (user.allocations !== user.baseline) throw new Error(`seed ${seed}, round ${round}: a leak`);
  }
}

test("random programs do the same on every engine; they neither throw nor leak, and accepted ones do not fault", () => {
  const seed = 77;
  const rounds = 600;
  const users = ENGINES.map((engine) => new TestUser(new FakeKernel(), engine));
  const [first = [], ...others] = users.map((user) => [...randomRuns(user, seed, rounds)]);
  for (const results of others) expect({ seed, results }).toEqual({ seed, results: first });
  for (const user of users) expect(user.kernel.log).toEqual([]);
  expect(first.filter((result) => typeof result === "number").length).toBeGreaterThan(100);
});

const LOOPS = ["counted", "may_goto", "function", "callback"] as const;
type LoopKind = (typeof LOOPS)[number];

/** Loops of these kinds, one in the other; functions stand behind the code that calls them. Each begins with r0 to r9 unknown. */
function nested(kinds: readonly LoopKind[]): { readonly insns: Insn[]; readonly starts: number[] } {
  const functions: Insn[][] = [];
  const calls: { readonly from: number; readonly at: number; readonly to: number }[] = [];
  const write = (code: Insn[], from: number, [kind, ...inner]: readonly LoopKind[], depth: number): void => {
    const slot = -8 * (depth + 1);
    const start = code.length;
    switch (kind) {
      case undefined:
        return void code.push(asm.load(8, 1, 10, -8), asm.aluImm("add", 1, 3));
      case "counted":
        code.push(asm.storeImm(8, 10, slot, 0));
        write(code, from, inner, depth + 1);
        code.push(asm.load(8, 1, 10, slot), asm.aluImm("add", 1, 1), asm.storeReg(8, 10, slot, 1));
        return void code.push(asm.jumpImm("jlt", 1, 12, start - code.length));
      case "may_goto":
        code.push(asm.mayGoto(0));
        write(code, from, inner, depth + 1);
        code.push(asm.goto(start - code.length - 1));
        code[start] = asm.mayGoto(code.length - start - 1);
        return;
      default: {
        const isCallback = kind === "callback";
        const before = isCallback
          ? [asm.movImm(1, 8 << 20), asm.functionAddress(2, 0), asm.movImm(3, 0)]
          : [];
        code.push(...program(...before, isCallback ? asm.movImm(4, 0) : []));
        calls.push({ from, at: isCallback ? start + 1 : code.length, to: functions.length });
        code.push(isCallback ? asm.call(181) : asm.callLocal(0));
        begin(inner);
      }
    }
  };
  const begin = (kinds_: readonly LoopKind[]): void => {
    const code: Insn[] = [asm.storeImm(8, 10, -8, 0)];
    const index = functions.push(code) - 1;
    write(code, index, kinds_, 0);
    code.push(asm.movImm(0, 0), asm.exit());
  };
  begin(kinds);
  const starts = functions.map((_, i) => functions.slice(0, i).flat().length);
  for (const { from, at, to } of calls)
    functions[from]![at] = { ...functions[from]![at]!, imm: starts[to]! - starts[from]! - at - 1 };
  return { insns: functions.flat(), starts };
}

test.each(["the interpreter", "the JIT"] as const)("loops in loops of any kind end on %s", (engine) => {
  const seed = 31;
  const random = generator(seed);
  let accepted = 0;
  for (let round = 0; round < 30; round++) {
    const user = new TestUser(new FakeKernel(), engine);
    user.engine.limitRuns(10_000, 300_000);
    const kinds = Array.from({ length: 1 + random(3) }, () => LOOPS[random(LOOPS.length)]!);
    const { insns, starts } = nested(kinds);
    const linkage = kinds.includes("callback") ? "static" : "global";
    const fd = user.load(insns, user.functionsWith(linkage, starts));
    if (isErr(fd)) continue;
    accepted += 1;
    expect({ seed, kinds, r0: user.programAt(fd).run(user.regs()) }).toEqual({ seed, kinds, r0: 0 });
  }
  expect(accepted).toBeGreaterThan(20);
});
