/**
 * Rules that depend on the program's type, attach type or functions, as pairs of programs: one that keeps the rule and one that
 * breaks it, with the end of the log.
 */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { declare } from "../test/declare.ts";
import type { MapInfo, ProgramBtf } from "./env.ts";
import { linuxHelper } from "./linux/helpers.ts";
import { linuxProgramType } from "./linux/program-types.ts";
import { verifyProgram } from "./verify-program.ts";
import { PRIVILEGED } from "./privileges.ts";

const SOCKETS: MapInfo = {
  address: 0x10_0000,
  valuesAddress: undefined,
  name: "",
  flags: 0,
  inner: undefined,
  fields: [],
  isFrozen: false,
  constantAt: undefined,
  btf: undefined,
  btfValueType: 0,
  maxEntries: 1,
  type: 15,
  keySize: 4,
  valueSize: 4,
};

const ARENA: MapInfo = {
  ...SOCKETS,
  address: 0x20_0000,
  valuesAddress: 0x30_0000,
  addressableBytes: 8192,
  maxEntries: 2,
  type: 33,
  keySize: 0,
  valueSize: 0,
};
const PROGRAMS: MapInfo = { ...SOCKETS, type: 3, maxEntries: 4 };
const MAPS: Record<number, MapInfo> = { 3: SOCKETS, 4: ARENA, 5: PROGRAMS };

/** Loads of this number load the map; with an arena, this and an offset in it. */
const MARK = 0x4d41_5000;
const ARENA_MARK = 0x4d42_0000;

function programOf(text: string): Insn[] {
  const marked = text
    .replaceAll("= map sockets", `= 0x${MARK.toString(16)}`)
    .replaceAll("= map programs", `= 0x${(MARK + 2).toString(16)}`)
    .replaceAll(/= arena (\d+)/g, (_, offset: string) => `= 0x${(ARENA_MARK + Number(offset)).toString(16)}`);
  const insns = assemble(marked);
  if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}\n${text}`);
  return insns.map((insn, i) => {
    const first = insns[i - 1];
    if (first?.opcode === 0x18 && first.imm >= ARENA_MARK) return { ...insn, imm: first.imm - ARENA_MARK };
    if (insn.opcode !== 0x18) return insn;
    return insn.imm >= ARENA_MARK
      ? { ...insn, src: 2, imm: 4 }
      : { ...insn, src: 1, imm: insn.imm - MARK + 3 };
  });
}

interface Program {
  readonly type: number;
  readonly attachType?: number;
  readonly license?: string;
  readonly text: string;
  /** Declarations of its functions, and the instructions at which they begin. */
  readonly functions?: readonly [declarations: string, starts: readonly number[]];
}

function programBtf([declarations, starts]: readonly [string, readonly number[]]): ProgramBtf {
  const btf = declare(declarations);
  const ids = [...btf.types()].filter(([, { kind }]) => kind === "func").map(([id]) => id);
  return { btf, functions: starts.map((insn, i) => ({ insn, type: ids[i]! })), lines: [] };
}

/** The last two lines of a refusal's log, without the statistics. */
function answer({ type, attachType = 0, license = "GPL", text, functions }: Program): string {
  const verdict = verifyProgram({
    insns: programOf(text),
    programType: linuxProgramType(type, attachType)!,
    helper: (id) => linuxHelper(id, type),
    map: (fd) => MAPS[fd] ?? EBADF,
    addressHigh: 0xffff_8881,
    license,
    privileges: PRIVILEGED,
    log: { level: 1 },
    kernelBtf: undefined,
    program: functions === undefined ? undefined : programBtf(functions),
    attach: undefined,
    isSleepable: type === SYSCALL,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  });
  return verdict.ok ? "accepted" : verdict.log.trimEnd().split("\n").slice(-3, -1).join("\n");
}

const EXIT = "r0 = 0\nexit";
const TAIL_CALLS = (after: string): string =>
  `r6 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr4 = r6\nr4 += 14\nif r4 > r3 goto pc+2\ncall pc+3\n${after}\n${EXIT}\nr2 = map programs\nr3 = 0\ncall bpf_tail_call#12\n${EXIT}`;
const PASS = `call pc+1\nexit\n${EXIT}`;
const takes = (words: number): NonNullable<Program["functions"]> => [
  `struct words { u64 word[${words}]; }; int main(void *ctx); global int f(struct words *p);`,
  [0, 2],
];
const FORGET = `*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map sockets\ncall bpf_map_delete_elem#3\n${EXIT}`;
const PACKET_FUNCTION = "r6 = r1\nr0 = *(u32 *)skb[0]\nr0 = 1\nexit";
const CALLS = (then: string): string => `call pc+3\n${then}\nr0 = 0\nexit\n${PACKET_FUNCTION}`;
const OPTION = (size: number): string =>
  `r2 = *(u64 *)(r1 +8)\nr3 = *(u64 *)(r1 +16)\nr4 = r2\nr4 += 1\nif r4 > r3 goto pc+1\n*(u${8 * size} *)(r2 +0) = 0\nr0 = 1\nexit`;
