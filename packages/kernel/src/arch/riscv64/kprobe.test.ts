/** The probe library on the real processor: row text in both forms, and every instruction that is simulated or stepped. */
import { EINVAL, ENOMEM, isErr, type KAddr, LinearMemory } from "@alien-ts/abi";
import {
  type Kprobe,
  KprobeBuilder,
  kprobe_fault_handler,
  kprobe_handler_from_break,
  type KprobeAuxiliaryOps,
  KprobeManager,
  register_kprobe,
  riscv64,
  unregister_kprobe,
} from "@alien-ts/kprobe";
import { describe, expect, test } from "vitest";
import { KernelSpace } from "./address-space.ts";
import { Riscv64Cpu } from "./cpu.ts";
import * as asm from "./encode.ts";
import { Riscv64ProbeArgs } from "./probe-args.ts";
import { CONTEXT_BYTES, REG } from "./pt-regs.ts";

const X = asm.X;
const CONTEXT = 0x2_0000;
const TEXT = 0x3_0000;
const SLOTS = 0x3_1000;
const STACK = 0x4_0000;
/** The caller's text address: where a call returns to. */
const CALLER = { pc: TEXT + 0x800, sp: STACK };

/** One function `f` at TEXT, on one CPU. */
function boot(code: Uint8Array) {
  const mem = new LinearMemory(new ArrayBuffer(0x10_0000));
  const cpu = new Riscv64Cpu(mem, new KernelSpace(mem, (addr) => addr >= TEXT && addr < SLOTS + 0x1000));
  mem.u8.set(code, TEXT);
  const original = mem.u8.slice(TEXT, SLOTS);
  let freePages: KAddr[] = [SLOTS];
  const isText = (addr: KAddr): boolean => addr >= TEXT && addr < SLOTS;
  const ops: KprobeAuxiliaryOps = {
    copy_text: (addr, length) => mem.u8.slice(addr, addr + length),
    set_writeable_for_address(addr, length, write) {
      write(mem.bytes(addr, length));
      cpu.invalidate(addr, length);
    },
    alloc_executable_page: () => freePages.pop() ?? ENOMEM,
    free_executable_page: (page) => void (freePages = [page]),
    executablePageBytes: 0x1000,
    current_cpu: () => 0,
    current_task: () => mem,
    is_kernel_text: isText,
    is_blacklisted: () => false,
    lookup_name: (name) => (name === "f" ? TEXT : undefined),
    lookup_address: (addr) => (isText(addr) ? { name: "f", addr: TEXT, module: undefined } : undefined),
  };
  const manager = new KprobeManager(ops, riscv64);
  const args = new Riscv64ProbeArgs(mem);
  const words = new BigInt64Array(mem.buffer);
  return {
    mem,
    cpu,
    manager,
    original,
    args: args.at(CONTEXT),
    get: (word: number): bigint => words[CONTEXT / 8 + word]!,
    set: (word: number, value: bigint) => void (words[CONTEXT / 8 + word] = value),
    address: (addr: KAddr): bigint => BigInt.asIntN(64, mem.toU64(addr)),
  };
}
type World = ReturnType<typeof boot>;

/** What happened in a call, in order: "break f+4", "break slot+4", "body 7", "loadFault f+0" … */
function call(world: World, log: string[] = [], body: () => void = () => {}): string[] {
  const { cpu, manager, args, set, address } = world;
  const where = (addr: KAddr): string => (addr >= SLOTS ? `slot+${(addr - SLOTS) % 8}` : `f+${addr - TEXT}`);
  for (let word = 0; word < CONTEXT_BYTES / 8; word++) set(word, 0n);
  set(REG.epc, address(TEXT));
  set(REG.ra, address(CALLER.pc));
  set(REG.sp, address(CALLER.sp));
  for (let n = 0; n < 8; n++) set(REG.a0 + n, BigInt(100 + n));
  for (;;) {
    const { kind, index } = cpu.run(CONTEXT, CALLER, 1000);
    if (kind === "stopped") return log;
    if (kind === "hostCall") log.push(`body ${index}`);
    else log.push(`${kind === "breakpoint" ? "break" : kind} ${where(args.pc())}`);
    if (kind === "hostCall") body();
    else if (kind === "breakpoint") {
      const handled = kprobe_handler_from_break(manager, args);
      if (handled === undefined) return log;
      if (handled.hostCall === undefined) continue;
      log.push(`body ${handled.hostCall}${manager.kprobe_running() ? " (probe running)" : ""}`);
      body();
    } else {
      log.push(kprobe_fault_handler(manager, args) ? `fixed up ${where(args.pc())}` : "plain");
      return log;
    }
  }
}

function plant(world: World, offset: number, build = new KprobeBuilder()): Kprobe {
  const probe = register_kprobe(world.manager, build.with_symbol("f").with_offset(offset));
  if (isErr(probe)) throw new Error(`${probe.name} at f+${offset}`);
  return probe;
}

/** Offsets of the instructions in `code`. */
function offsets(code: Uint8Array): number[] {
  const found: number[] = [];
  for (let at = 0; at < code.length; at += riscv64.instructionLength(code.subarray(at))) found.push(at);
  return found;
}

