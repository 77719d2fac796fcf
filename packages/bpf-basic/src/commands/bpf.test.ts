/** bpf(2) itself and BPF_PROG_LOAD: size rules, privileges, logs, what a program keeps alive. */
import {
  BPF_ATTR_SIZE,
  BPF_PROG_F,
  BPF_PROG_TYPE,
  E2BIG,
  EACCES,
  EBADF,
  EFAULT,
  EINVAL,
  ENOSPC,
  EPERM,
  type Errno,
  isErr,
  type Result,
  utf8Decode,
} from "@alien-ts/abi";
import { asm, type Insn, program } from "@alien-ts/bpf-isa";
import { linuxHelper } from "@alien-ts/bpf-verifier";
import { describe, expect, test } from "vitest";
import { USER_BASE } from "../fake-kernel.ts";
import { absentHelpers } from "../helpers/absent.ts";
import { helperById, helperRows } from "../helpers/table.ts";
import { le, ok, TestUser } from "../test-user.ts";
import { bpf } from "./bpf.ts";
import { commands } from "./table.ts";

const returns = (value: number): Insn[] => program(asm.movImm(0, value), asm.exit());
const create = { map_type: 2, key_size: 4, value_size: 4, max_entries: 1 };

describe("the size of the attributes", () => {
  test.each<[string, (user: TestUser) => Result<number>, Errno | "fd"]>([
    ["of the union", (u) => u.bpf("MAP_CREATE", create), "fd"],
    ["of the fields used, as libbpf gives it", (u) => u.bpf("MAP_CREATE", create, 20), "fd"],
    ["larger than the union, with zeros", (u) => u.bpf("MAP_CREATE", create, BPF_ATTR_SIZE + 32), "fd"],
    ["larger than a page", (u) => u.bpf("MAP_CREATE", create, 4097), E2BIG],
    ["0", (u) => u.bpf("MAP_CREATE", create, 0), EINVAL],
  ])("%s", (_, call, expected) => {
    const result = call(new TestUser());
    expect(isErr(result) ? result : "fd").toBe(expected);
  });

  test("larger than the union, with something in the excess, is E2BIG", () => {
    const user = new TestUser();
    const bytes = user.attr("MAP_CREATE", create);
    bytes[BPF_ATTR_SIZE] = 1;
    expect(bpf(user.engine, 0, user.place(bytes), BPF_ATTR_SIZE + 8)).toBe(E2BIG);
    expect(bpf(user.engine, 0, user.place(bytes), BPF_ATTR_SIZE)).not.toBe(E2BIG);
  });

  test("with something behind the command's last field is EINVAL", () => {
    const user = new TestUser();
    const bytes = user.attr("MAP_CREATE", create);
    bytes[80] = 1;
    expect(bpf(user.engine, 0, user.place(bytes), BPF_ATTR_SIZE)).toBe(EINVAL);
  });

  test.each([0, 8, USER_BASE - 4, 2 ** 52, 2 ** 63])("at address %d is EFAULT", (at) => {
    expect(bpf(new TestUser().engine, 0, at, BPF_ATTR_SIZE)).toBe(EFAULT);
  });
});

test("a command that this kernel or Linux does not have answers EINVAL", () => {
  const user = new TestUser();
  const attr = user.place(new Uint8Array(BPF_ATTR_SIZE));
  const absent = Object.values(commands).flatMap((row, number) => (row.supported ? [] : [number]));
  for (const number of [...absent, 38, 1000, -1, 2 ** 31]) {
    expect(bpf(user.engine, number, attr, BPF_ATTR_SIZE)).toBe(EINVAL);
  }
});

test("every command, with attributes of every byte value, throws and leaks nothing", () => {
  const user = new TestUser();
  for (let number = 0; number < 40; number++) {
    for (const fill of [0, 1, 3, 0x40, 0x7f, 0x80, 0xff]) {
      const attr = user.place(new Uint8Array(BPF_ATTR_SIZE).fill(fill));
      const result = bpf(user.engine, number, attr, BPF_ATTR_SIZE);
      expect(isErr(result) || result >= 0).toBe(true);
      user.kernel.fds.forEach((_, i) => user.kernel.close(i + 3));
      expect(user.allocations).toBe(user.baseline);
    }
  }
});

