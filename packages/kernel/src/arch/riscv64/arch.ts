/** riscv64 as the kernel sees it: the one object that joins this folder to `Arch`. */
import type { KAddr, LinearMemory } from "@alien-ts/abi";
import { riscv64 as riscv64Kprobe } from "@alien-ts/kprobe";
import type { Arch, TextCpu, TextEvent } from "../arch.ts";
import { KernelSpace } from "./address-space.ts";
import { Riscv64Cpu } from "./cpu.ts";
import { assemble, c_ebreak, c_nop, hostCallReturnOffset, rowText } from "./encode.ts";
import { Riscv64ProbeArgs } from "./probe-args.ts";
import {
  bpf_perf_event_data,
  CONTEXT_BYTES,
  pt_regs,
  PT_REGS_BYTES,
  PT_REGS_WORDS,
  REG,
  user_regs_struct,
} from "./pt-regs.ts";

const bytes = (word: number): number => word * 8;
const A0_TO_A7 = Array.from({ length: 8 }, (_, i) => bytes(REG.a0 + i));

/** A row's text never loops: more instructions than this in one run are a bug. */
const RUN_BUDGET = 100_000;

const STOPPED: TextEvent = { kind: "stopped" };
const BREAK: TextEvent = { kind: "break" };

class TextCpuAdapter implements TextCpu {
  readonly #cpu: Riscv64Cpu;
  readonly #mem: LinearMemory;
  readonly #stop = { pc: 0, sp: 0 };

  constructor(mem: LinearMemory, isExecutable: (addr: KAddr, length: number) => boolean) {
    this.#mem = mem;
    this.#cpu = new Riscv64Cpu(mem, new KernelSpace(mem, (addr) => isExecutable(addr, 2)));
  }

  run(context: KAddr, stopPc: KAddr, stopSp: KAddr): TextEvent {
    this.#stop.pc = stopPc;
    this.#stop.sp = stopSp;
    const event = this.#cpu.run(context, this.#stop, RUN_BUDGET);
    switch (event.kind) {
      case "hostCall":
        return { kind: "hostCall", index: event.index };
      case "stopped":
        return STOPPED;
      case "breakpoint":
        return BREAK;
      default:
        return {
          kind: "fault",
          what: event.kind,
          address: this.#mem.dv.getUint32(context + bytes(REG.epc), true),
        };
    }
  }

  invalidate(addr: KAddr, length: number): void {
    this.#cpu.invalidate(addr, length);
  }
}

/** Half of the rows have compressed prologues, as a compiler for rv64gc mixes them. */
const isCompressed = (name: string): boolean => name.length % 2 === 0;

export const riscv64: Arch = {
  machine: "riscv64",
  elfMachine: 243,
  syscallPrefix: "__riscv_",
  roles: {
    pc: bytes(REG.epc),
    sp: bytes(REG.sp),
    returnAddress: bytes(REG.ra),
    returnValue: bytes(REG.a0),
    task: bytes(REG.tp),
    arguments: A0_TO_A7,
    syscallNumber: bytes(REG.a7),
    syscallArguments: A0_TO_A7.slice(0, 6),
    originalArgument: bytes(REG.orig_a0),
  },
  ptRegsBytes: PT_REGS_BYTES,
  contextBytes: CONTEXT_BYTES,
  types: [pt_regs, user_regs_struct, bpf_perf_event_data],
  typedefs: { bpf_user_pt_regs_t: "struct user_regs_struct" },
  registerNames: PT_REGS_WORDS,
  rowText: (index, name) => {
    const options = { compressed: isCompressed(name) };
    return { bytes: rowText(index, options), returnOffset: hostCallReturnOffset(options) };
  },
  trapText: () => assemble([c_ebreak(), c_nop()]),
  createTextCpu: (mem, isExecutable) => new TextCpuAdapter(mem, isExecutable),
  kprobe: riscv64Kprobe,
  probeArgs: (mem, context) => new Riscv64ProbeArgs(mem).at(context),
};
