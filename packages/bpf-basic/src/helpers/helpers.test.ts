/** Helpers as programs call them: loaded through bpf(2), run on the fake kernel. */
import {
  BPF_ELEM,
  BPF_F,
  E2BIG,
  EEXIST,
  EFAULT,
  EINVAL,
  ENOENT,
  isErr,
  type KAddr,
  utf8Encode,
} from "@alien-ts/abi";
import { asm, type Insn, program } from "@alien-ts/bpf-isa";
import { describe, expect, test } from "vitest";
import { FakeKernel, USER_BASE } from "../fake-kernel.ts";
import type { BpfProgram } from "../programs/program.ts";
import { ENGINES, type EngineName, le, ok, TestUser } from "../test-user.ts";

/** Loads a program whose last part is `exit`. */
function load(user: TestUser, ...parts: readonly (Insn | readonly Insn[])[]): BpfProgram {
  return user.programAt(ok(user.load(program(...parts, asm.exit()))));
}
const run = (user: TestUser, ...parts: readonly (Insn | readonly Insn[])[]): number => {
  const regs = user.regs();
  const result = load(user, ...parts).run(regs) | 0;
  user.kernel.free(regs);
  return result;
};

/** r<dst> = r10 + offset */
const stack = (dst: number, offset: number): Insn[] => [asm.movReg(dst, 10), asm.aluImm("add", dst, offset)];
/** Writes text to the stack at `offset`, which is a multiple of 4. */
const text = (offset: number, value: string): Insn[] => {
  const bytes = [...utf8Encode(value), 0, 0, 0, 0];
  return Array.from({ length: Math.floor(bytes.length / 4) }, (_, i) => {
    const word =
      bytes[4 * i]! | (bytes[4 * i + 1]! << 8) | (bytes[4 * i + 2]! << 16) | (bytes[4 * i + 3]! << 24);
    return asm.storeImm(4, 10, offset + 4 * i, word);
  });
};

/** What a map of at most six elements, which has those of `model`, answers to an update and to a deletion. */
function update(model: ReadonlyMap<number, number>, key: number, flags: number): number {
  if (model.has(key)) return flags === BPF_ELEM.NOEXIST ? -EEXIST.number : 0;
  if (flags === BPF_ELEM.EXIST) return -ENOENT.number;
  return model.size === 6 ? -E2BIG.number : 0;
}
const deletion = (model: ReadonlyMap<number, number>, key: number): number =>
  model.has(key) ? 0 : -ENOENT.number;

const userOn = (engine: EngineName): TestUser => new TestUser(new FakeKernel(), engine);

