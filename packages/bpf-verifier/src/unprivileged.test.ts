/**
 * Rules for loaders without CAP_PERFMON, and without CAP_BPF too, as pairs of programs: one that keeps the rule and one that
 * breaks it, with the message of Linux 6.18. `r1 = map hash` loads a map.
 */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble, disassemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import type { MapInfo, ProgramEnv } from "./env.ts";
import { linuxHelper } from "./linux/helpers.ts";
import { linuxProgramType } from "./linux/program-types.ts";
import { PRIVILEGED, UNPRIVILEGED, privilegesOf } from "./privileges.ts";
import type { Verdict } from "./verdict.ts";
import { verifyProgram } from "./verify-program.ts";

const map = (type: number, keySize: number, valueSize: number, extra: Partial<MapInfo> = {}): MapInfo => ({
  address: 0x10_0000 + type,
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
  type,
  keySize,
  valueSize,
  ...extra,
});

const MAPS: Record<string, MapInfo> = {
  hash: map(1, 8, 48),
  small: map(1, 8, 16),
  array: map(2, 4, 48),
  progs: map(3, 4, 4),
  others: map(3, 4, 4, { maxEntries: 8 }),
  arena: map(33, 0, 0),
  masked: map(3, 4, 4, { maxEntries: 3, bypassesSpecV1: false }),
  trusted: map(3, 4, 4, { maxEntries: 8, bypassesSpecV1: true, address: 0x20_0000 }),
  free: map(3, 4, 4, { maxEntries: 4, bypassesSpecV1: true, address: 0x30_0000 }),
};
const FDS = Object.keys(MAPS);
const MARK = 0x4d41_5000;

function programOf(text: string): Insn[] {
  const named = text.replaceAll(
    /= map (\w+)/g,
    (_, name: string) => `= 0x${(MARK + FDS.indexOf(name)).toString(16)}`,
  );
  const insns = assemble(named);
  if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}\n${named}`);
  return insns.map((insn) =>
    insn.opcode === 0x18 && insn.imm >= MARK && insn.imm < MARK + 16
      ? { ...insn, src: 1, imm: insn.imm - MARK }
      : insn,
  );
}

const CAPABLE = privilegesOf({ hasCapBpf: true, hasCapPerfmon: false });
const TYPES: Record<string, number> = { socket_filter: 1, sched_cls: 3, cgroup_skb: 8 };

function verdictOn(type: string, text: string, privileges = CAPABLE, level = 1): Verdict {
  const env: ProgramEnv = {
    insns: programOf(text),
    programType: linuxProgramType(TYPES[type]!, 0)!,
    helper: linuxHelper,
    map: (fd) => MAPS[FDS[fd] ?? ""] ?? EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges,
    log: { level },
    kernelBtf: undefined,
    program: undefined,
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  };
  return verifyProgram(env);
}

function messageOf(verdict: Verdict): string {
  if (verdict.ok) return "accepted";
  const lines = verdict.log.trimEnd().split("\n");
  return lines.at(-2) ?? "";
}

const EXIT = "r0 = 0\nexit";
const LOOKUP = `*(u64 *)(r10 -8) = 0
r2 = r10
r2 += -8
r1 = map hash
call bpf_map_lookup_elem#1`;
const ELEMENT = LOOKUP.replace("hash", "array").replace("u64", "u32");
const VALUE = `r6 = r1\n${LOOKUP}\nif r0 != 0x0 goto pc+1\nexit`;
const PROHIBITED = "pointer arithmetic with it prohibited for !root";

