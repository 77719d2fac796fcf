/**
 * Rules as pairs of programs: one that keeps the rule and one that breaks it, with the message. Programs are written as the log
 * prints them; `r1 = map hash` loads a map.
 */
import { EBADF } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import type { MapInfo, ProgramEnv } from "./env.ts";
import { declare } from "../test/declare.ts";
import { linuxHelper } from "./linux/helpers.ts";
import { linuxKfunc } from "./linux/kfuncs.ts";
import { linuxProgramType } from "./linux/program-types.ts";
import { verifyProgram } from "./verify-program.ts";
import { PRIVILEGED } from "./privileges.ts";

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
  array: map(2, 4, 48, { valuesAddress: 0x20_0000 }),
  readonly: map(2, 4, 48, { flags: 0x80 }),
  progs: map(3, 4, 4),
  ringbuf: map(27, 0, 0, { maxEntries: 4096 }),
};
const FDS = Object.keys(MAPS);
const MARK = 0x4d41_5000;

function programOf(text: string): Insn[] {
  const lines = text.replaceAll(
    /= map (\w+)/g,
    (_, name: string) => `= 0x${(MARK + FDS.indexOf(name)).toString(16)}`,
  );
  const insns = assemble(lines);
  if (insns instanceof AssembleError) throw new Error(`line ${insns.line}: ${insns.message}\n${lines}`);
  return insns.map((insn) => kernelCall(insn) ?? mapLoad(insn));
}

const KFUNCS: Record<number, string> = {
  5001: "bpf_preempt_disable",
  5002: "bpf_preempt_enable",
  5003: "bpf_rcu_read_lock",
  5004: "bpf_rcu_read_unlock",
  5005: "bpf_iter_num_new",
  5006: "bpf_iter_num_next",
  5007: "bpf_iter_num_destroy",
};

const KERNEL = declare(`
  struct bpf_iter_num { u64 opaque[1]; };
  void bpf_preempt_disable(void);
  void bpf_preempt_enable(void);
  void bpf_rcu_read_lock(void);
  void bpf_rcu_read_unlock(void);
  int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
  int *bpf_iter_num_next(struct bpf_iter_num *it);
  void bpf_iter_num_destroy(struct bpf_iter_num *it);
`);

function kernelCall(insn: Insn): Insn | undefined {
  const name = insn.opcode === 0x85 ? KFUNCS[insn.imm] : undefined;
  return name === undefined ? undefined : { ...insn, src: 2, imm: KERNEL.find(name, "func")! };
}

const mapLoad = (insn: Insn): Insn =>
  insn.opcode === 0x18 && insn.imm >= MARK && insn.imm < MARK + 16
    ? { ...insn, src: 1, imm: insn.imm - MARK }
    : insn;

const TYPE: Record<string, number> = {
  socket_filter: 1,
  kprobe: 2,
  sched_cls: 3,
  xdp: 6,
  cgroup_skb: 8,
  cgroup_sock: 9,
};

function messageOf(type: string, text: string): string {
  const env: ProgramEnv = {
    insns: programOf(text),
    programType: linuxProgramType(TYPE[type]!, type === "xdp" ? 37 : type === "cgroup_sock" ? 2 : 0)!,
    helper: linuxHelper,
    kfunc: (id) => KERNEL.type(id)?.name,
    kfuncRules: linuxKfunc,
    map: (fd) => MAPS[FDS[fd] ?? ""] ?? EBADF,
    addressHigh: 0xffff_8881,
    license: "GPL",
    privileges: PRIVILEGED,
    log: { level: 1 },
    kernelBtf: KERNEL,
    program: undefined,
    attach: undefined,
    isSleepable: false,
    isStrictAlignment: false,
    isAnyAlignment: false,
    isStateFrequent: false,
    hasFragments: false,
  };
  const verdict = verifyProgram(env);
  if (verdict.ok) return "accepted";
  const lines = verdict.log.trimEnd().split("\n");
  return lines.find((line) => line.startsWith("infinite loop")) ?? lines.at(-2) ?? "";
}

