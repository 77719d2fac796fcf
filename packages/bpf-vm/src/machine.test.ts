import { LinearMemory } from "@alien-ts/abi";
import { asm, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { describe, expect, test } from "vitest";
import { BpfMachine } from "./machine.ts";
import { prepare } from "./program.ts";
import type { Helper } from "./program.ts";
import { MemoryRegions } from "./regions.ts";
import { RUN, describeFault, runOptions } from "./run.ts";
import { LOOP_PROGRAM, LOOP_RESULT, loopHelper } from "./test-callback.ts";

const CONTEXT = 0x1_0000;
const MAP = 0x1_8000;
const STACK_TOP = 0x2_2000;
const INNER_STACK_TOP = 0x2_8000;

function newMachine(): BpfMachine {
  return new BpfMachine(new LinearMemory(new ArrayBuffer(0x3_0000)), new MemoryRegions());
}

type Parts = readonly (Insn | readonly Insn[])[];

function run(
  parts: Parts,
  helpers: readonly (Helper | undefined)[] = [],
  machine = newMachine(),
  fuel = 10_000,
) {
  const status = machine.run(
    prepare(program(...parts), { helpers }),
    CONTEXT,
    runOptions({ stackTop: STACK_TOP, contextBytes: 16, fuel }),
  );
  return {
    status,
    r0: machine.r0Low,
    executed: machine.executed,
    fault: describeFault(machine.fault),
    machine,
  };
}

describe("regions", () => {
  const cases: readonly [string, Parts, string][] = [
    [
      "a write to a read-only context",
      [asm.storeImm(8, 1, 0, 1)],
      "invalid write of 8 bytes at 0xffffffd600010000, insn 0",
    ],
    [
      "a read past the context",
      [asm.load(8, 0, 1, 9)],
      "invalid read of 8 bytes at 0xffffffd600010009, insn 0",
    ],
    [
      "a read of NULL",
      [asm.movImm(1, 0), asm.load(4, 0, 1, 4)],
      "invalid read of 4 bytes at 0x0000000000000004, insn 1",
    ],
    [
      "a write above the frame",
      [asm.storeImm(8, 10, 0, 1)],
      "invalid write of 8 bytes at 0xffffffd600022000, insn 0",
    ],
    [
      "a write below the frame",
      [asm.storeImm(8, 10, -520, 1)],
      "invalid write of 8 bytes at 0xffffffd600021df8, insn 0",
    ],
    [
      "a write to a read-only region",
      [asm.wide(2, MAP + 64, -42), asm.storeImm(1, 2, 0, 1)],
      "invalid write of 1 bytes at 0xffffffd600018040, insn 2",
    ],
    [
      "a read over the end of a region",
      [asm.wide(2, MAP, -42), asm.load(8, 0, 2, 60)],
      "invalid read of 8 bytes at 0xffffffd60001803c, insn 2",
    ],
    [
      "a misaligned atomic",
      [asm.atomic("add", 8, 10, -12, 1)],
      "misaligned write of 8 bytes at 0xffffffd600021ff4, insn 0",
    ],
    [
      "an address below 0",
      [asm.movImm(1, 0), asm.load(1, 0, 1, -1)],
      "invalid read of 1 bytes at 0xffffffffffffffff, insn 1",
    ],
  ];
  test.each(cases)("%s faults", (_, parts, fault) => {
    const machine = newMachine();
    machine.regions.add(MAP, 64, true);
    machine.regions.add(MAP + 64, 64, false);
    expect(run([...parts, asm.exit()], [], machine)).toMatchObject({ status: RUN.fault, fault });
  });

  test("a region can be read and written up to its last byte, until it is removed", () => {
    const machine = newMachine();
    machine.regions.add(MAP, 64, true);
    const parts = [asm.wide(2, MAP, -42), asm.storeImm(8, 2, 56, 77), asm.load(8, 0, 2, 56), asm.exit()];
    expect(run(parts, [], machine)).toMatchObject({ status: RUN.done, r0: 77, executed: 4 });
    machine.regions.remove(MAP);
    expect(run(parts, [], machine).status).toBe(RUN.fault);
  });

  test("regions that overlap are refused", () => {
    const regions = new MemoryRegions();
    regions.add(MAP, 64, true);
    expect(() => regions.add(MAP + 63, 8, true)).toThrow(RangeError);
    expect(() => regions.add(MAP - 8, 9, true)).toThrow(RangeError);
    expect(() => regions.remove(MAP + 8)).toThrow(RangeError);
  });

  test("an unchecked run is stopped at the end of memory only", () => {
    const machine = newMachine();
    const options = runOptions({ stackTop: STACK_TOP, isChecked: false });
    const read = (at: number) => prepare(program(asm.wide(2, at), asm.load(8, 0, 2), asm.exit()));
    expect(machine.run(read(0x2_fff8), 0, options)).toBe(RUN.done);
    expect(machine.run(read(0x2_fff9), 0, options)).toBe(RUN.fault);
    expect(machine.run(read(-1), 0, options)).toBe(RUN.fault);
  });
});

describe("helpers", () => {
  const double: Helper = (machine) => machine.setR0Signed(machine.argLow(1) * 2);

  test("a helper reads its arguments and sets r0", () => {
    expect(run([asm.movImm(1, 21), asm.call(1), asm.exit()], [undefined, double])).toMatchObject({
      r0: 42,
      executed: 3,
    });
  });

  test("a pointer result is NULL or carries the high word", () => {
    const give =
      (address: number): Helper =>
      (machine) =>
        machine.setR0Pointer(address);
    const parts = [asm.call(0), asm.aluImm("rsh", 0, 32), asm.exit()];
    expect(run(parts, [give(MAP)]).r0 >>> 0).toBe(0xffff_ffd6);
    expect(run(parts, [give(0)]).r0).toBe(0);
  });

  test("a helper that does not exist is a fault", () => {
    expect(run([asm.call(9), asm.exit()])).toMatchObject({
      status: RUN.fault,
      fault: "unknown helper at insn 0",
      executed: 0,
    });
  });

  test("a helper's access outside the regions ends the run", () => {
    const write: Helper = (machine) => {
      const address = machine.argMemory(1, 8, true);
      if (address === 0) return;
      machine.memory.i32[address >> 2] = 7;
      machine.setR0(1, 0);
    };
    const store = (offset: number) => [
      asm.movReg(1, 10),
      asm.aluImm("add", 1, offset),
      asm.call(0),
      asm.exit(),
    ];
    expect(run(store(-8), [write])).toMatchObject({ status: RUN.done, r0: 1, executed: 4 });
    expect(run(store(-7), [write])).toMatchObject({
      status: RUN.fault,
      fault: "invalid write of 8 bytes at 0xffffffd600021ff9, insn 2",
      executed: 2,
    });
  });

  test("a helper calls back into the program, frame by frame", () => {
    const helpers = [undefined, loopHelper];
    expect(run([LOOP_PROGRAM], helpers)).toMatchObject({ status: RUN.done, ...LOOP_RESULT });
    expect(run([LOOP_PROGRAM], helpers, newMachine(), 20)).toMatchObject({
      status: RUN.outOfFuel,
      executed: 20,
    });
  });

  test("a fault in a function that a helper called ends the run", () => {
    const callback: Helper = (machine) => void machine.callFunction(2);
    const parts = [asm.call(0), asm.exit(), asm.storeImm(8, 10, -520, 0), asm.exit()];
    expect(run(parts, [callback])).toMatchObject({ status: RUN.fault, executed: 1 });
  });
});

describe("tail calls", () => {
  function tailCaller(target: () => ReturnType<typeof prepare>): Helper {
    return (machine) => {
      if (!machine.tailCall(target())) machine.setR0Signed(-2);
    };
  }

  test("a tail call goes on in the other program, with the context in r1", () => {
    const other = prepare(program(asm.load(4, 0, 1, 0), asm.exit()));
    const machine = newMachine();
    machine.memory.u8[CONTEXT] = 99;
    const parts = [asm.call(0), asm.movImm(0, 1), asm.exit()];
    expect(run(parts, [tailCaller(() => other)], machine)).toMatchObject({ r0: 99, executed: 3 });
  });

  test("after 33 tail calls the next one fails and the program goes on", () => {
    let self: ReturnType<typeof prepare> | undefined;
    const helpers = [tailCaller(() => self!)];
    self = prepare(program(asm.movReg(6, 1), asm.call(0), asm.movReg(0, 0), asm.exit()), { helpers });
    const machine = newMachine();
    const status = machine.run(self, CONTEXT, runOptions({ stackTop: STACK_TOP }));
    expect({ status, r0: machine.r0Low, executed: machine.executed }).toEqual({
      status: RUN.done,
      r0: -2,
      executed: 33 * 2 + 4,
    });
  });

  test("a tail call in a function replaces that function only", () => {
    const other = prepare(program(asm.movImm(6, 5), asm.movImm(0, 30), asm.exit()));
    const parts = [
      asm.movImm(6, 12),
      asm.callLocal(2),
      asm.aluReg("add", 0, 6),
      asm.exit(),
      asm.call(0),
      asm.exit(),
    ];
    const helpers = [tailCaller(() => other)];
    const machine = newMachine();
    for (let i = 0; i < 3; i++)
      expect(run(parts, helpers, machine)).toMatchObject({ status: RUN.done, r0: 42 });
  });
});

test("a run inside a helper leaves the outer run as it was, even of the same program", () => {
  let turns = 0;
  let self: ReturnType<typeof prepare> | undefined;
  const again: Helper = (machine) => {
    turns += 1;
    if (turns > 3) return machine.setR0(7, 0);
    const status = machine.run(
      self!,
      CONTEXT,
      runOptions({ stackTop: INNER_STACK_TOP - turns * 4096 + 4096 }),
    );
    machine.setR0(status === RUN.done ? machine.r0Low : -1, 0);
  };
  self = prepare(
    program(
      asm.movImm(6, 100),
      asm.storeImm(8, 10, -8, 1000),
      asm.call(0),
      asm.aluReg("add", 0, 6),
      asm.load(8, 1, 10, -8),
      asm.aluReg("add", 0, 1),
      asm.exit(),
    ),
    { helpers: [again] },
  );
  const machine = newMachine();
  expect(machine.run(self, CONTEXT, runOptions({ stackTop: STACK_TOP }))).toBe(RUN.done);
  expect({ r0: machine.r0Low, executed: machine.executed }).toEqual({ r0: 4 * 1100 + 7, executed: 7 });
});

test("a run goes on when the runs inside it have pushed its code out of the core", () => {
  const half = prepare([...Array.from({ length: 1_000_000 - 1 }, () => asm.movImm(0, 1)), asm.exit()]);
  const other = prepare(half.insns.slice(1));
  const options = runOptions({ stackTop: INNER_STACK_TOP, fuel: 2_000_000 });
  const runBoth: Helper = (machine) => {
    const executed = [half, other].map((inner) => {
      machine.run(inner, 0, options);
      return machine.executed;
    });
    machine.setR0(executed[0]! - executed[1]!, 0);
  };
  const parts = [asm.movImm(6, 41), asm.call(0), asm.aluReg("add", 0, 6), asm.callLocal(1), asm.exit()];
  const callee = [asm.movReg(7, 0), asm.call(0), asm.aluReg("add", 0, 7), asm.exit()];
  for (let i = 0; i < 2; i++) {
    expect(run([...parts, ...callee], [runBoth])).toMatchObject({ status: RUN.done, r0: 43, executed: 9 });
  }
});

test("a program of more instructions than Linux allows is refused", () => {
  const insns = Array.from({ length: 1_000_001 }, () => asm.exit());
  expect(() => prepare(insns)).toThrow(RangeError);
});

test("may_goto ends a loop after eight million turns", () => {
  const machine = newMachine();
  const loop = prepare(
    program(asm.movImm(0, 0), asm.mayGoto(2), asm.aluImm("add", 0, 1), asm.goto(-3), asm.exit()),
  );
  const status = machine.run(loop, 0, runOptions({ stackTop: STACK_TOP, fuel: 100_000_000 }));
  expect({ status, r0: machine.r0Low }).toEqual({ status: RUN.done, r0: 8 * 1024 * 1024 });
});
