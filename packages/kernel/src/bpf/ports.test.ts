/** kprobe and bpf-basic on a kernel of about fifty lines: all that their ports ask for, around one function on a riscv64 hart. */
import {
  BPF_CMD,
  BPF_PROG_TYPE,
  bpf_attr_map_create,
  bpf_attr_map_elem,
  bpf_attr_prog_load,
  EBADF,
  ENOENT,
  isErr,
  type KAddr,
  Layout,
  LinearMemory,
  PAGE_SIZE,
  PERF_EVENT_IOC,
  perf_event_attr,
  type StructDecl,
} from "@alien-ts/abi";
import { bpf, BpfEngine, type BpfObject, type KernelAuxiliaryOps, perfEventOpen } from "@alien-ts/bpf-basic";
import { asm, encode, program } from "@alien-ts/bpf-isa";
import {
  kprobe_handler_from_break,
  type KprobeAuxiliaryOps,
  KprobeBuilder,
  KprobeManager,
  register_kprobe,
  riscv64,
  unregister_kprobe,
} from "@alien-ts/kprobe";
import { expect, test } from "vitest";
import { KernelSpace } from "../arch/riscv64/address-space.ts";
import { Riscv64Cpu } from "../arch/riscv64/cpu.ts";
import { rowText } from "../arch/riscv64/encode.ts";
import { Riscv64ProbeArgs } from "../arch/riscv64/probe-args.ts";
import { CONTEXT_BYTES, REG } from "../arch/riscv64/pt-regs.ts";

const [TEXT, SLOTS, CONTEXT, USER, HEAP] = [0x2_0000, 0x2_1000, 0x3_0000, 0x4_0000, 0x10_0000];

// The kernel, from here …
const mem = new LinearMemory(new ArrayBuffer(0x100_0000));
const cpu = new Riscv64Cpu(mem, new KernelSpace(mem, (at) => at >= TEXT && at < SLOTS + PAGE_SIZE));
mem.u8.set(rowText(0, { compressed: true }), TEXT);
const fds: (BpfObject | undefined)[] = [];
const trace: string[] = [];
let brk = HEAP;
const take = (size: number): KAddr => (brk = Math.ceil(brk / PAGE_SIZE) * PAGE_SIZE + size) - size;
const manager = new KprobeManager(
  {
    copy_text: (at, length) => mem.u8.slice(at, at + length),
    set_writeable_for_address: (at, length, write) => (
      write(mem.bytes(at, length)),
      cpu.invalidate(at, length)
    ),
    alloc_executable_page: () => SLOTS,
    free_executable_page: () => {},
    executablePageBytes: PAGE_SIZE,
    current_cpu: () => 0,
    current_task: () => mem,
    is_kernel_text: (at) => at >= TEXT && at < SLOTS,
    is_blacklisted: () => false,
    lookup_name: (name) => (name === "f" ? TEXT : undefined),
    lookup_address: () => ({ name: "f", addr: TEXT, module: undefined }),
  } satisfies KprobeAuxiliaryOps,
  riscv64,
);
const copy = (to: number, from: number, size: number): boolean => (
  mem.u8.copyWithin(to, from, from + size),
  true
);
const engine = new BpfEngine({
  memory: mem,
  layout: Layout.natural(),
  alloc: take,
  free: () => {},
  allocPages: (pages) => take(pages * PAGE_SIZE),
  freePages: () => {},
  copyFromUser: copy,
  copyToUser: copy,
  readKernelNofault: copy,
  readUserNofault: copy,
  jit: undefined,
  bpfJitEnable: 0,
  ktimeNs: () => 42,
  currentTask: () => 0x40,
  currentPid: () => 7,
  currentTgid: () => 7,
  currentUid: () => 0,
  currentGid: () => 0,
  currentComm: () => {},
  capable: () => true,
  taskExists: () => true,
  possibleCpus: 1,
  currentCpu: () => 0,
  randomU32: () => 4,
  tracePrintk: (text) => void trace.push(text),
  printk: (line) => void trace.push(line),
  installFd: (object) => fds.push(object) - 1,
  objectOf: (fd) => fds[fd] ?? EBADF,
  unprivilegedBpfDisabled: 2,
  perfEventParanoid: 2,
  wakeReaders: () => {},
  kprobes: {
    register: ({ symbol, offset }, handler) => {
      const built = new KprobeBuilder().with_symbol(symbol ?? "").with_offset(offset);
      const probe = register_kprobe(
        manager,
        built.with_pre_handler((_, args) => (handler(args.frame), 0)),
      );
      return isErr(probe) ? probe : { unregister: () => void unregister_kprobe(manager, probe) };
    },
  },
  ptRegsBytes: 288,
  kernelBtf: undefined,
  kernelFunction: () => undefined,
  symbolAddress: () => undefined,
  isErrorInjectable: () => false,
  pmuTypes: { kprobe: 6 },
} satisfies KernelAuxiliaryOps);
// … to here.