/** Rule, program type, what keeps it, what breaks it, the message. */
const RULES: readonly (readonly [string, string, string, string, string])[] = [
  [
    "no address is returned",
    "socket_filter",
    `r0 = *(u32 *)(r1 +0)\nexit`,
    `r0 = r10\nexit`,
    "R0 leaks addr as return value",
  ],
  [
    "no address is stored in a map",
    "socket_filter",
    `${VALUE}\n*(u64 *)(r0 +0) = 1\n${EXIT}`,
    `${VALUE}\n*(u64 *)(r0 +0) = r10\n${EXIT}`,
    "R10 leaks addr into map",
  ],
  [
    "no helper is given what nobody wrote, beside a number in a part of a slot",
    "sched_cls",
    `${LOOKUP}\n${EXIT}`,
    `${LOOKUP.replace("u64", "u32")}\n${EXIT}`,
    "invalid read from stack R2 off -8+4 size 8",
  ],
  [
    "no address is stored in a context",
    "sched_cls",
    `r2 = 1\n*(u32 *)(r1 +8) = r2\n${EXIT}`,
    `*(u64 *)(r1 +48) = r1\n${EXIT}`,
    "R1 leaks addr into ctx",
  ],
  [
    "no address is added atomically",
    "socket_filter",
    `${VALUE}\nr1 = 1\nlock *(u64 *)(r0 +0) += r1\n${EXIT}`,
    `${VALUE}\nlock *(u64 *)(r0 +0) += r6\n${EXIT}`,
    "R6 leaks addr into mem",
  ],
  [
    "no address is an argument of any kind",
    "sched_cls",
    `r1 = 1\nr2 = 0\ncall bpf_redirect#23\n${EXIT}`,
    `r2 = 0\ncall bpf_redirect#23\n${EXIT}`,
    "R1 leaks addr into helper function",
  ],
  [
    "addresses are compared with NULL alone",
    "socket_filter",
    `${LOOKUP}\nif r0 == 0x0 goto pc+0\n${EXIT}`,
    `if r1 == 0x7 goto pc+0\n${EXIT}`,
    "R1 pointer comparison prohibited",
  ],
  [
    "addresses are not subtracted",
    "socket_filter",
    `r2 = 4\nr2 -= 1\n${EXIT}`,
    `r2 = r10\nr2 -= r10\n${EXIT}`,
    "R2 pointer -= pointer prohibited",
  ],
  [
    "addresses are not copied in part",
    "socket_filter",
    `r2 = 1\nw3 = w2\n${EXIT}`,
    `w3 = w1\n${EXIT}`,
    "R1 partial copy of pointer",
  ],
  [
    "addresses are not negated",
    "socket_filter",
    `r2 = 1\nr2 = -r2\n${EXIT}`,
    `r1 = -r1\n${EXIT}`,
    "R1 pointer arithmetic prohibited",
  ],
  [
    "what was never written is not read",
    "socket_filter",
    `*(u64 *)(r10 -8) = 1\nr2 = *(u64 *)(r10 -8)\n${EXIT}`,
    `*(u32 *)(r10 -8) = 1\nr2 = *(u64 *)(r10 -8)\n${EXIT}`,
    "invalid read from stack off -8+4 size 8",
  ],
  [
    "what is below all that was written is not read",
    "socket_filter",
    `*(u64 *)(r10 -16) = 1\nr2 = *(u64 *)(r10 -16)\n${EXIT}`,
    `*(u64 *)(r10 -8) = 1\nr2 = *(u64 *)(r10 -16)\n${EXIT}`,
    "invalid read from stack R10 off=-16 size=8",
  ],
  [
    "a spilled pointer is not overwritten in part",
    "socket_filter",
    `*(u64 *)(r10 -8) = r1\n*(u64 *)(r10 -8) = 0\n${EXIT}`,
    `*(u64 *)(r10 -8) = r1\n*(u32 *)(r10 -8) = 0\n${EXIT}`,
    "attempt to corrupt spilled pointer on stack",
  ],
  [
    "a spilled pointer is not exchanged for a number",
    "socket_filter",
    `*(u64 *)(r10 -8) = 0\nr2 = 1\nr2 = atomic64_fetch_add((u64 *)(r10 -8), r2)\n${EXIT}`,
    `*(u64 *)(r10 -8) = r1\nr2 = 1\nr2 = atomic64_fetch_add((u64 *)(r10 -8), r2)\n${EXIT}`,
    "leaking pointer from stack off -8",
  ],
  [
    "pointers stay on the stack",
    "socket_filter",
    `r2 = r10\nr2 += -512\n${EXIT}`,
    `r2 = r10\nr2 += -513\n${EXIT}`,
    "R2 stack pointer arithmetic goes out of range, prohibited for !root; off=-513",
  ],
  [
    "pointers to the stack are where everybody knows",
    "socket_filter",
    `r2 = r10\nr3 = -8\nr2 += r3\n${EXIT}`,
    `r3 = *(u32 *)(r1 +0)\nr3 &= 8\nr3 += -16\nr2 = r10\nr2 += r3\n${EXIT}`,
    "R2 variable stack access prohibited for !root, var_off=(0xfffffffffffffff0; 0x8) off=-16",
  ],
  [
    "pointers stay in their value",
    "socket_filter",
    `${VALUE}\nr0 += 47\n${EXIT}`,
    `${VALUE}\nr0 += 48\n${EXIT}`,
    "R0 pointer arithmetic of map value goes out of range, prohibited for !root",
  ],
  [
    "only what has a size is added to",
    "socket_filter",
    `${VALUE}\nr1 = *(u8 *)(r0 +0)\nr1 &= 7\nr0 += r1\n${EXIT}`,
    `r2 = *(u32 *)(r1 +0)\nr1 += r2\n${EXIT}`,
    `R1 has pointer with unsupported alu operation, ${PROHIBITED}`,
  ],
  [
    "what is added has one sign",
    "socket_filter",
    `${VALUE}\nr1 = *(u8 *)(r0 +0)\nr1 &= 7\nr0 += r1\n${EXIT}`,
    `${VALUE}\nr1 = *(s8 *)(r0 +0)\nr0 += r1\n${EXIT}`,
    `R1 has unknown scalar with mixed signed bounds, ${PROHIBITED}`,
  ],
  [
    "a sum is one of pointers or one of numbers",
    "socket_filter",
    `${VALUE}\nr1 = *(u8 *)(r0 +0)\nr1 &= 1\nr2 = *(u8 *)(r0 +1)\nif r2 == 0x0 goto pc+1\nr0 += 4\nr0 += r1\n${EXIT}`,
    `${VALUE}\nr1 = *(u8 *)(r0 +0)\nr1 &= 1\nr2 = *(u8 *)(r0 +1)\nif r2 == 0x0 goto pc+1\nr0 = 4\nr0 += r1\n${EXIT}`,
    `R0 tried to add from different maps, paths or scalars, ${PROHIBITED}`,
  ],
  [
    "helpers of CAP_PERFMON are for those who have it",
    "socket_filter",
    `call bpf_get_prandom_u32#7\n${EXIT}`,
    `call bpf_get_current_task#35\n${EXIT}`,
    "program of this type cannot use helper bpf_get_current_task#35",
  ],
  [
    "a tail call has one map",
    "socket_filter",
    `r2 = map progs\nr3 = 1\ncall bpf_tail_call#12\n${EXIT}`,
    `r6 = r1\nr0 = *(u32 *)(r1 +0)\nr2 = map progs\nif r0 == 0x0 goto pc+2\nr2 = map others\nr1 = r6\nr3 = 1\ncall bpf_tail_call#12\n${EXIT}`,
    "tail_call abusing map_ptr",
  ],
  [
    "arenas are for those who may do everything",
    "socket_filter",
    `r1 = map hash\n${EXIT}`,
    `r1 = map arena\n${EXIT}`,
    "CAP_BPF and CAP_PERFMON are required to use arena",
  ],
  [
    "packets that moved leave nothing behind",
    "sched_cls",
    `r6 = *(u32 *)(r1 +76)\nr2 = 0\ncall bpf_skb_pull_data#39\n${EXIT}`,
    `r6 = *(u32 *)(r1 +76)\nr2 = 0\ncall bpf_skb_pull_data#39\nr0 = r6\n${EXIT}`,
    "R6 !read_ok",
  ],
];

