import { EACCES, EBADF, E2BIG, EINVAL, ENOTSUPP, EPERM, EPROTO } from "@alien-ts/abi";
import type { Errno } from "@alien-ts/abi";
import { asm, program } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { describe, expect, test } from "vitest";
import { declare } from "../test/declare.ts";
import type { MapInfo, ProgramEnv } from "./env.ts";
import { linuxHelper } from "./linux/helpers.ts";
import { linuxKfunc } from "./linux/kfuncs.ts";
import { linuxProgramType } from "./linux/program-types.ts";
import { LOG } from "./log.ts";
import { verifyProgram } from "./verify-program.ts";
import { PRIVILEGED, UNPRIVILEGED } from "./privileges.ts";

type Parts = readonly (Insn | readonly Insn[])[];
type Extra = Partial<ProgramEnv>;

const map = (address: number, valueSize: number, valuesAddress?: number): MapInfo => ({
  address,
  valueSize,
  valuesAddress,
  type: 2,
  name: "",
  keySize: 4,
  maxEntries: 1,
  flags: 0,
  inner: undefined,
  fields: [],
  isFrozen: false,
  constantAt: undefined,
  btf: undefined,
  btfValueType: 0,
});
const MAPS: Record<number, MapInfo | Errno> = {
  3: map(0x5_0000, 48, 0x6_0000),
  4: map(0x5_1000, 8),
  5: EINVAL,
};
const SECTIONS = declare("void bpf_rcu_read_lock(void); void bpf_rcu_read_unlock(void);");
const kfunc = (name: string): Insn => ({
  opcode: 0x85,
  dst: 0,
  src: 2,
  off: 0,
  imm: SECTIONS.find(name, "func")!,
});
const KPROBE = linuxProgramType(2, 0)!;
const SOCKET_FILTER = linuxProgramType(1, 0)!;

function env(parts: Parts, extra: Extra = {}): ProgramEnv {
  return {
    insns: program(...parts),
    programType: KPROBE,
    helper: linuxHelper,
    map: (fd) => MAPS[fd] ?? EBADF,
    addressHigh: 0xffff_ffd6,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: LOG.LEVEL1 },
    kernelBtf: undefined,
    program: undefined,
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
    ...extra,
  };
}

const STATISTICS =
  /^processed \d+ insns \(limit 1000000\) max_states_per_insn \d+ total_states \d+ peak_states \d+ mark_read 0\n?$/u;
const raw = (opcode: number, fields: Partial<Insn> = {}): Insn => ({
  opcode,
  dst: 0,
  src: 0,
  off: 0,
  imm: 0,
  ...fields,
});
const { movImm, exit } = asm;
const r0 = movImm(0, 0);
const nested = (frames: number): Parts => [
  ...Array.from({ length: frames - 1 }, () => [asm.callLocal(1), exit()]),
  r0,
  exit(),
];