function attr(decl: StructDecl, fields: Record<string, number>): number {
  const layout = Layout.natural();
  mem.u8.fill(0, USER, USER + 256);
  for (const [name, value] of Object.entries(fields))
    mem.dv.setUint32(USER + layout.offset(decl, name), value, true);
  return USER;
}

const succeed = (result: unknown): number => {
  if (typeof result !== "number") throw new Error(`${String(result)}: ${trace.join(" ")}`);
  return result;
};
const command = (cmd: number, at: number): number => succeed(bpf(engine, cmd, at, 128));

/** Calls `f(a0)`; the body doubles it. */
function call(a0: number): number {
  mem.u8.fill(0, CONTEXT, CONTEXT + CONTEXT_BYTES);
  const set = (word: number, low: number, high: number): void =>
    void mem.i32.set([low, high], CONTEXT / 4 + 2 * word);
  const pointer = (word: number, low: number): void => set(word, low, mem.baseHi | 0);
  pointer(REG.epc, TEXT);
  pointer(REG.ra, TEXT + 0x800);
  pointer(REG.sp, CONTEXT - 64);
  set(REG.a0, a0, 0);
  const args = new Riscv64ProbeArgs(mem).at(CONTEXT);
  for (;;) {
    const { kind } = cpu.run(CONTEXT, { pc: TEXT + 0x800, sp: CONTEXT - 64 }, 100);
    if (kind === "stopped") return args.returnValueLow();
    if (kind === "breakpoint") kprobe_handler_from_break(manager, args);
    else set(REG.a0, args.argumentLow(0) * 2, 0);
  }
}

test("a program on a kprobe counts calls of a function, with nothing but the ports", () => {
  const map = command(
    BPF_CMD.MAP_CREATE,
    attr(bpf_attr_map_create, { map_type: 2, key_size: 4, value_size: 8, max_entries: 1 }),
  );
  const insns = encode(
    program(
      asm.load(8, 6, 1, 8 * REG.a0),
      asm.storeImm(4, 10, -4, 0),
      asm.movReg(2, 10),
      asm.aluImm("add", 2, -4),
      asm.mapFd(1, map),
      asm.call(1),
      asm.jumpImm("jeq", 0, 0, 1),
      asm.atomic("add", 8, 0, 0, 6),
      asm.movImm(0, 0),
      asm.exit(),
    ),
  );
  mem.u8.set(insns, USER + 0x1000);
  mem.u8.set([0x47, 0x50, 0x4c, 0], USER + 0x2000);
  const load = attr(bpf_attr_prog_load, {
    prog_type: BPF_PROG_TYPE.KPROBE,
    insn_cnt: insns.length / 8,
    insns: USER + 0x1000,
    license: USER + 0x2000,
  });
  const loaded = command(BPF_CMD.PROG_LOAD, load);
  mem.u8.set([0x66, 0], USER + 0x3000);
  const event = (name: number): number | { readonly name: string } =>
    perfEventOpen(engine, {
      attr: attr(perf_event_attr, { type: 6, size: 136, config1: name }),
      pid: -1,
      cpu: 0,
      groupFd: -1,
      flags: 0,
    });
  const fd = succeed(event(USER + 0x3000));
  const held = fds[fd]!;
  if (held.kind !== "perf") throw new Error("no perf event");
  expect(held.ioctl(PERF_EVENT_IOC.SET_BPF, loaded)).toBe(0);
  expect([call(20), call(1)]).toEqual([40, 2]);
  held.release();
  expect(call(5)).toBe(10);
  mem.dv.setUint32(USER + 0x4000, 0, true);
  command(
    BPF_CMD.MAP_LOOKUP_ELEM,
    attr(bpf_attr_map_elem, { map_fd: map, key: USER + 0x4000, value: USER + 0x4010 }),
  );
  expect(mem.dv.getUint32(USER + 0x4010, true)).toBe(21);
  mem.u8.set([0x67, 0], USER + 0x3000);
  expect(event(USER + 0x3000)).toBe(ENOENT);
});