test.each(RULES)("%s", (_, type, kept, broken, message) => {
  expect(messageOf(verdictOn(type, kept))).toBe("accepted");
  expect(messageOf(verdictOn(type, broken))).toBe(message);
});

/** Rules for those who have neither capability. */
const WITHOUT_BPF: typeof RULES = [
  [
    "jumps lead forward",
    "socket_filter",
    `r0 = 2\nif r0 != 0x0 goto pc+0\n${EXIT}`,
    `r0 = 2\nr0 += -1\nif r0 != 0x0 goto pc-2\nexit`,
    "back-edge from insn 2 to 1",
  ],
  [
    "jumps that may end loops are no exception, and what follows one is looked at first",
    "socket_filter",
    `r0 = 2\nmay_goto pc+1\nr0 = 3\n${EXIT}`,
    `r0 = 2\nmay_goto pc-1\nif r0 > 0xa goto pc-2\n${EXIT}`,
    "back-edge from insn 2 to 1",
  ],
  [
    "a lookup in an array may fail, whatever the key",
    "socket_filter",
    `${ELEMENT}\nif r0 == 0x0 goto pc+1\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    `${ELEMENT}\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    "R0 invalid mem access 'map_value_or_null'",
  ],
  [
    "programs have one function",
    "socket_filter",
    EXIT,
    `call pc+1\nexit\n${EXIT}`,
    "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN",
  ],
  [
    "helpers of CAP_BPF are for those who have it",
    "socket_filter",
    `call bpf_get_current_uid_gid#15\n${EXIT}`,
    `call bpf_jiffies64#118\n${EXIT}`,
    "program of this type cannot use helper bpf_jiffies64#118",
  ],
  [
    "packets of cgroups are not read directly",
    "cgroup_skb",
    `r0 = *(u32 *)(r1 +0)\n${EXIT}`,
    `r0 = *(u32 *)(r1 +76)\n${EXIT}`,
    "invalid bpf_context access off=76 size=4",
  ],
  [
    "times of packets are not written",
    "cgroup_skb",
    `r0 = *(u64 *)(r1 +152)\n${EXIT}`,
    `r0 = 0\n*(u64 *)(r1 +152) = r0\n${EXIT}`,
    "invalid bpf_context access off=152 size=8",
  ],
];

