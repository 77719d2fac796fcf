/** More rules as pairs of programs, mostly of memory, locks and calls. Programs are written as the log prints them. */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import type { MapInfo, ValueField } from "./env.ts";
import { linuxHelper } from "./linux/helpers.ts";
import { linuxProgramType } from "./linux/program-types.ts";
import { PRIVILEGED } from "./privileges.ts";
import { declare } from "../test/declare.ts";
import { verifyProgram } from "./verify-program.ts";

const BTF = declare("struct empty { u64 word; };");
const HASH: MapInfo = {
  address: 0x10_0000,
  valuesAddress: undefined,
  name: "hash",
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
const withField = (kind: ValueField["kind"], size: number): MapInfo => ({
  ...HASH,
  btf: BTF,
  fields: [{ kind, offset: 0, size }],
});
const MAPS: Record<string, MapInfo> = {
  hash: HASH,
  written: { ...HASH, flags: 0x100 },
  lock: withField("spin_lock", 4),
  timer: withField("timer", 16),
  workqueue: withField("workqueue", 16),
  tree: withField("rb_root", 16),
  operations: { ...HASH, type: 26 },
  ringbuf: { ...HASH, type: 27, keySize: 0, valueSize: 0 },
};
const NAMES = Object.keys(MAPS);
const MARK = 0x4d41_5000;

function logOf(type: number, text: string): string {
  const marked = text.replaceAll(
    /= map (\w+)/g,
    (_, name: string) => `= 0x${(MARK + NAMES.indexOf(name)).toString(16)}`,
  );
  const insns = assemble(marked);
  if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}\n${marked}`);
  const isMap = (imm: number): boolean => imm >= MARK && imm < MARK + NAMES.length;
  const verdict = verifyProgram({
    insns: insns.map((insn) =>
      insn.opcode === 0x18 && isMap(insn.imm) ? { ...insn, src: 1, imm: insn.imm - MARK } : insn,
    ),
    programType: linuxProgramType(type, 0)!,
    helper: linuxHelper,
    map: (fd) => MAPS[NAMES[fd] ?? ""] ?? EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 1 },
    kernelBtf: undefined,
    program: undefined,
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  });
  return verdict.ok ? "accepted" : verdict.log;
}

const SOCKET_FILTER = 1;
const KPROBE = 2;
const SCHED_CLS = 3;
const LWT_IN = 10;

const EXIT = "r0 = 0\nexit";
const lookup = (map: string): string =>
  `*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map ${map}\ncall bpf_map_lookup_elem#1`;
const found = (map: string): string => `${lookup(map)}\nif r0 != 0x0 goto pc+1\nexit`;
const LOCKED = `${found("lock")}\nr6 = r0\nr1 = r6\ncall bpf_spin_lock#93`;
const UNLOCK = "r1 = r6\ncall bpf_spin_unlock#94";
const RANDOM = "call bpf_get_prandom_u32#7";
const RESERVE =
  "r1 = map ringbuf\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve#131\nif r0 != 0x0 goto pc+1\nexit";
const SUBMIT = "r1 = r0\nr2 = 0\ncall bpf_ringbuf_submit#132";
const PACKET = "r2 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr4 = r2\nr4 += 14\nif r4 > r3 goto pc+1";
const dynptr = (at: number): string =>
  `r1 = map ringbuf\nr2 = 8\nr3 = 0\nr4 = r10\nr4 += ${at}\ncall bpf_ringbuf_reserve_dynptr#198`;
const SUBMIT_DYNPTR = "r1 = r10\nr1 += -16\nr2 = 0\ncall bpf_ringbuf_submit_dynptr#199";
const read = (size: string): string =>
  `r1 = r10\nr1 += -16\n${size}\nr3 = 0\ncall bpf_probe_read_kernel#113\n${EXIT}`;
const calls = (depth: number): string => `${"call pc+1\nexit\n".repeat(depth)}${EXIT}`;

/** What keeps a rule, what breaks it, and what the log says then. */
const PAIRS: readonly (readonly [number, string, string, string])[] = [
  [
    SCHED_CLS,
    `r0 = *(u32 *)(r1 +0)\n${EXIT}`,
    `*(u64 *)(r10 -8) = 0\nr2 = r1\nr3 = *(u32 *)(r1 +0)\nif r3 == 0x0 goto pc+2\nr2 = r10\nr2 += -8\nr0 = *(u32 *)(r2 +0)\n${EXIT}`,
    "same insn cannot be used with different pointers",
  ],
  [
    SCHED_CLS,
    `${LOCKED}\n${UNLOCK}\n${EXIT}`,
    `${LOCKED}\n${RANDOM}\n${UNLOCK}\n${EXIT}`,
    "function calls are not allowed while holding a lock",
  ],
  [
    SCHED_CLS,
    `${LOCKED}\n${UNLOCK}\n${EXIT}`,
    `${LOCKED}\n${EXIT}`,
    "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region",
  ],
  [
    SCHED_CLS,
    `${LOCKED}\n${UNLOCK}\n${EXIT}`,
    `${found("lock")}\nr7 = r0\n${LOCKED}\nr1 = r7\ncall bpf_spin_unlock#94\n${EXIT}`,
    "bpf_spin_unlock of different lock",
  ],
  [
    SCHED_CLS,
    `${LOCKED}\n${UNLOCK}\n${EXIT}`,
    `${found("lock")}\nr6 = r0\n${RANDOM}\nr0 &= 4\nr6 += r0\nr1 = r6\ncall bpf_spin_lock#93\n${UNLOCK}\n${EXIT}`,
    "R1 doesn't have constant offset. bpf_spin_lock has to be at the constant offset",
  ],
  [
    SCHED_CLS,
    `${LOCKED}\n${UNLOCK}\n${EXIT}`,
    `${found("hash")}\nr1 = r0\ncall bpf_spin_lock#93\n${EXIT}`,
    "map 'hash' has to have BTF in order to use bpf_spin_lock",
  ],
  [
    SCHED_CLS,
    `${LOCKED}\n${UNLOCK}\n${EXIT}`,
    `${found("timer")}\nr1 = r0\ncall bpf_spin_lock#93\n${EXIT}`,
    "map 'hash' has no valid bpf_spin_lock",
  ],
  [
    SCHED_CLS,
    `${LOCKED}\n${UNLOCK}\n${EXIT}`,
    `${found("lock")}\nr1 = r0\nr1 += 4\ncall bpf_spin_lock#93\n${EXIT}`,
    "off 4 doesn't point to 'struct bpf_spin_lock' that is at 0",
  ],
  [
    SCHED_CLS,
    `${found("lock")}\nr0 = *(u32 *)(r0 +4)\n${EXIT}`,
    `${found("lock")}\nr0 = *(u32 *)(r0 +0)\n${EXIT}`,
    "bpf_spin_lock cannot be accessed directly by load/store",
  ],
  [
    SOCKET_FILTER,
    `r1 = map hash\n${EXIT}`,
    `r1 = map lock\n${EXIT}`,
    "socket filter progs cannot use bpf_spin_lock yet",
  ],
  [KPROBE, `r1 = map hash\n${EXIT}`, `r1 = map lock\n${EXIT}`, "tracing progs cannot use bpf_spin_lock yet"],
  [KPROBE, `r1 = map hash\n${EXIT}`, `r1 = map timer\n${EXIT}`, "tracing progs cannot use bpf_timer yet"],
  [KPROBE, `r1 = map hash\n${EXIT}`, `r1 = map workqueue\n${EXIT}`, "tracing progs cannot use bpf_wq yet"],
  [
    KPROBE,
    `r1 = map hash\n${EXIT}`,
    `r1 = map tree\n${EXIT}`,
    "tracing progs cannot use bpf_{list_head,rb_root} yet",
  ],
  [
    KPROBE,
    `r1 = map hash\n${EXIT}`,
    `r1 = map operations\n${EXIT}`,
    "bpf_struct_ops map cannot be used in prog",
  ],
  [
    SOCKET_FILTER,
    `${RANDOM}\nr1 = 0\nr1 += 1\nif r1 == 0x40 goto pc+1\nif r0 != r1 goto pc-3\n${EXIT}`,
    `${RANDOM}\nr1 = 0\nr1 += 1\nif r0 == r1 goto pc+1\ngoto pc-3\n${EXIT}`,
    "The sequence of 8193 jumps is too complex.",
  ],
  [
    LWT_IN,
    `${PACKET}\nr0 = *(u8 *)(r2 +0)\n${EXIT}`,
    `${PACKET}\n*(u8 *)(r2 +0) = 1\n${EXIT}`,
    "cannot write into packet",
  ],
  [
    SCHED_CLS,
    `${PACKET}\nr0 = *(u8 *)(r2 +13)\n${EXIT}`,
    `${PACKET}\nr0 = *(u8 *)(r2 +14)\n${EXIT}`,
    "invalid access to packet, off=14 size=1, R2(id=0,off=14,r=14)\nR2 offset is outside of the packet",
  ],
  [
    KPROBE,
    `${found("hash")}\nr0 = *(u8 *)(r0 +15)\n${EXIT}`,
    `${found("hash")}\nr0 = *(u8 *)(r0 +16)\n${EXIT}`,
    "invalid access to map value, value_size=16 off=16 size=1",
  ],
  [
    KPROBE,
    `${found("hash")}\nr1 = *(u32 *)(r0 +0)\nr1 &= 15\nr0 += r1\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    `${found("hash")}\nr1 = *(u32 *)(r0 +0)\nr1 &= 31\nr0 += r1\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    "R0 max value is outside of the allowed memory range",
  ],
  [
    KPROBE,
    `${found("hash")}\nr1 = *(u32 *)(r0 +0)\nr1 &= 3\nr0 += r1\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    `${found("hash")}\nr1 = *(u32 *)(r0 +0)\nr1 &= 3\nr1 -= 3\nr0 += r1\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    "R0 min value is negative, either use unsigned index or do a if (index >=0) check.",
  ],
  [
    KPROBE,
    `${found("written")}\n*(u8 *)(r0 +0) = 1\n${EXIT}`,
    `${found("written")}\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    "read from map forbidden, value_size=16 off=0 size=1",
  ],
  [
    KPROBE,
    `${RESERVE}\n*(u64 *)(r0 +0) = 1\n${SUBMIT}\n${EXIT}`,
    `${RESERVE}\n*(u64 *)(r0 +8) = 1\n${SUBMIT}\n${EXIT}`,
    "invalid access to memory, mem_size=8 off=8 size=8",
  ],
  [
    KPROBE,
    `${RESERVE}\n${SUBMIT}\n${EXIT}`,
    `${RESERVE}\nr0 += 4\n${SUBMIT}\n${EXIT}`,
    "R1 must have zero offset when passed to release func or trusted arg to kfunc",
  ],
  [
    KPROBE,
    `${RESERVE}\n${SUBMIT}\n${EXIT}`,
    `${RANDOM}\nr2 = r0\nr1 = map ringbuf\nr3 = 0\ncall bpf_ringbuf_reserve#131\n${EXIT}`,
    "R2 is not a known constant'",
  ],
  [
    KPROBE,
    `*(u64 *)(r10 -8) = r1\n${EXIT}`,
    `*(u32 *)(r10 -8) = r1\n${EXIT}`,
    "invalid size of register spill",
  ],
  [
    KPROBE,
    `r1 = r10\nr1 += -8\ncall pc+2\n${EXIT}\n*(u64 *)(r1 +0) = 1\n${EXIT}`,
    `r1 = r10\nr1 += -8\ncall pc+2\n${EXIT}\n*(u64 *)(r1 +0) = r10\n${EXIT}`,
    "cannot spill pointers to stack into stack frame of the caller",
  ],
  [
    KPROBE,
    `${RANDOM}\nr0 &= 7\nr1 = r10\nr1 += -8\nr1 += r0\n*(u8 *)(r1 +0) = 1\n${EXIT}`,
    `${RANDOM}\nw0 = w0\nr1 = r10\nr1 += -8\nr1 += r0\n*(u8 *)(r1 +0) = 1\n${EXIT}`,
    "invalid unbounded variable-offset write to stack R1",
  ],
  [
    KPROBE,
    read("r2 = 16"),
    `${RANDOM}\n${read("w2 = w0")}`,
    "R2 unbounded memory access, use 'var &= const' or 'if (var < const)'",
  ],
  [
    KPROBE,
    `*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\nr2 = 8\ncall bpf_trace_printk#6\n${EXIT}`,
    `${RANDOM}\nr2 = r0\nr2 &= 7\n*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\ncall bpf_trace_printk#6\n${EXIT}`,
    "R2 invalid zero-sized read: u64=[0,7]",
  ],
  [
    SCHED_CLS,
    `r2 = map hash\n${EXIT}`,
    `r2 = map hash\nr3 = 0\ncall bpf_tail_call#12\n${EXIT}`,
    "expected prog array map for tail call",
  ],
  [
    KPROBE,
    `${dynptr(-16)}\n${SUBMIT_DYNPTR}\n${EXIT}`,
    `${dynptr(-16)}\n*(u64 *)(r10 -16) = 0\n${SUBMIT_DYNPTR}\n${EXIT}`,
    "cannot overwrite referenced dynptr",
  ],
  [
    KPROBE,
    `${dynptr(-16)}\n${SUBMIT_DYNPTR}\n${EXIT}`,
    `${dynptr(-12)}\n${EXIT}`,
    "cannot pass in dynptr at an offset=-12",
  ],
  [
    KPROBE,
    `${dynptr(-16)}\n${SUBMIT_DYNPTR}\n${EXIT}`,
    `*(u64 *)(r10 -16) = 0\n*(u64 *)(r10 -8) = 0\n${SUBMIT_DYNPTR}\n${EXIT}`,
    "arg 1 is an unacquired reference",
  ],
  [KPROBE, `r1 += 8\n${EXIT}`, `w1 += 8\n${EXIT}`, "R1 32-bit pointer arithmetic prohibited"],
  [KPROBE, `r1 -= 8\n${EXIT}`, `r2 = 8\nr2 -= r1\n${EXIT}`, "R2 tried to subtract pointer from scalar"],
  [
    KPROBE,
    `r1 = r10\nr1 += -8\n${EXIT}`,
    `r1 = r10\nr1 += 536870911\nr1 += 536870911\n${EXIT}`,
    "fp pointer offset 1073741822 is not allowed",
  ],
  [
    SCHED_CLS,
    `r0 = *(u32 *)(r1 +4)\n${EXIT}`,
    `r2 = *(u32 *)(r1 +0)\nr2 &= 4\nr1 += r2\nr0 = *(u32 *)(r1 +0)\n${EXIT}`,
    "variable ctx access var_off=(0x0; 0x4) disallowed",
  ],
  [
    SCHED_CLS,
    `call bpf_get_hash_recalc#34\n${EXIT}`,
    `r1 += -4\ncall bpf_get_hash_recalc#34\n${EXIT}`,
    "negative offset ctx ptr R1 off=-4 disallowed",
  ],
  [KPROBE, calls(7), calls(8), "the call stack of 9 frames is too deep"],
  [
    KPROBE,
    read("r2 = 16"),
    `r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\ncall bpf_copy_from_user#148\n${EXIT}`,
    "helper call might sleep in a non-sleepable prog",
  ],
];

const BY_MESSAGE = PAIRS.map(([type, kept, broken, message]) => [message, type, kept, broken] as const);

test.each(BY_MESSAGE)("%s (programs of type %i)", (message, type, kept, broken) => {
  expect(logOf(type, kept)).toBe("accepted");
  const log = logOf(type, broken);
  expect(log.slice(-500)).toContain(message);
});