const EXIT = "r0 = 0\nexit";
const LOOKUP = `*(u64 *)(r10 -8) = 0
r2 = r10
r2 += -8
r1 = map hash
call bpf_map_lookup_elem#1`;
const VALUE = `${LOOKUP}\nif r0 != 0x0 goto pc+1\nexit`;
const ITERATOR = `r1 = r10\nr1 += -8\nr2 = 0\nr3 = 10\ncall a#5005\nr1 = r10\nr1 += -8\ncall a#5006`;
const DESTROY = `r1 = r10\nr1 += -8\ncall a#5007`;
const PACKET = `r2 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr4 = r2\nr4 += 14`;

/** Rule, program type, what keeps it, what breaks it, the message. */
const RULES: readonly (readonly [string, string, string, string, string])[] = [
  [
    "a register is written before it is read",
    "socket_filter",
    `r2 = 1\nr0 = r2\nexit`,
    `r0 = r2\nexit`,
    "R2 !read_ok",
  ],
  ["r0 has a result", "socket_filter", EXIT, "exit", "R0 !read_ok"],
  [
    "the frame pointer is not written",
    "socket_filter",
    EXIT,
    `r10 = 1\n${EXIT}`,
    "frame pointer is read only",
  ],
  [
    "calls clear r1 to r5",
    "socket_filter",
    `call bpf_get_prandom_u32#7\n${EXIT}`,
    `call bpf_get_prandom_u32#7\nr0 = r1\nexit`,
    "R1 !read_ok",
  ],
  [
    "the stack has 512 bytes",
    "socket_filter",
    `*(u64 *)(r10 -512) = 1\n${EXIT}`,
    `*(u64 *)(r10 -520) = 1\n${EXIT}`,
    "invalid write to stack R10 off=-520 size=8",
  ],
  [
    "stack accesses are aligned",
    "socket_filter",
    `*(u32 *)(r10 -4) = 1\n${EXIT}`,
    `*(u32 *)(r10 -6) = 1\n${EXIT}`,
    "misaligned stack access off 0+0+-6 size 4",
  ],
  [
    "spilled pointers are read whole",
    "socket_filter",
    `*(u64 *)(r10 -8) = r1\nr0 = *(u64 *)(r10 -8)\n${EXIT}`,
    `*(u64 *)(r10 -8) = r1\nr0 = *(u32 *)(r10 -8)\n${EXIT}`,
    "invalid size of register fill",
  ],
  [
    "a variable offset into the stack is bounded",
    "socket_filter",
    `call bpf_get_prandom_u32#7\nr0 &= 7\nr1 = r10\nr1 += -8\nr1 += r0\n*(u8 *)(r1 +0) = 1\n${EXIT}`,
    `call bpf_get_prandom_u32#7\nr1 = r10\nr1 += r0\n*(u8 *)(r1 +0) = 1\n${EXIT}`,
    "math between fp pointer and register with unbounded min value is not allowed",
  ],
  [
    "a looked-up value may be NULL",
    "socket_filter",
    `${VALUE}\nr0 = *(u64 *)(r0 +0)\n${EXIT}`,
    `${LOOKUP}\nr0 = *(u64 *)(r0 +0)\n${EXIT}`,
    "R0 invalid mem access 'map_value_or_null'",
  ],
  [
    "values end where the map says",
    "socket_filter",
    `${VALUE}\nr0 = *(u64 *)(r0 +40)\n${EXIT}`,
    `${VALUE}\nr0 = *(u64 *)(r0 +48)\n${EXIT}`,
    "R0 min value is outside of the allowed memory range",
  ],
  [
    "an index into a value is bounded above",
    "socket_filter",
    `${VALUE}\nr1 = *(u32 *)(r0 +0)\nif r1 > 0x2f goto pc+2\nr0 += r1\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    `${VALUE}\nr1 = *(u32 *)(r0 +0)\nr0 += r1\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    "R0 unbounded memory access, make sure to bounds check any such access",
  ],
  [
    "an index into a value is bounded below",
    "socket_filter",
    `${VALUE}\nr1 = *(u64 *)(r0 +0)\nif r1 s< 0x0 goto pc+3\nif r1 s> 0x8 goto pc+2\nr0 += r1\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    `${VALUE}\nr1 = *(s32 *)(r0 +0)\nif r1 s> 0x8 goto pc+2\nr0 += r1\nr0 = *(u8 *)(r0 +0)\n${EXIT}`,
    "value -2147483648 makes map_value pointer be out of bounds",
  ],
  [
    "keys are initialised",
    "socket_filter",
    `${LOOKUP}\n${EXIT}`,
    `r2 = 5\nr1 = map hash\ncall bpf_map_lookup_elem#1\n${EXIT}`,
    "R2 type=scalar expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_",
  ],
  [
    "maps suit the helper",
    "socket_filter",
    `r2 = map progs\nr3 = 0\ncall bpf_tail_call#12\n${EXIT}`,
    `*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map progs\ncall bpf_map_lookup_elem#1\n${EXIT}`,
    "cannot pass map_type 3 into func bpf_map_lookup_elem#1",
  ],
  [
    "maps are what helpers want",
    "socket_filter",
    `${LOOKUP}\n${EXIT}`,
    `r2 = r10\nr2 += -8\n*(u64 *)(r10 -8) = 0\nr1 = 0\ncall bpf_map_lookup_elem#1\n${EXIT}`,
    "R1 type=scalar expected=map_ptr",
  ],
  [
    "read-only maps are not written",
    "socket_filter",
    `*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map readonly\ncall bpf_map_lookup_elem#1\nif r0 == 0x0 goto pc+1\nr1 = *(u8 *)(r0 +0)\n${EXIT}`,
    `*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map readonly\ncall bpf_map_lookup_elem#1\nif r0 == 0x0 goto pc+1\n*(u8 *)(r0 +0) = 1\n${EXIT}`,
    "write into map forbidden, value_size=48 off=0 size=1",
  ],
  [
    "context fields are those of the type",
    "socket_filter",
    `r0 = *(u32 *)(r1 +0)\n${EXIT}`,
    `r0 = *(u32 *)(r1 +76)\n${EXIT}`,
    "invalid bpf_context access off=76 size=4",
  ],
  [
    "the context is not moved",
    "socket_filter",
    `r0 = *(u32 *)(r1 +4)\n${EXIT}`,
    `r1 += 4\nr0 = *(u32 *)(r1 +0)\n${EXIT}`,
    "dereference of modified ctx ptr R1 off=4 disallowed",
  ],
  [
    "packets are compared with their end",
    "sched_cls",
    `${PACKET}\nif r4 > r3 goto pc+1\nr0 = *(u8 *)(r2 +13)\n${EXIT}`,
    `${PACKET}\nr0 = *(u8 *)(r2 +13)\n${EXIT}`,
    "R2 offset is outside of the packet",
  ],
  [
    "packets are read up to what was compared",
    "sched_cls",
    `${PACKET}\nif r4 > r3 goto pc+1\nr0 = *(u16 *)(r2 +12)\n${EXIT}`,
    `${PACKET}\nif r4 > r3 goto pc+1\nr0 = *(u16 *)(r2 +13)\n${EXIT}`,
    "R2 offset is outside of the packet",
  ],
  [
    "helpers that move packets end their pointers",
    "sched_cls",
    `r6 = r1\nr2 = 0\ncall bpf_skb_pull_data#39\nr2 = *(u32 *)(r6 +76)\nr3 = *(u32 *)(r6 +80)\nr4 = r2\nr4 += 1\nif r4 > r3 goto pc+1\nr0 = *(u8 *)(r2 +0)\n${EXIT}`,
    `r6 = r1\nr7 = *(u32 *)(r6 +76)\nr2 = 0\ncall bpf_skb_pull_data#39\nr0 = *(u8 *)(r7 +0)\n${EXIT}`,
    "R7 invalid mem access 'scalar'",
  ],
  [
    "pointers are not multiplied",
    "socket_filter",
    EXIT,
    `r1 *= 2\n${EXIT}`,
    "R1 pointer arithmetic with *= operator prohibited",
  ],
  [
    "pointers are not masked",
    "socket_filter",
    EXIT,
    `r1 &= -8\n${EXIT}`,
    "R1 bitwise operator &= on pointer prohibited",
  ],
  [
    "pointers are not added to each other",
    "socket_filter",
    `r1 -= r10\n${EXIT}`,
    `r1 += r10\n${EXIT}`,
    "R1 pointer += pointer prohibited",
  ],
  [
    "unchecked pointers are not moved",
    "socket_filter",
    `${VALUE}\nr0 += 8\n${EXIT}`,
    `${LOOKUP}\nr0 += 8\n${EXIT}`,
    "R0 pointer arithmetic on map_value_or_null prohibited, null-check it first",
  ],
  [
    "constant divisors are not zero",
    "socket_filter",
    `r0 = 8\nr0 /= 2\nexit`,
    `r0 = 8\nr0 /= 0\nexit`,
    "div by zero",
  ],
  [
    "shifts are below the width",
    "socket_filter",
    `r0 = 1\nr0 <<= 63\nexit`,
    `r0 = 1\nr0 <<= 64\nexit`,
    "invalid shift 64",
  ],
  [
    "sizes are not negative",
    "kprobe",
    `call bpf_get_prandom_u32#7\nr0 &= 15\nr2 = r0\nr1 = r10\nr1 += -16\nr3 = 0\ncall bpf_probe_read_kernel#113\n${EXIT}`,
    `call bpf_get_prandom_u32#7\nr2 = r0\nr1 = r10\nr1 += -16\nr3 = 0\ncall bpf_probe_read_kernel#113\n${EXIT}`,
    "R2 min value is negative, either use unsigned or 'var &= const'",
  ],
  [
    "sizes fit the memory",
    "kprobe",
    `r1 = r10\nr1 += -16\nr2 = 16\nr3 = 0\ncall bpf_probe_read_kernel#113\n${EXIT}`,
    `r1 = r10\nr1 += -16\nr2 = 17\nr3 = 0\ncall bpf_probe_read_kernel#113\n${EXIT}`,
    "invalid write to stack R1 off=-16 size=17",
  ],
  [
    "helpers are those of the type",
    "kprobe",
    `call bpf_ktime_get_ns#5\n${EXIT}`,
    `call bpf_skb_load_bytes#26\n${EXIT}`,
    "program of this type cannot use helper bpf_skb_load_bytes#26",
  ],
  [
    "helpers exist",
    "kprobe",
    `call bpf_ktime_get_ns#5\n${EXIT}`,
    `call bpf_x#999\n${EXIT}`,
    "invalid func unknown#999",
  ],
  [
    "results lie in the type's range",
    "cgroup_skb",
    `r0 = 1\nexit`,
    `r0 = 2\nexit`,
    "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]",
  ],
  [
    "results are numbers where the type has a range",
    "cgroup_sock",
    `r0 = 1\nexit`,
    `r0 = r1\nexit`,
    "At program exit the register R0 is not a known value (ctx)",
  ],
  [
    "reserved records are given back",
    "kprobe",
    `r1 = map ringbuf\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve#131\nif r0 == 0x0 goto pc+3\nr1 = r0\nr2 = 0\ncall bpf_ringbuf_discard#133\n${EXIT}`,
    `r1 = map ringbuf\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve#131\n${EXIT}`,
    "BPF_EXIT instruction in main prog would lead to reference leak",
  ],
  [
    "records are given back once",
    "kprobe",
    `r1 = map ringbuf\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve#131\nif r0 == 0x0 goto pc+3\nr1 = r0\nr2 = 0\ncall bpf_ringbuf_submit#132\n${EXIT}`,
    `r1 = map ringbuf\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve#131\nif r0 == 0x0 goto pc+7\nr6 = r0\nr1 = r0\nr2 = 0\ncall bpf_ringbuf_submit#132\nr1 = r6\nr2 = 0\ncall bpf_ringbuf_submit#132\n${EXIT}`,
    "R1 type=scalar expected=ringbuf_mem",
  ],
  [
    "only records are given back",
    "kprobe",
    EXIT,
    `r1 = r10\nr2 = 0\ncall bpf_ringbuf_submit#132\n${EXIT}`,
    "R1 type=fp expected=ringbuf_mem",
  ],
  [
    "loops end",
    "socket_filter",
    `r0 = 0\nr0 += 1\nif r0 < 0x10 goto pc-2\nexit`,
    `r0 = 0\ngoto pc-1`,
    "infinite loop detected at insn 1",
  ],
  [
    "atomics have operands of 4 or 8 bytes",
    "socket_filter",
    `*(u64 *)(r10 -8) = 0\nr0 = 1\nlock *(u64 *)(r10 -8) += r0\n${EXIT}`,
    `r0 = 1\nlock *(u64 *)(r1 +0) += r0\n${EXIT}`,
    "BPF_ATOMIC stores into R1 ctx is not allowed",
  ],
  [
    "packets are loaded the old way through r6",
    "socket_filter",
    `r6 = r1\nr0 = *(u8 *)skb[0]\nexit`,
    `r6 = 1\nr0 = *(u8 *)skb[0]\nexit`,
    "at the time of BPF_LD_ABS|IND R6 != pointer to skb",
  ],
  [
    "functions do not return their stack",
    "socket_filter",
    `call pc+2\n${EXIT}\nr0 = 1\nexit`,
    `call pc+2\n${EXIT}\nr0 = r10\nexit`,
    "cannot return stack pointer to the caller",
  ],
  [
    "helpers do not change maps that programs may only read",
    "socket_filter",
    `*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += -8\nr1 = map hash\ncall bpf_map_delete_elem#3\n${EXIT}`,
    `*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += -8\nr1 = map readonly\ncall bpf_map_delete_elem#3\n${EXIT}`,
    "write into map forbidden",
  ],
  [
    "turned bytes are known where they were",
    "socket_filter",
    `r2 = 0x100\nr2 = be16 r2\nr1 = r10\nr1 += -8\nr1 += r2\n*(u8 *)(r1 +0) = 1\n${EXIT}`,
    `r2 = 0x100\nr2 = be32 r2\nr1 = r10\nr1 += -8\nr1 += r2\n*(u8 *)(r1 +0) = 1\n${EXIT}`,
    "invalid write to stack R1 off=65528 size=1",
  ],
  [
    "packet pointers are not loaded with a sign",
    "sched_cls",
    `r2 = *(u32 *)(r1 +76)\n${EXIT}`,
    `r2 = *(s32 *)(r1 +76)\n${EXIT}`,
    "invalid bpf_context access off=76 size=4",
  ],
  [
    "loads that acquire and stores that release are aligned",
    "socket_filter",
    `${VALUE}\nr1 = load_acquire((u16 *)(r0 +2))\nstore_release((u32 *)(r0 +4), r1)\n${EXIT}`,
    `${VALUE}\nr1 = load_acquire((u16 *)(r0 +1))\n${EXIT}`,
    "misaligned value access off 0+0+1 size 2",
  ],
  [
    "what an atomic loads into is not its base",
    "socket_filter",
    `*(u64 *)(r10 -8) = 0\nr0 = 1\nr2 = r10\nr0 = atomic64_cmpxchg((u64 *)(r2 -8), r0, r0)\n${EXIT}`,
    `${VALUE}\nr0 = atomic64_cmpxchg((u64 *)(r0 +0), r0, r0)\n${EXIT}`,
    "misaligned access off (0x0; 0xffffffffffffffff)+0+0 size 8",
  ],
  [
    "functions without types do not load from the packet",
    "socket_filter",
    `r6 = r1\nr0 = *(u8 *)skb[0]\n${EXIT}`,
    `call pc+1\nexit\nr6 = r1\nr0 = *(u8 *)skb[0]\nexit`,
    "LD_ABS is not allowed in subprogs without BTF",
  ],
  [
    "chains of calls have 512 bytes",
    "socket_filter",
    `*(u64 *)(r10 -256) = 0\ncall pc+2\n${EXIT}\n*(u64 *)(r10 -256) = 0\n${EXIT}`,
    `*(u64 *)(r10 -304) = 0\ncall pc+2\n${EXIT}\n*(u64 *)(r10 -304) = 0\n${EXIT}`,
    "combined stack size of 2 calls is 608. Too large",
  ],
  [
    "preemption is enabled again",
    "kprobe",
    `call a#5001\ncall a#5002\n${EXIT}`,
    `call a#5001\n${EXIT}`,
    "BPF_EXIT instruction in main prog cannot be used inside bpf_preempt_disable-ed region",
  ],
  [
    "preemption is enabled where it was disabled",
    "kprobe",
    `call a#5001\ncall a#5001\ncall a#5002\ncall a#5002\n${EXIT}`,
    `call a#5002\n${EXIT}`,
    "unmatched attempt to enable preemption (kernel function bpf_preempt_enable)",
  ],
  [
    "RCU sections end",
    "kprobe",
    `call a#5003\ncall a#5004\n${EXIT}`,
    `call a#5003\n${EXIT}`,
    "BPF_EXIT instruction in main prog cannot be used inside bpf_rcu_read_lock-ed region",
  ],
  [
    "iterators are destroyed",
    "kprobe",
    `${ITERATOR}\nif r0 != 0x0 goto pc-4\n${DESTROY}\n${EXIT}`,
    `${ITERATOR}\n${EXIT}`,
    "BPF_EXIT instruction in main prog would lead to reference leak",
  ],
  [
    "iterators are made before they are advanced",
    "kprobe",
    `${ITERATOR}\n${DESTROY}\n${EXIT}`,
    `r1 = r10\nr1 += -8\ncall a#5006\n${EXIT}`,
    "expected an initialized iter_num as arg #0",
  ],
  [
    "numbers of iterators may be NULL",
    "kprobe",
    `${ITERATOR}\nif r0 == 0x0 goto pc+1\nr1 = *(u32 *)(r0 +0)\n${DESTROY}\n${EXIT}`,
    `${ITERATOR}\nr1 = *(u32 *)(r0 +0)\n${DESTROY}\n${EXIT}`,
    "R0 invalid mem access 'scalar'",
  ],
  [
    "what is learnt of a number is learnt of its sum with a constant, in 32 bits as in 64",
    "socket_filter",
    `call bpf_get_prandom_u32#7\nw6 = w0\nr7 = r6\nw7 += 1\nif r6 != 0x6 goto pc+2\nif r7 == 0x7 goto pc+1\nr0 = r9\n${EXIT}`,
    `call bpf_get_prandom_u32#7\nr6 = r0\nr7 = r6\nw7 += 1\nif r6 != 0x6 goto pc+2\nif r7 == 0x7 goto pc+1\nr0 = r9\n${EXIT}`,
    "R9 !read_ok",
  ],
  [
    "bounds and known bits that leave one number make it known",
    "socket_filter",
    `call bpf_get_prandom_u32#7\nr0 &= 8\nif r0 == 0x0 goto pc+2\nif r0 == 0x8 goto pc+1\nr0 = r9\n${EXIT}`,
    `call bpf_get_prandom_u32#7\nr0 &= 9\nif r0 == 0x0 goto pc+2\nif r0 == 0x8 goto pc+1\nr0 = r9\n${EXIT}`,
    "R9 !read_ok",
  ],
  [
    "a low half that is shifted up keeps its sign",
    "socket_filter",
    `call bpf_get_prandom_u32#7\nr6 = r0\nr6 &= 7\nr6 -= 8\nw6 = w6\nr6 <<= 32\nr6 s>>= 32\nr1 = r10\nr1 += r6\n*(u8 *)(r1 +0) = 1\n${EXIT}`,
    `call bpf_get_prandom_u32#7\nr6 = r0\nr6 &= 7\nr6 -= 8\nw6 = w6\nr6 <<= 32\nr6 >>= 32\nr1 = r10\nr1 += r6\n*(u8 *)(r1 +0) = 1\n${EXIT}`,
    "value 4294967288 makes fp pointer be out of bounds",
  ],
];

test.each(RULES)("%s (%s)", (_, type, kept, broken, message) => {
  expect(messageOf(type, kept)).toBe("accepted");
  expect(messageOf(type, broken)).toBe(message);
});
