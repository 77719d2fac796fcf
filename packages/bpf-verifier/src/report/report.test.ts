/** Refusals explained: the rule that was broken, what is shown of the registers, and what led there. */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import type { MapInfo } from "../env.ts";
import { linuxHelper } from "../linux/helpers.ts";
import { linuxProgramType } from "../linux/program-types.ts";
import { PRIVILEGED } from "../privileges.ts";
import { verifyWithReport } from "./report.ts";
import type { Report } from "./report.ts";

const HASH: MapInfo = {
  address: 0x10_0000,
  valuesAddress: undefined,
  name: "counts",
  flags: 0,
  inner: undefined,
  fields: [],
  isFrozen: false,
  constantAt: undefined,
  btf: undefined,
  btfValueType: 0,
  maxEntries: 4096,
  type: 1,
  keySize: 4,
  valueSize: 16,
};
const MAPS: Record<number, MapInfo> = {
  1: HASH,
  2: { ...HASH, type: 27, keySize: 0, valueSize: 0 },
  3: { ...HASH, type: 3, valueSize: 4 },
};
/** Loads of these numbers load maps. */
const MARK = 0x4d41_5000;

function explain(text: string, type = 3): Report {
  const insns = assemble(
    text
      .replaceAll("map hash ll", `0x${(MARK + 1).toString(16)}`)
      .replaceAll("map ringbuf ll", `0x${(MARK + 2).toString(16)}`)
      .replaceAll("map programs ll", `0x${(MARK + 3).toString(16)}`),
  );
  if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}`);
  const { report } = verifyWithReport({
    insns: insns.map((insn) =>
      insn.imm > MARK && insn.imm < MARK + 9 ? { ...insn, src: 1, imm: insn.imm - MARK } : insn,
    ),
    programType: linuxProgramType(type, 0)!,
    helper: linuxHelper,
    map: (fd) => MAPS[fd] ?? EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 0 },
    kernelBtf: undefined,
    program: undefined,
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  });
  if (report === undefined) throw new Error("accepted");
  return report;
}

const EXIT = "r0 = 0\nexit";
const LOOKUP = "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map hash ll\ncall bpf_map_lookup_elem#1";
const RESERVE = "r1 = map ringbuf ll\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve#131\nr6 = r0";
const PACKET = "r6 = r1\nr2 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr4 = r2\nr4 += 14";

/** Mistake, program, rule, the registers that are shown, the instructions that led there. */
const MISTAKES: readonly (readonly [string, string, string, string[], number[]])[] = [
  ["a value that may be NULL", `${LOOKUP}\nr1 = *(u32 *)(r0 +0)\n${EXIT}`, "null-check", ["r0"], [5]],
  ["a register without value", "r0 = r7\nexit", "uninitialised-register", ["r7"], []],
  [
    "an index without bound",
    `${LOOKUP}\nif r0 == 0x0 goto pc+3\nr1 = *(u32 *)(r0 +0)\nr0 += r1\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    "bounds",
    ["r0"],
    [5, 6, 7, 8],
  ],
  ["a packet that may be shorter", `${PACKET}\nr0 = *(u8 *)(r2 +0)\n${EXIT}`, "packet-bounds", ["r2"], [1]],
  [
    "a packet that was moved",
    `${PACKET}\nif r4 > r3 goto pc+5\nr7 = r2\nr1 = r6\nr2 = 0\ncall bpf_skb_pull_data#39\nr0 = *(u8 *)(r7 +0)\n${EXIT}`,
    "ended-pointer",
    ["r7"],
    [1, 6, 9],
  ],
  [
    "a record that was given away",
    `${RESERVE}\nif r6 == 0x0 goto pc+4\nr1 = r6\nr2 = 0\ncall bpf_ringbuf_submit#132\n*(u64 *)(r6 +0) = 1\n${EXIT}`,
    "ended-pointer",
    ["r6"],
    [4, 5, 6, 9],
  ],
  [
    "a record that is kept",
    `${RESERVE}\nif r6 == 0x0 goto pc+1\nr7 = 1\n${EXIT}`,
    "reference-leak",
    ["r0"],
    [4, 6],
  ],
  ["an array of the stack that is too small", `*(u64 *)(r10 -520) = 1\n${EXIT}`, "stack-bounds", ["r10"], []],
  [
    "a size that is too large",
    `call bpf_get_prandom_u32#7\nr0 &= 31\nr1 = r10\nr1 += -16\nr2 = r0\nr3 = 0\ncall bpf_probe_read_kernel#113\n${EXIT}`,
    "size",
    ["r1", "r2"],
    [0, 1, 2, 3, 4],
  ],
  [
    "a size that may be negative",
    `call bpf_get_prandom_u32#7\nr1 = r10\nr1 += -16\nr2 = r0\nr3 = 0\ncall bpf_probe_read_kernel#113\n${EXIT}`,
    "size",
    ["r2"],
    [0, 3],
  ],
  ["a loop without end", `r1 = 1\nif r1 != 0x0 goto pc-1\n${EXIT}`, "loop-end", ["r1"], [0, 1]],
  [
    "a map of another kind",
    `r1 = map programs ll\nr2 = r10\nr2 += -4\n*(u32 *)(r10 -4) = 0\ncall bpf_map_lookup_elem#1\n${EXIT}`,
    "map-type",
    ["r1", "r2"],
    [0, 2, 3],
  ],
  [
    "a tail call into a hash",
    `r2 = map hash ll\nr3 = 0\ncall bpf_tail_call#12\n${EXIT}`,
    "map-type",
    ["r1", "r2", "r3"],
    [0, 2],
  ],
  [
    "a number that is no pointer",
    `call bpf_get_current_task#35\nr0 = *(u32 *)(r0 +0)\n${EXIT}`,
    "number-as-pointer",
    ["r0"],
    [0],
  ],
  [
    "a helper of other programs",
    `r2 = 0\ncall bpf_xdp_adjust_head#44\n${EXIT}`,
    "unknown-helper",
    ["r1", "r2"],
    [0],
  ],
];

test.each(MISTAKES)("%s", (_, text, rule, registers, chain) => {
  const report = explain(text);
  expect({
    rule: report.rule,
    registers: report.registers.map(({ name }) => name),
    chain: report.chain.map(({ insn }) => insn),
  }).toEqual({ rule, registers, chain });
});

test("a pointer that ended says where it did and what it was", () => {
  const { chain } = explain(MISTAKES[5]![1]);
  expect(chain.at(-1)).toMatchObject({
    instruction: "call bpf_ringbuf_submit#132",
    effect: "r6 was ringbuf_mem(ref_obj_id=2,sz=8); what it points to is gone behind this",
  });
});