test.each(WITHOUT_BPF)("without CAP_BPF %s", (_, type, kept, broken, message) => {
  expect(messageOf(verdictOn(type, kept, UNPRIVILEGED))).toBe("accepted");
  expect(messageOf(verdictOn(type, broken, UNPRIVILEGED))).toBe(message);
});

test("with CAP_BPF a lookup in an array succeeds where the key is known", () => {
  expect(messageOf(verdictOn("socket_filter", `${ELEMENT}\nr0 = *(u8 *)(r0 +0)\n${EXIT}`))).toBe("accepted");
});

test("a mispredicted jump is walked, and a barrier ends it where it would do what is forbidden", () => {
  const verdict = verdictOn(
    "socket_filter",
    `r0 = 0\nif r0 == 0x0 goto pc+1\nr0 = *(u8 *)(r0 +0)\nexit`,
    CAPABLE,
    2,
  );
  expect(verdict.ok).toBe(true);
  expect(verdict.log).toContain("from 1 to 2 (speculative execution): R0=scalar() R1=ctx() R10=fp0");
  expect(verdict.log).toContain("R0 invalid mem access 'scalar'");
});

test("addresses of maps are not told, and without CAP_BPF every number counts", () => {
  const { log } = verdictOn("socket_filter", `r1 = map hash\n${EXIT}`, UNPRIVILEGED, 2);
  expect(log).toContain("(18) r1 = 0x0 ");
  expect(log).toContain("R0=P0");
});

test("without CAP_BPF all numbers of an equal state are told to matter", () => {
  const long = "r3 = 1\n".repeat(8);
  const joined = `r2 = *(u32 *)(r1 +0)\nr4 = *(u32 *)(r1 +0)\nif r4 > 0x7 goto pc+0\n${long}if r4 > 0x9 goto pc+0\nr0 = r2\nexit`;
  expect(verdictOn("socket_filter", joined, UNPRIVILEGED, 2).log).toContain("frame 0: propagating r2");
});

