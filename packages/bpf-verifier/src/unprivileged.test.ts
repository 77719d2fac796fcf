/**
 * What loaders without CAP_PERFMON, and without CAP_BPF too, get: paths that are only walked by mistake, barriers, masks.
 * `r1 = map hash` loads a map. Their rules are in `privileges.test.ts`.
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

const CAPABLE = privilegesOf({ hasCapBpf: true, hasCapPerfmon: false, hasCapNetAdmin: true });
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