const registers = ({ get }: World): bigint[] => Array.from({ length: 31 }, (_, i) => get(i + 1));

describe.each([{ compressed: false }, { compressed: true }])("row text, %o", (options) => {
  const code = asm.rowText(7, options);
  const hostCall = asm.hostCallOffset(options);
  const result =
    (world: World): (() => void) =>
    () =>
      world.set(REG.a0, -42n);

  test("an unprobed call reaches the body and returns with its stack in order", () => {
    const world = boot(code);
    expect(call(world, [], result(world))).toEqual(["body 7"]);
    expect([world.get(REG.a0), world.get(REG.sp), world.get(REG.epc)]).toEqual([
      -42n,
      world.address(CALLER.sp),
      world.address(CALLER.pc),
    ]);
  });

  test.each(offsets(code))("a probe at f+%i traps as it should and leaves the same registers", (offset) => {
    const plain = boot(code);
    call(plain, [], result(plain));
    const world = boot(code);
    const log: string[] = [];
    const probe = plant(
      world,
      offset,
      new KprobeBuilder()
        .with_pre_handler(
          (_, args) => log.push(`pre f+${args.break_address() - TEXT} a0=${args.argumentLow(0)}`) * 0,
        )
        .with_post_handler(
          (_, args) => void log.push(`post ${args.pc() === CALLER.pc ? "caller" : `f+${args.pc() - TEXT}`}`),
        ),
    );
    const length = riscv64.instructionLength(code.subarray(offset));
    const breakpoint = asm.assemble([length === 4 ? asm.ebreak() : asm.c_ebreak()]);
    expect(world.mem.u8.slice(TEXT + offset, TEXT + offset + length)).toEqual(breakpoint);

    call(world, log, result(world));
    const isReturn = offset + length === code.length;
    const isHostCall = offset === hostCall;
    const traps = [
      `break f+${offset}`,
      `pre f+${offset} a0=${offset > hostCall ? -42 : 100}`,
      ...(isReturn || isHostCall ? [] : [`break slot+${length}`]),
      `post ${isReturn ? "caller" : `f+${offset + length}`}`,
    ];
    expect(log).toEqual(offset > hostCall ? ["body 7", ...traps] : [...traps, "body 7"]);
    expect(registers(world)).toEqual(registers(plain));

    unregister_kprobe(world.manager, probe);
    expect(world.mem.u8.slice(TEXT, SLOTS)).toEqual(world.original);
    expect(call(world, [], result(world))).toEqual(["body 7"]);
  });

  test("probes on all instructions at once leave the same registers", () => {
    const plain = boot(code);
    call(plain, [], result(plain));
    const world = boot(code);
    for (const offset of offsets(code)) plant(world, offset);
    call(world, [], result(world));
    expect(registers(world)).toEqual(registers(plain));
  });

  test("the pre-handler at the first instruction sees the arguments, and may return in the function's place", () => {
    const world = boot(code);
    let seen: number[] = [];
    plant(
      world,
      0,
      new KprobeBuilder().with_pre_handler((_, args) => {
        seen = Array.from({ length: 8 }, (_value, n) => args.argumentLow(n));
        args.setReturnValue(-12, -1);
        args.update_pc(args.returnAddress());
        return 1;
      }),
    );
    expect(call(world)).toEqual(["break f+0"]);
    expect([seen, world.get(REG.a0)]).toEqual([[100, 101, 102, 103, 104, 105, 106, 107], -12n]);
  });

  test("all probes may go while the body runs, and the call still returns", () => {
    const world = boot(code);
    const probes = offsets(code).map((offset) => plant(world, offset));
    call(world, [], () => probes.forEach((probe) => unregister_kprobe(world.manager, probe)));
    expect(world.get(REG.epc)).toBe(world.address(CALLER.pc));
    expect(world.mem.u8.slice(TEXT, SLOTS)).toEqual(world.original);
  });
});