function listed(text: string, privileges = CAPABLE): string {
  const verdict = verdictOn("socket_filter", text, privileges);
  if (!verdict.ok) throw new Error(verdict.log);
  const { insns } = verdict.xlated.listed ?? verdict.xlated;
  const lines = insns.map((insn, i) => disassemble(insn, insns[i + 1]).replace("(c2) ", ""));
  return lines.join("\n");
}

// What Linux 6.18 gives back for each (BPF_OBJ_GET_INFO_BY_FD).
test.each([
  [
    "a barrier stands before what a mispredicted path must not reach",
    `r2 = 0\nr3 = r1\nr0 = *(u32 *)(r1 +0)\nif r0 == 0x7 goto pc+2\nr3 = 1\nif r2 == 0x0 goto pc+1\nr0 = *(u32 *)(r3 +0)\n${EXIT}`,
    "r2 = 0\nr3 = r1\nr0 = *(u32 *)(r1 +0)\nif r0 == 0x7 goto pc+2\nr3 = 1\nif r2 == 0x0 goto pc+2\nnospec\nr0 = *(u32 *)(r3 +0)\nr0 = 0\nexit",
  ],
  [
    "a barrier stands behind a spill",
    `*(u64 *)(r10 -8) = r1\n${EXIT}`,
    "*(u64 *)(r10 -8) = r1\nnospec\nr0 = 0\nexit",
  ],
  [
    "a jump over a barrier leads to where it led",
    `r0 = *(u32 *)(r1 +0)\nif r0 == 0x7 goto pc+1\n*(u64 *)(r10 -8) = r1\n${EXIT}`,
    "r0 = *(u32 *)(r1 +0)\nif r0 == 0x7 goto pc+2\n*(u64 *)(r10 -8) = r1\nnospec\nr0 = 0\nexit",
  ],
])("%s", (_, given, expected) => {
  expect(listed(given)).toBe(expected);
});

test("what is added to a pointer is masked", () => {
  const text = listed(`${VALUE}\nr1 = *(u8 *)(r0 +0)\nr1 &= 7\nr0 += r1\n${EXIT}`);
  const mask = "w11 = 7\nr11 -= r1\nr11 |= r1\nr11 = -r11\nr11 s>>= 63\nr11 &= r1\nr0 += r11";
  expect(text).toContain(`r1 &= 7\n${mask}\nr0 = 0\nexit`);
});

test("the index of a tail call is bounded before it", () => {
  const text = listed(`r2 = map others\nr3 = 1\ncall bpf_tail_call#12\n${EXIT}`);
  expect(text).toContain("if r3 >= 0x8 goto pc+2\nw3 &= 7\ncall unknown#12");
});

// Who made the map decides, not who loads: Linux's bpf_map.bypass_spec_v1.
test.each([
  ["a user", UNPRIVILEGED],
  ["an administrator", PRIVILEGED],
])("%s masks indices into maps of those who must, and mixes only the others", (_, privileges) => {
  const mixed = (one: string, other: string): string =>
    `r6 = r1\nr0 = *(u32 *)(r1 +0)\nr2 = map ${one}\nif r0 == 0x0 goto pc+2\nr2 = map ${other}\nr1 = r6\nr3 = 1\ncall bpf_tail_call#12\n${EXIT}`;
  const answer = (text: string): string => messageOf(verdictOn("socket_filter", text, privileges));
  expect(answer(mixed("trusted", "free"))).toBe("accepted");
  expect(answer(mixed("trusted", "masked"))).toBe("tail_call abusing map_ptr");
  expect(answer(mixed("masked", "trusted"))).toBe("tail_call abusing map_ptr");
  const call = (name: string): string =>
    listed(`r3 = *(u32 *)(r1 +0)\nr2 = map ${name}\ncall bpf_tail_call#12\n${EXIT}`, privileges);
  expect(call("masked")).toContain("if r3 >= 0x3 goto pc+2\nw3 &= 3\ncall unknown#12");
  expect(call("trusted")).not.toContain("w3 &= ");
});