/** The message is the last line before the statistics. */
const REFUSED: readonly [string, Parts, Errno, string, Extra?][] = [
  ["an unknown opcode", [raw(0x58), exit()], EINVAL, "unknown opcode 58"],
  ["a call through a register", [asm.callRegister(1), exit()], EINVAL, "unknown opcode 8d"],
  ["a jump over the end", [r0, asm.goto(5), exit()], EINVAL, "jump out of range from insn 1 to 7"],
  [
    "a long jump round the end of a word",
    [asm.gotol(0x7fff_ffff), r0, exit()],
    EINVAL,
    "jump out of range from insn 0 to -2147483648",
  ],
  ["a jump before the start", [r0, asm.goto(-3), exit()], EINVAL, "jump out of range from insn 1 to -1"],
  [
    "a jump into another function",
    [asm.callLocal(2), asm.goto(2), exit(), r0, exit()],
    EINVAL,
    "jump out of range from insn 1 to 4",
  ],
  ["a program without an exit", [r0], EINVAL, "last insn is not an exit or jmp"],
  [
    "a function that runs into the next",
    [asm.callLocal(1), r0, exit()],
    EINVAL,
    "last insn is not an exit or jmp",
  ],
  ["a call to nowhere", [asm.callLocal(9), exit()], EINVAL, "call to invalid destination"],
  ["dead instructions", [r0, exit(), exit()], EINVAL, "unreachable insn 2"],
  [
    "a jump into a wide load",
    [asm.jumpImm("jeq", 1, 0, 1), asm.wide(0, 1), exit()],
    EINVAL,
    "jump into the middle of ldimm64 insn 1",
  ],
  ["half a wide load", [r0, exit(), raw(0x18)], EINVAL, "last insn is not an exit or jmp"],
  ["a wide load with a wrong second half", [raw(0x18), r0, exit()], EINVAL, "invalid bpf_ld_imm64 insn"],
  [
    "a wide load with an offset",
    [raw(0x18, { off: 1 }), raw(0), exit()],
    EINVAL,
    "BPF_LD_IMM64 uses reserved fields",
  ],
  [
    "an unknown pseudo source",
    [raw(0x18, { src: 9 }), raw(0), exit()],
    EINVAL,
    "unrecognized bpf_ld_imm64 insn",
  ],
  ["an fd that is not open", [asm.mapFd(1, 77), exit()], EBADF, "fd 77 is not pointing to valid bpf_map"],
  ["an fd that is no map", [asm.mapFd(1, 5), exit()], EINVAL, "fd 5 is not pointing to valid bpf_map"],
  [
    "a map index without fd_array",
    [asm.wide(1, 0, 0, "MAP_IDX"), exit()],
    EPROTO,
    "fd_idx without fd_array is invalid",
  ],
  [
    "a value offset at the value's end",
    [asm.mapValue(1, 3, 48), exit()],
    EINVAL,
    "invalid access to map value pointer, value_size=48 off=48",
  ],
  [
    "a huge value offset",
    [asm.mapValue(1, 3, 1 << 29), exit()],
    EINVAL,
    "direct value offset of 536870912 is not allowed",
  ],
  [
    "the value of a map without",
    [asm.mapValue(1, 4, 0), exit()],
    EINVAL,
    "no direct value access support for this map type",
  ],
  ["register 12", [asm.load(1, 0, 12), exit()], EINVAL, "R12 is invalid"],
  ["a write to r10", [movImm(10, 0), exit()], EACCES, "frame pointer is read only"],
  ["a load into r10", [asm.load(8, 10, 1), exit()], EACCES, "frame pointer is read only"],
  ["an addition to r10", [asm.aluImm("add", 10, 8), exit()], EACCES, "frame pointer is read only"],
  ["a division by the constant 0", [r0, asm.aluImm("div", 0, 0), exit()], EINVAL, "div by zero"],
  ["a shift by 64", [r0, asm.aluImm("lsh", 0, 64), exit()], EINVAL, "invalid shift 64"],
  ["a 32-bit shift by 32", [r0, asm.aluImm("arsh", 0, 32, 32), exit()], EINVAL, "invalid shift 32"],
  ["a shift by -1", [r0, asm.aluImm("rsh", 0, -1), exit()], EINVAL, "invalid shift -1"],
  [
    "an addition with an offset",
    [{ ...asm.aluImm("add", 0, 1), off: 3 }, exit()],
    EINVAL,
    "BPF_ALU uses reserved fields",
  ],
  ["a move with both operands", [raw(0xbf, { imm: 5 }), exit()], EINVAL, "BPF_MOV uses reserved fields"],
  ["a negation with an operand", [raw(0x87, { imm: 5 }), exit()], EINVAL, "BPF_NEG uses reserved fields"],
  ["a byte swap of 24 bits", [raw(0xdc, { imm: 24 }), exit()], EINVAL, "BPF_END uses reserved fields"],
  [
    "a load with an immediate",
    [{ ...asm.load(8, 0, 1), imm: 1 }, exit()],
    EINVAL,
    "BPF_LDX uses reserved fields",
  ],
  [
    "a store with an immediate",
    [{ ...asm.storeReg(8, 10, -8, 1), imm: 1 }, exit()],
    EINVAL,
    "BPF_STX uses reserved fields",
  ],
  [
    "a constant store with a source",
    [{ ...asm.storeImm(8, 10, -8, 1), src: 1 }, exit()],
    EINVAL,
    "BPF_ST uses reserved fields",
  ],
  [
    "an atomic without a meaning",
    [raw(0xdb, { dst: 10, off: -8, imm: 0x20 }), exit()],
    EINVAL,
    "BPF_ATOMIC uses invalid atomic opcode 20",
  ],
  [
    "an atomic byte addition",
    [raw(0xd3, { dst: 10, off: -8 }), exit()],
    EINVAL,
    "invalid atomic operand size",
  ],
  ["a jump with an immediate", [raw(0x05, { imm: 1 }), exit()], EINVAL, "BPF_JA uses reserved fields"],
  [
    "a comparison with a spare source",
    [r0, raw(0x15, { src: 1 }), exit()],
    EINVAL,
    "BPF_JMP/JMP32 uses reserved fields",
  ],
  ["an exit with an immediate", [raw(0x95, { imm: 1 })], EINVAL, "BPF_EXIT uses reserved fields"],
  [
    "a call with a destination",
    [raw(0x85, { dst: 1, imm: 1 }), exit()],
    EINVAL,
    "BPF_CALL uses reserved fields",
  ],
  [
    "a packet load in a kprobe",
    [asm.packetAbs(1, 0), exit()],
    EINVAL,
    "BPF_LD_[ABS|IND] instructions not allowed for this program type",
  ],
  ["a helper that no kernel has", [asm.call(1_234_567), exit()], EINVAL, "invalid func unknown#1234567"],
  [
    "a helper of other program types",
    [asm.call(46), exit()],
    EINVAL,
    "program of this type cannot use helper bpf_get_socket_cookie#46",
  ],
  [
    "a GPL helper in a proprietary program",
    [asm.call(6), exit()],
    EINVAL,
    "cannot call GPL-restricted function from non-GPL compatible program",
    { license: "Proprietary" },
  ],
  [
    "a kernel function without BTF",
    [asm.callKfunc(5), exit()],
    ENOTSUPP,
    "calling kernel function is not supported without CONFIG_DEBUG_INFO_BTF",
  ],
  [
    "a BTF id that is no function",
    [asm.callKfunc(5), exit()],
    EINVAL,
    "kernel btf_id 5 is not a function",
    { kfunc: () => undefined },
  ],
  [
    "a store above the stack",
    [asm.storeImm(8, 10, 0, 0), exit()],
    EACCES,
    "invalid write to stack R10 off=0 size=8",
  ],
  [
    "a store below the stack",
    [asm.storeImm(8, 10, -520, 0), exit()],
    EACCES,
    "invalid write to stack R10 off=-520 size=8",
  ],
  [
    "a load below the stack",
    [asm.load(1, 0, 10, -513), exit()],
    EACCES,
    "invalid read from stack R10 off=-513 size=1",
  ],
  [
    "a misaligned stack access",
    [asm.storeImm(8, 10, -4, 0), exit()],
    EACCES,
    "misaligned stack access off 0+0+-4 size 8",
  ],
  ["nine frames", nested(9), E2BIG, "the call stack of 9 frames is too deep"],
  [
    "recursion",
    [asm.callLocal(1), exit(), asm.callLocal(-1), exit()],
    E2BIG,
    "the call stack of 9 frames is too deep",
  ],
  [
    "two frames of 304 bytes",
    [asm.callLocal(2), asm.storeImm(1, 10, -300, 0), exit(), asm.storeImm(1, 10, -300, 0), r0, exit()],
    EACCES,
    "combined stack size of 2 calls is 608. Too large",
  ],
  [
    "a loop of the unprivileged",
    [r0, asm.jumpImm("jne", 0, 0, -2), exit()],
    EINVAL,
    "back-edge from insn 1 to 0",
    { privileges: UNPRIVILEGED, programType: SOCKET_FILTER },
  ],
  [
    "a function of the unprivileged",
    [asm.callLocal(1), exit(), r0, exit()],
    EPERM,
    "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN",
    { privileges: UNPRIVILEGED, programType: SOCKET_FILTER },
  ],
];