/** Each is followed by `ret`s, so that a jump ends soon; registers are set by `start`. */
const PROBED: readonly [string, readonly number[], Partial<Record<keyof typeof REG, bigint>>][] = [
  ["auipc", [asm.auipc(X.a0, -1)], {}],
  ["auipc beyond the direct map's high word", [asm.auipc(X.a0, -0x4_0000)], {}],
  ["lui", [asm.lui(X.a0, 0x12345)], {}],
  ["jal forwards", [asm.jal(X.a1, 8), asm.nop()], {}],
  ["jal without a link", [asm.jal(X.zero, 8), asm.addi(X.a0, X.a0, 1)], {}],
  ["jalr", [asm.jalr(X.zero, X.ra, 0)], {}],
  ["jalr that links its own base", [asm.jalr(X.a0, X.a0, 0x10)], { a0: 0x3_0000n }],
  ["jalr to an odd address", [asm.jalr(X.a1, X.a0, -3)], { a0: 0x3_0010n }],
  ...[asm.beq, asm.bne, asm.blt, asm.bge, asm.bltu, asm.bgeu].flatMap(
    (branch): [string, readonly number[], Partial<Record<keyof typeof REG, bigint>>][] =>
      [
        [1n, 1n],
        [-1n, 1n],
        [1n, -1n],
        [2n ** 32n, 0n],
        [-(2n ** 63n), 2n ** 63n - 1n],
        [5n, 2n ** 31n],
      ].map(([a0, a1]) => [
        `${branch.name} of ${a0} and ${a1}`,
        [branch(X.a0, X.a1, 8), asm.addi(X.a2, X.zero, 5)],
        { a0: a0!, a1: a1! },
      ]),
  ),
  ["beq with x0", [asm.beq(X.a0, X.zero, 8), asm.addi(X.a2, X.zero, 5)], { a0: 0n }],
  ["c.j", [asm.c_j(6), asm.addi(X.a2, X.zero, 5)], {}],
  ["c.beqz, taken", [asm.c_beqz(X.a0, 6), asm.addi(X.a2, X.zero, 5)], { a0: 0n }],
  ["c.beqz, not taken", [asm.c_beqz(X.a0, 6), asm.addi(X.a2, X.zero, 5)], { a0: 2n ** 40n }],
  ["c.bnez, taken", [asm.c_bnez(X.a0, 6), asm.addi(X.a2, X.zero, 5)], { a0: 2n ** 40n }],
  ["c.bnez, not taken", [asm.c_bnez(X.a0, 6), asm.addi(X.a2, X.zero, 5)], { a0: 0n }],
  ["c.jr", [asm.c_jr(X.a0), asm.addi(X.a2, X.zero, 5)], { a0: 0x3_0006n }],
  ["c.jalr", [asm.c_jalr(X.a0), asm.addi(X.a2, X.zero, 5)], { a0: 0x3_0006n }],
  ["c.jalr by ra", [asm.c_jalr(X.ra), asm.addi(X.a2, X.zero, 5)], { ra: 0x3_0006n }],
  ["c.mv", [asm.c_mv(X.a0, X.a1)], {}],
  ["c.add", [asm.c_add(X.a0, X.a1)], {}],
  ["c.li", [asm.c_li(X.a0, -7)], {}],
  ["sub", [asm.sub(X.a0, X.a1, X.a2)], { a1: 1n, a2: 2n ** 40n }],
];

/** Runs until pc reaches the rets after the code, or leaves the text; gives registers and pc. */
function runCode(world: World, length: number, start: Partial<Record<keyof typeof REG, bigint>>): bigint[] {
  const { set, address, get, cpu, manager, args } = world;
  for (let word = 0; word < CONTEXT_BYTES / 8; word++) set(word, 0n);
  set(REG.epc, address(TEXT));
  set(REG.sp, address(CALLER.sp));
  set(REG.ra, address(TEXT + length));
  for (const [name, value] of Object.entries(start)) {
    const isTextAddress = value >> 16n === 3n;
    set(REG[name as keyof typeof REG], isTextAddress ? address(Number(value)) : value);
  }
  for (let steps = 0; steps < 2; steps++) {
    if (args.pc() >= TEXT + length) break;
    let event = cpu.run(CONTEXT, { pc: 0, sp: 0 }, 1);
    while (
      event.kind === "breakpoint" &&
      kprobe_handler_from_break(manager, args) !== undefined &&
      args.pc() >= SLOTS
    )
      event = cpu.run(CONTEXT, { pc: 0, sp: 0 }, 10);
  }
  return [get(REG.epc), ...registers(world)];
}

describe("an instruction does the same under a probe", () => {
  test.each(PROBED)("%s", (_, instructions, start) => {
    const code = asm.assemble([...instructions, asm.ret(), asm.ret(), asm.ret(), asm.ret(), asm.ret()]);
    const length = asm.assemble(instructions).length;
    const plain = boot(code);
    const expected = runCode(plain, length, start);
    const world = boot(code);
    let hits = 0;
    plant(
      world,
      0,
      new KprobeBuilder().with_pre_handler(() => ((hits += 1), 0)),
    );
    expect(runCode(world, length, start)).toEqual(expected);
    expect([hits, world.manager.kprobe_running()]).toEqual([1, false]);
  });
});

test.each([
  ["ebreak", asm.ebreak()],
  ["c.ebreak", asm.c_ebreak()],
  ["ecall", asm.ecall()],
  ["a CSR access", 0xc000_2573],
  ["sret", 0x1020_0073],
  ["fence", 0x0ff0_000f],
  ["fence.i", asm.fence_i()],
  ["lr.d", 0x1005_352f],
  ["sc.w", 0x18b5_252f],
])("a probe on %s is EINVAL", (_, bits) => {
  const world = boot(asm.assemble([bits, asm.ret()]));
  expect(register_kprobe(world.manager, new KprobeBuilder().with_symbol("f"))).toBe(EINVAL);
});

test("a fault in the slot is reported at the probed instruction", () => {
  const world = boot(asm.assemble([asm.nop(), asm.ld(X.a0, X.zero, 8), asm.ret()]));
  plant(world, 4);
  expect(call(world)).toEqual(["break f+4", "loadFault slot+0", "fixed up f+4"]);
  expect(world.manager.kprobe_running()).toBe(false);
});