const SIGNED = `call bpf_get_prandom_u32#7\nif w0 s> 0x2 goto pc+2\nif w0 s< 0x0 goto pc+1\nr0 = r9\n${EXIT}`;

const [SOCKET_FILTER, KPROBE, SCHED_CLS, XDP, PERF_EVENT, SOCK_OPS, SOCK_ADDR, SOCKOPT, SYSCALL] = [
  1, 2, 3, 6, 7, 13, 18, 25, 31,
];

interface Rule {
  readonly rule: string;
  readonly kept: Program;
  readonly broken: Program;
  readonly message: string;
}

const POP = (call: string): string =>
  `*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += -8\nr3 = r2\nr4 = 0\nr1 = map sockets\n${call}\n${EXIT}`;
const ROUTE = (size: number): string =>
  `r2 = r10\nr2 += -64\nr3 = ${size}\nr4 = 0\ncall bpf_fib_lookup#69\n${EXIT}`;
const TASK = `call bpf_get_current_task#35\n${EXIT}`;
const SIGNAL = `r1 = 9\ncall bpf_send_signal#109\n${EXIT}`;

const RULES: readonly Rule[] = [
  {
    rule: "sockets are looked up in maps of sockets, but not taken out",
    kept: { type: SCHED_CLS, text: FORGET },
    broken: { type: SCHED_CLS, text: POP("call bpf_map_pop_elem#88") },
    message: "invalid arg_type for sockmap/sockhash",
  },
  {
    rule: "a lookup of a route writes what it is given",
    kept: { type: SCHED_CLS, text: ROUTE(64) },
    broken: { type: SCHED_CLS, text: ROUTE(72) },
    message: "invalid write to stack R2 off=-64 size=72",
  },
  {
    rule: "some helpers are for programs under the GPL",
    kept: { type: KPROBE, license: "MIT", text: SIGNAL },
    broken: { type: KPROBE, license: "MIT", text: TASK },
    message: "cannot call GPL-restricted function from non-GPL compatible program",
  },
  {
    rule: "stacks are for them too, but for programs of perf events",
    kept: {
      type: PERF_EVENT,
      license: "MIT",
      text: `r2 = r1\nr0 = 0\nif r0 == 0x0 goto pc+1\ncall bpf_get_stackid#27\n${EXIT}`,
    },
    broken: { type: KPROBE, license: "MIT", text: `call bpf_get_stackid#27\n${EXIT}` },
    message: "cannot call GPL-restricted function from non-GPL compatible program",
  },
  {
    rule: "programs of sessions say whether the return is wanted",
    kept: { type: KPROBE, attachType: 56, text: "r0 = 1\nexit" },
    broken: { type: KPROBE, attachType: 56, text: "r0 = 2\nexit" },
    message: "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]",
  },
  {
    rule: "programs that may run with a socket locked do not change maps of sockets",
    kept: { type: SOCKET_FILTER, text: FORGET },
    broken: { type: KPROBE, text: FORGET },
    message: "cannot update sockmap in this context\ncannot pass map_type 15 into func bpf_map_delete_elem#3",
  },
  {
    rule: "socket operations only take sockets out of maps of sockets",
    kept: { type: SOCK_OPS, attachType: 3, text: FORGET },
    broken: {
      type: SOCK_OPS,
      attachType: 3,
      text: FORGET.replace(
        "call bpf_map_delete_elem#3",
        "r3 = *(u64 *)(r6 +184)\nr4 = 0\ncall bpf_map_update_elem#2",
      )
        .replace(/^/, "r6 = r1\n")
        .replace("r4 = 0", "if r3 == 0x0 goto pc+2\nr4 = 0"),
    },
    message: "cannot update sockmap in this context\ncannot pass map_type 15 into func bpf_map_update_elem#2",
  },
  {
    rule: "a program that sees who sent to a unix socket cannot refuse",
    kept: { type: SOCK_ADDR, attachType: 51, text: "r0 = 1\nexit" },
    broken: { type: SOCK_ADDR, attachType: 51, text: EXIT },
    message: "1: (95) exit\nAt program exit the register R0 has smin=0 smax=0 should have been in [1, 1]",
  },
  {
    rule: "functions are passed contexts that the kernel does not translate as memory",
    kept: { type: SYSCALL, text: PASS, functions: takes(21) },
    broken: { type: SOCKET_FILTER, text: PASS, functions: takes(21) },
    message: "R1 type=ctx expected=fp\nCaller passes invalid args into func#1 ('f')",
  },
  {
    rule: "the context has all of the memory that a function takes",
    kept: { type: SYSCALL, text: PASS, functions: takes(22) },
    broken: { type: KPROBE, text: PASS, functions: takes(22) },
    message: "invalid bpf_context access off=175 size=1\nCaller passes invalid args into func#1 ('f')",
  },
  {
    rule: "a function returns 0 where a packet ends before what it loads",
    kept: {
      type: SOCKET_FILTER,
      text: CALLS("if r0 == 0x0 goto pc+0"),
      functions: ["int main(void *ctx); int f(void *ctx);", [0, 4]],
    },
    broken: {
      type: SOCKET_FILTER,
      text: CALLS("if r0 == 0x1 goto pc+1\nr1 = r9").replace("call pc+3", "call pc+4"),
      functions: ["int main(void *ctx); int f(void *ctx);", [0, 5]],
    },
    message: "2: (bf) r1 = r9\nR9 !read_ok",
  },
  {
    rule: "functions that load from packets return numbers",
    kept: {
      type: SOCKET_FILTER,
      text: CALLS("r0 = 0"),
      functions: ["int main(void *ctx); int f(void *ctx);", [0, 4]],
    },
    broken: {
      type: SOCKET_FILTER,
      text: CALLS("r0 = 0"),
      functions: ["int main(void *ctx); void f(void *ctx);", [0, 4]],
    },
    message: "LD_ABS is only allowed in functions that return 'int'.",
  },
  {
    rule: "functions that tail-call return numbers",
    kept: {
      type: SOCKET_FILTER,
      text: `call pc+2\n${EXIT}\n${EXIT}`,
      functions: ["int main(void *ctx); void f(void *ctx);", [0, 3]],
    },
    broken: {
      type: SOCKET_FILTER,
      text: `call pc+2\n${EXIT}\ncall bpf_tail_call#12\n${EXIT}`,
      functions: ["int main(void *ctx); void f(void *ctx);", [0, 3]],
    },
    message: "tail_call is only allowed in functions that return 'int'.",
  },
  {
    rule: "packet pointers of a caller end where a function tail-calls",
    kept: {
      type: SCHED_CLS,
      text: TAIL_CALLS("r0 = 1"),
      functions: ["int main(void *ctx); int f(void *ctx);", [0, 9]],
    },
    broken: {
      type: SCHED_CLS,
      text: TAIL_CALLS("r0 = *(u8 *)(r6 +0)"),
      functions: ["int main(void *ctx); int f(void *ctx);", [0, 9]],
    },
    message: "R6 invalid mem access 'scalar'",
  },
  {
    rule: "addresses of unix sockets have no numbers",
    kept: { type: SOCK_ADDR, attachType: 10, text: `r2 = *(u32 *)(r1 +4)\nr0 = 1\nexit` },
    broken: { type: SOCK_ADDR, attachType: 49, text: `r2 = *(u32 *)(r1 +4)\nr0 = 1\nexit` },
    message: "invalid bpf_context access off=4 size=4",
  },
  {
    rule: "programs on redirected packets see the device that they leave by",
    kept: { type: XDP, attachType: 33, text: `r0 = *(u32 *)(r1 +20)\n${EXIT}` },
    broken: { type: XDP, attachType: 37, text: `r0 = *(u32 *)(r1 +20)\n${EXIT}` },
    message: "0: (61) r0 = *(u32 *)(r1 +20)\ninvalid bpf_context access off=20 size=4",
  },
  {
    rule: "programs on socket options write them between their beginning and their end",
    kept: { type: SOCKOPT, attachType: 21, text: OPTION(1) },
    broken: { type: SOCKOPT, attachType: 21, text: OPTION(2) },
    message: "R2 offset is outside of the packet",
  },
  {
    rule: "values of an arena are named anywhere in it",
    kept: { type: SCHED_CLS, text: `r1 = arena 8191\n${EXIT}` },
    broken: { type: SCHED_CLS, text: `r1 = arena 8192\n${EXIT}` },
    message: "invalid access to map value pointer, value_size=0 off=8192",
  },
  {
    rule: "a signed range that wraps loses the piece that is out of the unsigned range",
    kept: {
      type: SOCKET_FILTER,
      text: SIGNED.replace("goto pc+2", "goto pc+3")
        .replace("#7\n", "#7\nif w0 < 0x5 goto pc+3\n")
        .replace("goto pc+3\nif w0 s<", "goto pc+2\nif w0 s<"),
    },
    broken: { type: SOCKET_FILTER, text: SIGNED },
    message: "3: (bf) r0 = r9\nR9 !read_ok",
  },
];

test.each(RULES)("$rule", ({ kept, broken, message }) => {
  expect(answer(kept)).toBe("accepted");
  expect(answer(broken)).toContain(message);
});

test("iterators over sockets of TCP and unix get and set options", () => {
  const mayCall = (name: string): boolean => linuxProgramType(26, 28, name)!.allowsHelper(57);
  expect(["bpf_iter_tcp", "bpf_iter_unix", "bpf_iter_udp"].map(mayCall)).toEqual([true, true, false]);
});

test("programs on unix sockets set the result where the call can still fail", () => {
  const mayCall = (attachType: number): boolean => linuxProgramType(SOCK_ADDR, attachType)!.allowsHelper(187);
  expect([49, 50, 51, 52, 53].map(mayCall)).toEqual([true, true, false, false, false]);
});