test.each(REFUSED)("%s is refused", (_, parts, errno, message, extra) => {
  const verdict = verifyProgram(env(parts, extra));
  const lines = verdict.log.trimEnd().split("\n");
  expect({
    ok: verdict.ok,
    errno: verdict.ok ? undefined : verdict.errno.name,
    message: lines.at(-2),
  }).toEqual({
    ok: false,
    errno: errno.name,
    message,
  });
  expect(lines.at(-1)).toMatch(STATISTICS);
});

const ACCEPTED: readonly [string, Parts, Extra?][] = [
  ["the smallest program", [r0, exit()]],
  ["eight frames", nested(8)],
  ["a bounded loop", [movImm(0, 9), asm.aluImm("sub", 0, 1), asm.jumpImm("jne", 0, 0, -2), exit()]],
  ["a whole frame", [asm.storeImm(8, 10, -512, 1), asm.load(8, 0, 10, -512), exit()]],
  [
    "a packet load in a socket filter",
    [asm.movReg(6, 1), asm.packetInd(4, 1, 3), exit()],
    { programType: SOCKET_FILTER },
  ],
  [
    "sign extensions, swaps, atomics",
    [
      asm.movsx(8, 0, 1),
      asm.bswap(64, 0),
      asm.storeImm(8, 10, -8, 0),
      asm.atomic("fetch_add", 8, 10, -8, 0),
      asm.mayGoto(0),
      asm.gotol(0),
      exit(),
    ],
  ],
  [
    "a GPL helper",
    [asm.movReg(1, 10), asm.aluImm("add", 1, -8), asm.movImm(2, 8), asm.movImm(3, 0), asm.call(113), exit()],
    { license: "Dual BSD/GPL" },
  ],
  [
    "kernel functions that exist",
    [kfunc("bpf_rcu_read_lock"), kfunc("bpf_rcu_read_unlock"), r0, exit()],
    { kfunc: (id) => SECTIONS.type(id)?.name, kfuncRules: linuxKfunc, kernelBtf: SECTIONS },
  ],
];