describe.each(ENGINES)("on %s", (engine) => {
  describe("map helpers", () => {
    const keyAndValue = (fd: number, key: number, value: number, flags = 0): (Insn | readonly Insn[])[] => [
      asm.storeImm(4, 10, -4, key),
      asm.storeImm(8, 10, -16, value),
      asm.mapFd(1, fd),
      stack(2, -4),
      stack(3, -16),
      asm.movImm(4, flags),
    ];

    test.each(["HASH", "PERCPU_HASH", "LRU_HASH", "LRU_PERCPU_HASH", "ARRAY", "PERCPU_ARRAY"] as const)(
      "%s: a program stores and finds its CPU's value",
      (type) => {
        const user = userOn(engine);
        const fd = ok(user.map(type, 4, 8, 4));
        user.kernel.cpu = 1;
        const found = run(
          user,
          ...keyAndValue(fd, 2, 77),
          asm.call(2),
          asm.mapFd(1, fd),
          stack(2, -4),
          asm.call(1),
          asm.jumpImm("jeq", 0, 0, 1),
          asm.load(8, 0, 0),
        );
        expect(found).toBe(77);
        const isPerCpu = type.includes("PERCPU");
        expect(user.lookup(fd, le(2), isPerCpu ? 16 : 8)).toEqual(
          isPerCpu ? [...le(0, 8), ...le(77, 8)] : le(77, 8),
        );
      },
    );

    test.each([
      ["made at first", {}],
      ["made as needed", { map_flags: BPF_F.NO_PREALLOC }],
    ])("a hash map with elements %s: programs and system calls write one map", (_, more) => {
      const user = userOn(engine);
      const fd = ok(user.map("HASH", 4, 8, 6, more));
      const model = new Map<number, number>();
      for (let i = 0; i < 200; i++) {
        const [key, flags, isDeletion] = [(i * 7 + (i >> 3)) % 10, (i * 5) % 3, i % 4 === 3];
        const refused = isDeletion ? deletion(model, key) : update(model, key, flags);
        const isProgram = i % 5 !== 0;
        const result = isProgram
          ? run(user, ...keyAndValue(fd, key, i, flags), asm.call(isDeletion ? 3 : 2))
          : isDeletion
            ? user.delete(fd, le(key))
            : user.update(fd, le(key), le(i, 8), flags);
        expect(isErr(result) ? -result.number : result).toBe(refused);
        if (refused !== 0) continue;
        if (isDeletion) model.delete(key);
        else model.set(key, i);
      }
      const found = user.keys(fd, 4).map((key) => [key[0]!, user.lookup(fd, key, 8)]);
      expect(new Map(found as [number, number[]][])).toEqual(
        new Map([...model].map(([key, value]) => [key, le(value, 8)])),
      );
    });

    test("errors are negative errnos", () => {
      const user = userOn(engine);
      const hash = ok(user.map("HASH", 4, 8, 1));
      expect(run(user, ...keyAndValue(hash, 1, 1, 2), asm.call(2))).toBe(-ENOENT.number);
      expect(run(user, ...keyAndValue(hash, 1, 1), asm.call(2))).toBe(0);
      expect(run(user, ...keyAndValue(hash, 1, 1, 1), asm.call(2))).toBe(-EEXIST.number);
      expect(run(user, ...keyAndValue(hash, 2, 1), asm.call(2))).toBe(-E2BIG.number);
      expect(run(user, ...keyAndValue(hash, 1, 1, 99), asm.call(2))).toBe(-EINVAL.number);
      expect(run(user, ...keyAndValue(hash, 2, 1), asm.call(3))).toBe(-ENOENT.number);
      expect(run(user, ...keyAndValue(hash, 1, 1), asm.call(3))).toBe(0);
    });

    test("queues and stacks push, peek and pop", () => {
      const user = userOn(engine);
      const fd = ok(user.map("STACK", 0, 8, 2));
      const push = (value: number): (Insn | readonly Insn[])[] => [
        asm.storeImm(8, 10, -8, value),
        asm.mapFd(1, fd),
        stack(2, -8),
        asm.movImm(3, 0),
        asm.call(87),
      ];
      const take = (helper: number): (Insn | readonly Insn[])[] => [
        asm.mapFd(1, fd),
        stack(2, -8),
        asm.call(helper),
        asm.load(8, 0, 10, -8),
      ];
      expect(run(user, ...push(5), ...push(6), ...take(89))).toBe(6);
      expect(run(user, ...take(88))).toBe(6);
      expect(run(user, ...take(88))).toBe(5);
      expect(run(user, asm.mapFd(1, fd), stack(2, -8), asm.call(88))).toBe(-ENOENT.number);
    });

    test("map_lookup_percpu_elem finds another CPU's value, and NULL for a CPU that cannot be", () => {
      const user = userOn(engine);
      const fd = ok(user.map("PERCPU_ARRAY", 4, 8, 1));
      ok(user.update(fd, le(0), [...le(3, 8), ...le(4, 8)]));
      const of = (cpu: number): number =>
        run(
          user,
          asm.storeImm(4, 10, -4, 0),
          asm.mapFd(1, fd),
          stack(2, -4),
          asm.movImm(3, cpu),
          asm.call(195),
          asm.jumpImm("jeq", 0, 0, 1),
          asm.load(8, 0, 0),
        );
      expect([of(0), of(1), of(2), of(-1)]).toEqual([3, 4, 0, 0]);
    });

    test.each(["ARRAY", "HASH", "PERCPU_ARRAY", "PERCPU_HASH", "LRU_HASH"] as const)(
      "for_each_map_elem calls a function per element of a %s, until it returns 1",
      (type) => {
        const user = userOn(engine);
        const fd = ok(user.map(type, 4, 8, 3));
        const bytes = type.includes("PERCPU") ? 16 : 8;
        for (let i = 0; i < 3; i++) ok(user.update(fd, le(i), [...le(10, 8), ...le(10, 8)].slice(0, bytes)));
        const sum = (stopAt: number): readonly number[] => {
          const regs = user.regs();
          const main = [
            asm.storeImm(8, 10, -8, 0),
            asm.mapFd(1, fd),
            asm.functionAddress(2, 9),
            stack(3, -8),
            asm.movImm(4, 0),
            asm.call(164),
            asm.load(8, 1, 10, -8),
            asm.aluImm("lsh", 0, 16),
            asm.aluReg("or", 0, 1),
            asm.exit(),
          ];
          // The callback: *ctx += *value; return *ctx >= stopAt.
          const callback = [
            asm.load(8, 5, 3),
            asm.load(8, 1, 4),
            asm.aluReg("add", 1, 5),
            asm.storeReg(8, 4, 0, 1),
            asm.movImm(0, 0),
            asm.jumpImm("jlt", 1, stopAt, 1),
            asm.movImm(0, 1),
          ];
          const flat = program(...main);
          const at = flat.findIndex(({ opcode, src }) => opcode === 0x18 && src === 4);
          const insns = flat.map((insn, i) => (i === at ? { ...insn, imm: flat.length - at - 1 } : insn));
          const whole = program(insns, ...callback, asm.exit());
          const result = user.programAt(ok(user.load(whole, user.functions(0, flat.length)))).run(regs);
          return [result >>> 16, result & 0xffff];
        };
        expect(sum(1000)).toEqual([3, 30]);
        expect(sum(20)).toEqual([2, 20]);
      },
    );
  });

  describe("task helpers", () => {
    const high = [asm.aluImm("rsh", 0, 32)];
    test.each<[string, (Insn | readonly Insn[])[], number]>([
      ["ktime_get_ns", [asm.call(5)], 0x1234_5678 | 0],
      ["ktime_get_ns, upper half", [asm.call(5), ...high], 3],
      ["get_smp_processor_id", [asm.call(8)], 1],
      ["get_current_task", [asm.call(35)], 0x40],
      ["get_current_pid_tgid", [asm.call(14)], 12],
      ["get_current_pid_tgid, upper half", [asm.call(14), ...high], 10],
      ["get_current_uid_gid", [asm.call(15)], 1000],
      ["get_current_uid_gid, upper half", [asm.call(15), ...high], 100],
      [
        "get_current_comm",
        [stack(1, -16), asm.movImm(2, 16), asm.call(16), asm.load(4, 0, 10, -16)],
        0x656b_6166,
      ],
      [
        "get_current_comm of 3 bytes",
        [
          asm.storeImm(4, 10, -16, -1),
          stack(1, -16),
          asm.movImm(2, 3),
          asm.call(16),
          asm.load(4, 0, 10, -16),
        ],
        0xff00_6166 | 0,
      ],
    ])("%s", (_, parts, expected) => {
      const user = userOn(engine);
      user.kernel.cpu = 1;
      user.kernel.nowNs = 3 * 2 ** 32 + 0x1234_5678;
      expect(run(user, ...parts)).toBe(expected);
    });
  });

  describe("reads at addresses that may be bad", () => {
    const KERNEL = (user: TestUser, addr: KAddr): readonly Insn[] =>
      asm.wide(3, addr, user.kernel.memory.baseHi);
    const readAt = (helper: number, address: readonly Insn[], size: number): (Insn | readonly Insn[])[] => [
      asm.storeImm(8, 10, -16, -1),
      asm.storeImm(8, 10, -8, -1),
      stack(1, -16),
      asm.movImm(2, size),
      address,
      asm.call(helper),
      asm.movReg(6, 0),
      asm.load(4, 7, 10, -16),
      asm.aluImm("lsh", 7, 32),
      asm.aluReg("or", 0, 7),
    ];
    const results = (user: TestUser, ...parts: (Insn | readonly Insn[])[]): readonly [number, number] => [
      run(user, ...parts, asm.movReg(0, 6)),
      run(user, ...parts, asm.load(4, 0, 10, -16)),
    ];

    test("probe_read_kernel and probe_read copy kernel bytes; a user address faults and zeroes", () => {
      const user = userOn(engine);
      const at = user.kernel.alloc(16);
      user.kernel.memory.u32[at >> 2] = 0x0102_0304;
      expect(results(user, ...readAt(113, KERNEL(user, at), 4))).toEqual([0, 0x0102_0304]);
      expect(results(user, ...readAt(4, KERNEL(user, at), 4))).toEqual([0, 0x0102_0304]);
      expect(results(user, ...readAt(113, asm.wide(3, USER_BASE), 4))).toEqual([-EFAULT.number, 0]);
      expect(results(user, ...readAt(113, KERNEL(user, 64), 4))).toEqual([-EFAULT.number, 0]);
      expect(results(user, ...readAt(113, asm.wide(3, at, 0xffff_0000), 4))).toEqual([-EFAULT.number, 0]);
    });

    test("probe_read_user and probe_read copy user bytes; a kernel address faults and zeroes", () => {
      const user = userOn(engine);
      const at = user.place(le(0x0a0b_0c0d));
      const kernel = user.kernel.alloc(16);
      expect(results(user, ...readAt(112, asm.wide(3, at), 4))).toEqual([0, 0x0a0b_0c0d]);
      expect(results(user, ...readAt(4, asm.wide(3, at), 4))).toEqual([0, 0x0a0b_0c0d]);
      expect(results(user, ...readAt(112, KERNEL(user, kernel), 4))).toEqual([-EFAULT.number, 0]);
      expect(results(user, ...readAt(112, asm.wide(3, at, 1), 4))).toEqual([-EFAULT.number, 0]);
    });

    test("no bytes can be read at any address", () => {
      const user = userOn(engine);
      for (const helper of [4, 112, 113])
        expect(results(user, ...readAt(helper, asm.wide(3, 64), 0))).toEqual([0, -1]);
    });

    test("the string forms stop at the NUL, count it, and cut what is too long", () => {
      const user = userOn(engine);
      const at = user.text("abc");
      const kernel = user.kernel.alloc(32);
      user.kernel.memory.u8.set(utf8Encode("abcdefgh"), kernel);
      expect(results(user, ...readAt(114, asm.wide(3, at), 16))).toEqual([4, 0x0063_6261]);
      expect(results(user, ...readAt(115, KERNEL(user, kernel), 16))).toEqual([9, 0x6463_6261]);
      expect(results(user, ...readAt(115, KERNEL(user, kernel), 3))).toEqual([3, 0xff00_6261 | 0]);
      expect(results(user, ...readAt(115, KERNEL(user, kernel), 0))[0]).toBe(0);
      expect(results(user, ...readAt(114, asm.wide(3, 64), 8))).toEqual([-EFAULT.number, 0]);
    });
  });

  describe("trace_printk", () => {
    const print = (user: TestUser, format: string, ...values: readonly (readonly Insn[])[]): number =>
      run(
        user,
        ...text(-64, format),
        stack(1, -64),
        asm.movImm(2, utf8Encode(format).length + 1),
        asm.movImm(3, 0),
        asm.movImm(4, 0),
        asm.movImm(5, 0),
        ...values,
        asm.call(6),
      );

    test.each<[string, (readonly Insn[])[], string]>([
      ["plain", [], "plain"],
      ["100%%", [], "100%"],
      ["%d %u", [asm.wide(3, -1, -1), asm.wide(4, -1, -1)], "-1 4294967295"],
      [
        "%x %lx %X",
        [asm.wide(3, 0xbeef, 7), asm.wide(4, 0xbeef, 7), asm.wide(5, 0xbeef)],
        "beef 70000beef BEEF",
      ],
      [
        "%ld %lld %llu",
        [asm.wide(3, -5, -1), asm.wide(4, -5, -1), asm.wide(5, -5, -1)],
        "-5 -5 18446744073709551611",
      ],
      ["%i", [asm.wide(3, 7)], "7"],
      ["%5d|%-5d|%05d", [asm.wide(3, 42), asm.wide(4, 42), asm.wide(5, -42)], "   42|42   |-0042"],
      ["%+d % d", [asm.wide(3, 1), asm.wide(4, 2)], "+1  2"],
      ["%c%c", [asm.wide(3, 0x6f), asm.wide(4, 0x6b)], "ok"],
      ["%px", [asm.wide(3, 0x10, 0xffff_ffd6)], "ffffffd600000010"],
      ["%p", [], "0000000000000000"],
      ["%s.", [asm.wide(3, 64)], "."],
    ])("%j prints as Linux does", (format, values, expected) => {
      const user = userOn(engine);
      expect(print(user, format, ...values)).toBe(expected.length);
      expect(user.kernel.trace).toEqual([expected]);
    });

    test("prints strings of kernel and user memory", () => {
      const user = userOn(engine);
      const kernel = user.kernel.alloc(16);
      user.kernel.memory.u8.set(utf8Encode("krnl"), kernel);
      const high = user.kernel.memory.baseHi;
      print(
        user,
        "%s %pks %pus",
        asm.wide(3, kernel, high),
        asm.wide(4, kernel, high),
        asm.wide(5, user.text("usr")),
      );
      expect(user.kernel.trace).toEqual(["krnl krnl usr"]);
    });

    test("%p prints no address", () => {
      const user = userOn(engine);
      print(user, "%p", asm.wide(3, 0x1234, 0xffff_ffd6));
      expect(user.kernel.trace[0]).toMatch(/^00000000[0-9a-f]{8}$/);
      expect(user.kernel.trace[0]).not.toContain("1234");
    });

    test.each(["%", "%z", "%d%d%d%d", "%f", "%lp", "%pI4", "%sx", "\u0001", "%l", "é"])(
      "%j is EINVAL",
      (format) => {
        const user = userOn(engine);
        expect(print(user, format)).toBe(-EINVAL.number);
        expect(user.kernel.trace).toEqual([]);
      },
    );

    test("a format without NUL is EINVAL", () => {
      const user = userOn(engine);
      expect(
        run(user, asm.storeImm(4, 10, -4, 0x6161_6161), stack(1, -4), asm.movImm(2, 4), asm.call(6)),
      ).toBe(-EINVAL.number);
    });
  });

  describe("callbacks", () => {
    /** Calls bpf_loop with a function that is `callback`; r0 in the low half, the context's number in the high one. */
    const looping = (
      user: TestUser,
      turns: number,
      ...callback: readonly (Insn | readonly Insn[])[]
    ): BpfProgram => {
      const after = [
        stack(3, -8),
        asm.movImm(4, 0),
        asm.call(181),
        asm.load(8, 1, 10, -8),
        asm.aluImm("lsh", 1, 16),
        asm.aluReg("or", 0, 1),
        asm.exit(),
      ];
      const before = [asm.storeImm(8, 10, -8, 0), asm.movImm(1, turns)];
      const tail = program(...after);
      const insns = program(before, asm.functionAddress(2, tail.length + 1), tail, ...callback, asm.exit());
      const start = program(...before).length + 2 + tail.length;
      return user.programAt(ok(user.load(insns, user.functions(0, start))));
    };
    // *ctx += index; return index >= limit.
    const summing = (limit: number): (Insn | readonly Insn[])[] => [
      asm.load(8, 3, 2),
      asm.aluReg("add", 3, 1),
      asm.storeReg(8, 2, 0, 3),
      asm.movImm(0, 0),
      asm.jumpImm("jlt", 1, limit, 1),
      asm.movImm(0, 1),
    ];

    test("bpf_loop calls a function as often as it is told, or until it returns 1", () => {
      const user = userOn(engine);
      expect(looping(user, 5, ...summing(100)).run(user.regs())).toBe((10 << 16) | 5);
      expect(looping(user, 5, ...summing(2)).run(user.regs())).toBe((3 << 16) | 3);
      expect(looping(user, 0, ...summing(2)).run(user.regs())).toBe(0);
      expect(looping(user, 8 * 2 ** 20 + 1, ...summing(2)).run(user.regs()) | 0).toBe(-E2BIG.number);
    });

    test("global functions that call each other in loops stop too", () => {
      const user = userOn(engine);
      user.engine.limitRuns(1000, 100_000);
      // for (r6 = 1000; r6 != 0; r6--) next();
      const looping = program(
        [asm.movImm(6, 1000), asm.callLocal(4), asm.aluImm("sub", 6, 1), asm.jumpImm("jne", 6, 0, -3)],
        [asm.movImm(0, 7), asm.exit()],
      );
      const insns = program(looping, looping, looping, asm.movImm(0, 0), asm.exit());
      const starts = [0, 1, 2, 3].map((i) => i * looping.length);
      const fd = user.load(insns, user.functionsWith("global", starts));
      expect(user.programAt(ok(fd)).run(user.regs())).toBe(0);
      expect(user.kernel.log).toEqual([expect.stringContaining("ran for too long")]);
    });

    test("a loop that would take hours stops, and the log tells", () => {
      const user = userOn(engine);
      user.engine.limitRuns(1000, 1_000_000);
      const calls = program(
        asm.movImm(1, 8 << 20),
        asm.functionAddress(2, 6),
        [3, 4].map((register) => asm.movImm(register, 0)),
        [asm.call(181), asm.movImm(0, 0), asm.exit()],
      );
      const insns = program(calls, calls, asm.movImm(0, 0), asm.exit());
      const starts = [0, calls.length, 2 * calls.length];
      const fd = user.load(insns, user.functions(...starts));
      expect(user.programAt(ok(fd)).run(user.regs())).toBe(0);
      expect(user.kernel.log).toEqual([expect.stringContaining("ran for too long")]);
    });
  });
});