describe("PROG_LOAD", () => {
  test.each<[string, (user: TestUser) => Result<number>, Errno]>([
    ["no instructions", (u) => u.load([]), E2BIG],
    ["more than a million instructions", (u) => u.load(returns(0), { insn_cnt: 1_000_001 }), E2BIG],
    ["instructions at a bad address", (u) => u.load(returns(0), { insns: 8 }), EFAULT],
    ["no licence", (u) => u.load(returns(0), { license: 0 }), EFAULT],
    [
      "a program type that is not supported",
      (u) => u.load(returns(0), { prog_type: BPF_PROG_TYPE.XDP }),
      EINVAL,
    ],
    ["a program type beyond Linux's", (u) => u.load(returns(0), { prog_type: 99 }), EINVAL],
    ["unknown flags", (u) => u.load(returns(0), { prog_flags: 1 << 30 }), EINVAL],
    ["a token", (u) => u.load(returns(0), { prog_flags: BPF_PROG_F.TOKEN_FD }), EBADF],
    ["a bad name", (u) => u.load(returns(0), { prog_name: "a-b" }), EINVAL],
    [
      "a log buffer without a level",
      (u) => u.load(returns(0), { log_buf: u.place([0]), log_size: 8 }),
      EINVAL,
    ],
    [
      "a log level without a buffer size",
      (u) => u.load(returns(0), { log_buf: u.place([0]), log_level: 1 }),
      EINVAL,
    ],
    [
      "an unknown log level",
      (u) => u.load(returns(0), { log_buf: u.place([0]), log_size: 8, log_level: 64 }),
      EINVAL,
    ],
    [
      "a log buffer at a bad address",
      (u) => u.load(returns(0), { log_buf: 8, log_size: 64, log_level: 1 }),
      EFAULT,
    ],
    ["function info without BTF", (u) => u.load(returns(0), { func_info_cnt: 1, prog_btf_fd: 99 }), EBADF],
    ["a program to attach to", (u) => u.load(returns(0), { attach_prog_fd: 1 }), EINVAL],
    ["an unknown opcode", (u) => u.load([{ opcode: 0xff, dst: 0, src: 0, off: 0, imm: 0 }]), EINVAL],
    ["an unknown helper", (u) => u.load(program(asm.call(9999), asm.exit())), EINVAL],
    ["a helper that is not implemented", (u) => u.load(program(asm.call(118), asm.exit())), EINVAL],
    [
      "a read of what was not written",
      (u) => u.load(program(asm.load(8, 0, 10, -8), asm.movReg(0, 3), asm.exit())),
      EACCES,
    ],
    ["a loop without end", (u) => u.load(program(asm.movImm(0, 0), asm.goto(-1), asm.exit())), EINVAL],
    [
      "a map fd that is not open",
      (u) => u.load(program(asm.mapFd(1, 99), asm.movImm(0, 0), asm.exit())),
      EBADF,
    ],
  ])("%s is refused", (_, load, errno) => {
    const user = new TestUser();
    expect(load(user)).toBe(errno);
    expect(user.allocations).toBe(user.baseline);
  });

  test.each(["KPROBE", "SOCKET_FILTER", "TRACEPOINT"] as const)("a trivial %s loads", (type) => {
    const user = new TestUser();
    const fd = ok(user.load(returns(0), { prog_type: BPF_PROG_TYPE[type], prog_name: "aya_name_check" }));
    user.kernel.close(fd);
    expect(user.engine.programs.size).toBe(0);
  });

  test.each<[string, Record<string, number>, boolean]>([
    ["GPL", {}, true],
    ["Dual BSD/GPL", {}, true],
    ["Proprietary", {}, false],
    ["GPLv2", {}, false],
  ])("licence %s lets a program call GPL-only helpers: %#", (license, _, isAllowed) => {
    const user = new TestUser();
    const insns = program(
      asm.movReg(1, 10),
      asm.aluImm("add", 1, -8),
      asm.movImm(2, 8),
      asm.movImm(3, 0),
      asm.call(113),
      asm.exit(),
    );
    expect(isErr(user.load(insns, { license: user.text(license) }))).toBe(!isAllowed);
  });

  test("without CAP_BPF is EPERM, and with CAP_BPF alone a kprobe program too", () => {
    const user = new TestUser();
    user.kernel.isRoot = false;
    expect(user.load(returns(0))).toBe(EPERM);
    user.kernel.capabilities.add(39);
    expect(user.load(returns(0))).toBe(EPERM);
    expect(user.load(returns(0), { prog_type: BPF_PROG_TYPE.SOCKET_FILTER })).toBeGreaterThan(0);
    user.kernel.capabilities.add(38);
    expect(user.load(returns(0))).toBeGreaterThan(0);
  });

  test("programs of networks are for CAP_NET_ADMIN, whether this kernel has their type or not", () => {
    const user = new TestUser();
    user.kernel.isRoot = false;
    const load = (prog_type: number): unknown => user.load(returns(0), { prog_type });
    user.kernel.capabilities.add(39).add(38);
    expect(load(BPF_PROG_TYPE.XDP)).toBe(EPERM);
    expect(load(BPF_PROG_TYPE.EXT)).toBe(EPERM);
    expect(load(BPF_PROG_TYPE.LIRC_MODE2)).toBe(EINVAL);
    user.kernel.capabilities.add(12);
    expect(load(BPF_PROG_TYPE.XDP)).toBe(EINVAL);
    user.kernel.capabilities.clear();
    user.kernel.capabilities.add(21);
    expect(load(BPF_PROG_TYPE.XDP)).toBe(EINVAL);
    expect(load(BPF_PROG_TYPE.KPROBE)).toBeGreaterThan(0);
  });

  test("where everyone may load programs, they are those of sockets", () => {
    const user = new TestUser();
    user.kernel.isRoot = false;
    user.kernel.unprivilegedBpfDisabled = 0;
    expect(user.load(returns(0), { prog_type: BPF_PROG_TYPE.SOCKET_FILTER })).toBeGreaterThan(0);
    expect(user.load(returns(0), { prog_type: BPF_PROG_TYPE.CGROUP_SKB })).toBe(EINVAL);
    expect(user.load(returns(0))).toBe(EPERM);
    user.kernel.capabilities.add(38).add(12);
    expect(user.load(returns(0))).toBe(EPERM);
  });

  test("tells the log of a refusal, and how long it is", () => {
    const user = new TestUser();
    const insns = program(asm.call(118), asm.exit());
    const log_buf = user.place(new Uint8Array(4096));
    expect(user.load(insns, { log_buf, log_size: 4096, log_level: 1 })).toBe(EINVAL);
    const length = user.u32(user.lastAttr + 140);
    const log = utf8Decode(Uint8Array.from(user.read(log_buf, length)));
    expect(log).toContain("unknown func bpf_jiffies64#118: not implemented (it counts ticks)");
    expect(log.indexOf("\0")).toBe(length - 1);
    expect(user.load(insns, { log_buf, log_size: 16, log_level: 1 })).toBe(ENOSPC);
    expect(user.u32(user.lastAttr + 140)).toBe(length);
  });

  test("keeps the maps that a program uses until the program goes", () => {
    const user = new TestUser();
    const map = ok(user.map("ARRAY", 4, 4, 1));
    const prog = ok(user.load(program(asm.mapFd(1, map), asm.movImm(0, 0), asm.exit())));
    user.kernel.close(map);
    expect(user.engine.maps.size).toBe(1);
    user.kernel.close(prog);
    expect(user.engine.maps.size).toBe(0);
    expect(user.allocations).toBe(user.baseline);
  });

  test("at every failing allocation answers ENOMEM and leaks nothing", () => {
    for (let allowed = 0; allowed < 8; allowed++) {
      const user = new TestUser();
      user.kernel.allocationsLeft = allowed;
      const log_buf = user.place(new Uint8Array(64));
      const result = user.load(returns(0), { log_buf, log_size: 64, log_level: 7 });
      if (!isErr(result)) user.kernel.close(result);
      expect(user.allocations).toBe(user.baseline);
    }
  });

  test("writes to global data through an address in an array of one element", () => {
    const user = new TestUser();
    const map = ok(user.map("ARRAY", 4, 32, 1));
    const insns = program(asm.mapValue(1, map, 8), asm.storeImm(8, 1, 0, 42), asm.movImm(0, 0), asm.exit());
    expect(user.programAt(ok(user.load(insns))).run(user.regs())).toBe(0);
    expect(user.lookup(map, le(0), 32)).toEqual([...le(0, 8), ...le(42, 8), ...le(0, 8), ...le(0, 8)]);
  });
});

test("every helper id of the UAPI has a row, with the verifier's name: what it does, or what is missing", () => {
  for (let id = 1; id <= 211; id++) {
    const named = helperById(id);
    expect({ id: named?.id, name: `bpf_${named?.name}` }).toEqual({ id, name: linuxHelper(id)?.name });
    const words = named?.row.supported === true ? named.row.doc : named?.row.note;
    expect({ id, words }).toEqual({ id, words: expect.stringMatching(/\.$|^not implemented \(it .+\): .+/) });
  }
  expect(helperById(0)).toBeUndefined();
  expect(helperById(212)).toBeUndefined();
});

test("no helper is both implemented and said to be missing", () => {
  expect(Object.keys(absentHelpers).filter((name) => name in helperRows)).toEqual([]);
});