test.each(ACCEPTED)("%s is accepted", (_, parts, extra) => {
  const verdict = verifyProgram(env(parts, extra));
  expect({ ok: verdict.ok, log: verdict.log }).toEqual({
    ok: true,
    log: expect.stringMatching(STATISTICS),
  });
});

describe("sizes", () => {
  test.each([
    ["an empty program", 0, true],
    ["a program of a million and one instructions", 1_000_001, true],
    ["an unprivileged program of 4097 instructions", 4097, false],
  ])("%s is E2BIG, without a log", (_, count, isCapable) => {
    const privileges = isCapable ? PRIVILEGED : UNPRIVILEGED;
    const insns = Array.from({ length: count }, () => exit());
    expect(verifyProgram({ ...env([]), insns, privileges })).toMatchObject({
      ok: false,
      errno: E2BIG,
      log: "",
    });
  });
});

test("map references become addresses, and their fds are listed once", () => {
  const fdArray = (index: number) => (index === 0 ? 4 : EBADF);
  const verdict = verifyProgram(
    env([asm.mapFd(1, 3), asm.mapValue(2, 3, 16), asm.wide(3, 0, 0, "MAP_IDX"), r0, exit()], { fdArray }),
  );
  expect(verdict).toMatchObject({ ok: true, usedMapFds: [3, 4] });
  expect(verdict.ok && verdict.insns.slice(0, 6)).toEqual(
    program(
      asm.wide(1, 0x5_0000, 0xffff_ffd6),
      asm.wide(2, 0x6_0010, 0xffff_ffd6),
      asm.wide(3, 0x5_1000, 0xffff_ffd6),
    ),
  );
});

test("whether a program may use a map is asked before where its values lie", () => {
  const arena = { ...map(0x7_0000, 0), type: 33 };
  const parts = [asm.mapValue(1, 3, 8), r0, exit()];
  const of = (privileges: ProgramEnv["privileges"]): string =>
    verifyProgram(env(parts, { map: () => arena, programType: SOCKET_FILTER, privileges })).log;
  expect(of(UNPRIVILEGED)).toContain("CAP_BPF and CAP_PERFMON are required to use arena");
  expect(of(PRIVILEGED)).toContain("no direct value access support for this map type");
});

describe("a helper of Linux that this kernel lacks", () => {
  const absentHelper = (id: number): string | undefined => (id === 35 ? "tasks are not told" : undefined);
  const lines = (parts: Parts): readonly string[] => {
    const verdict = verifyProgram(env(parts, { absentHelper }));
    return verdict.ok ? ["accepted"] : [verdict.errno.name, ...verdict.log.split("\n").slice(0, -2)];
  };
  const words = "unknown func bpf_get_current_task#35: tasks are not told";

  test("is refused where all else is right, in the words that loaders look for", () => {
    expect(lines([asm.call(35), exit()])).toEqual(["EINVAL", `insn 0: ${words}`]);
  });
  test("is told of after another refusal, so that a loader's trial finds it missing", () => {
    const [errno, ...log] = lines([asm.call(35), asm.movReg(0, 4), exit()]);
    expect([errno, ...log.slice(-2)]).toEqual(["EACCES", "R4 !read_ok", `insn 0: ${words}`]);
  });
  test("may be called where no path leads", () => {
    expect(lines([r0, asm.jumpImm("jeq", 0, 0, 1), asm.call(35), exit()])).toEqual(["accepted"]);
  });
});

// What `aya` and `bpftool feature probe` search the log for, with the log as Linux 6.18 writes it.
test("the probe of an unknown helper gets Linux's log", () => {
  expect(verifyProgram(env([asm.call(1_234_567), exit()])).log).toBe(
    [
      "0: R1=ctx() R10=fp0",
      "0: (85) call unknown#1234567",
      "invalid func unknown#1234567",
      "processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0",
      "",
    ].join("\n"),
  );
});

test("level 2 names the functions, level 0 says nothing", () => {
  const parts = [asm.callLocal(1), exit(), r0, exit()];
  expect(verifyProgram(env(parts, { log: { level: LOG.LEVEL2 } })).log).toMatch(
    /^func#0 @0\nfunc#1 @2\nLive regs before insn:\n/u,
  );
  expect(verifyProgram(env([exit(), exit()], { log: { level: 0 } })).log).toBe("");
});
