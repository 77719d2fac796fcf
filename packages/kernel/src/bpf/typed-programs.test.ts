/** Programs that have to do with the kernel's types, as a loader loads them; they run on both engines. */
import {
  BPF_ATTACH_TYPE,
  BPF_CMD,
  BPF_PROG_TYPE,
  bpf_attr_prog_load,
  bpf_attr_raw_tracepoint,
  EACCES,
  EBADF,
  EINVAL,
  ENOTSUPP,
  Layout,
  NR,
  s32,
  struct,
  utf8Encode,
} from "@alien-ts/abi";
import { type JitMemory, jitMemory, type WasmHost } from "@alien-ts/bpf-basic";
import { asm, encode, type Insn, program as assemble } from "@alien-ts/bpf-isa";
import { describe, expect, test } from "vitest";
import type { Kernel } from "../core/kernel.ts";
import { type Blocking, kernelFn } from "../core/row.ts";
import { task_struct } from "../core/task.ts";
import { ipcKernel, type Program, runProgram } from "../testing-program.ts";
import { file as fileStruct, inode as inodeStruct } from "../vfs/structs.ts";

const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WasmHost };
const MEMORY_BYTES = 16 << 20;

const { TRACE_RAW_TP, TRACE_FENTRY, TRACE_FEXIT, MODIFY_RETURN, TRACE_ITER } = BPF_ATTACH_TYPE;
const SLEEPABLE = 16;

interface Load {
  readonly insns: (kernel: Kernel) => readonly (Insn | readonly Insn[])[];
  readonly type?: number;
  readonly attachType?: number;
  /** What it is attached to, by its kind in the types; a number is an id. */
  readonly target?: readonly ["func" | "typedef" | "struct", string] | number;
  readonly attachFd?: number;
  readonly flags?: number;
}

const idOf = ({ btf }: Kernel, kind: "func" | "typedef" | "struct", name: string): number =>
  btf.btf.find(name, kind)!;

interface Loaded {
  /** An fd, or −errno. */
  readonly result: number;
  readonly log: string;
}

const LOG_BYTES = 16384;

function* load(program: Program, given: Load): Blocking<Loaded> {
  const { kernel } = program.cx;
  const { layout } = kernel;
  const insns = encode(assemble(...given.insns(kernel)));
  const log = program.room(LOG_BYTES);
  program.write(log, new Uint8Array(LOG_BYTES));
  const { target = 0 } = given;
  const fields: Record<string, number> = {
    prog_type: given.type ?? BPF_PROG_TYPE.TRACING,
    expected_attach_type: given.attachType ?? TRACE_RAW_TP,
    prog_flags: given.flags ?? 0,
    insn_cnt: insns.length / 8,
    insns: program.put(insns),
    license: program.put(utf8Encode("GPL\0")),
    log_buf: log,
    log_size: LOG_BYTES,
    log_level: 1,
    attach_btf_id: typeof target === "number" ? target : idOf(kernel, target[0], target[1]),
    attach_prog_fd: given.attachFd ?? 0,
  };
  const attr = new DataView(new ArrayBuffer(160));
  for (const [name, value] of Object.entries(fields)) {
    attr.setUint32(layout.offset(bpf_attr_prog_load, name), value >>> 0, true);
    if (value >= 2 ** 32)
      attr.setUint32(layout.offset(bpf_attr_prog_load, name) + 4, Math.floor(value / 2 ** 32), true);
  }
  const at = program.put(new Uint8Array(attr.buffer));
  const result = yield* program.call(NR.bpf, BPF_CMD.PROG_LOAD, at, 160);
  return { result, log: program.text(log, LOG_BYTES).replace(/\0[^]*/, "") };
}

const call = (kernel: Kernel, name: string): Insn => asm.callKfunc(idOf(kernel, "func", name));

/** Loads a program and runs it with these words as its context: what it leaves in r0. */
function* run(program: Program, given: Load, context: readonly number[] = []): Blocking<number> {
  const { kernel } = program.cx;
  const { result, log } = yield* load(program, given);
  if (result < 0) throw new Error(log);
  const loaded = [...kernel.bpf.engine.programs].at(-1)!;
  const at = kernel.kmalloc.kzalloc(64, "context");
  context.forEach((word, i) => {
    kernel.mem.dv.setUint32(at + 8 * i, word, true);
    kernel.mem.dv.setUint32(at + 8 * i + 4, word === 0 ? 0 : kernel.mem.baseHi, true);
  });
  const r0 = loaded.run(at);
  kernel.kmalloc.kfree(at);
  yield* program.call(NR.close, result);
  return r0;
}

const SWITCH = { target: ["typedef", "btf_trace_sched_switch"] } as const;

const engines: readonly (readonly [string, () => Partial<JitMemory>])[] = [
  ["the interpreter", () => ({})],
  ["the JIT", () => jitMemory(WebAssembly, MEMORY_BYTES)],
];
const layouts = [Layout.natural(), Layout.shuffled(6)];
const variants = engines.flatMap(([engine, memory]) =>
  layouts.map((layout) => [engine, layout.name, memory, layout] as const),
);

describe.each(variants)("on %s, in the layout %s", (_, _name, memory, layout) => {
  const kernelOf = (): Kernel => ipcKernel({ ...memory(), layout });

  test("a program on a tracepoint follows the pointers that it is given", () => {
    const kernel = kernelOf();
    runProgram(kernel, function* (program) {
      const { task } = program.cx;
      const insns = (): (Insn | readonly Insn[])[] => [
        asm.load(8, 1, 1, 8),
        asm.load(4, 0, 1, layout.offset(task_struct, "pid")),
        asm.exit(),
      ];
      expect(yield* run(program, { ...SWITCH, insns }, [0, task.addr, task.addr, 0])).toBe(task.pid);
    });
  });

  test("a program on a function follows them from structure to structure", () => {
    const kernel = kernelOf();
    runProgram(kernel, function* (program) {
      const insns = (): (Insn | readonly Insn[])[] => [
        asm.load(8, 1, 1, 0),
        asm.load(8, 1, 1, layout.offset(fileStruct, "f_inode")),
        asm.load(8, 0, 1, layout.offset(inodeStruct, "i_ino")),
        asm.exit(),
      ];
      const target = ["func", "vfs_read"] as const;
      const refused = yield* load(program, { insns, target, attachType: TRACE_FENTRY });
      expect(refused.log).toContain(
        "At program exit the register R0 has unknown scalar value should have been in [0, 0]",
      );
      const accepted = { insns: () => [...insns().slice(0, -1), asm.movImm(0, 0), asm.exit()] };
      const { result } = yield* load(program, { ...accepted, target, attachType: TRACE_FENTRY });
      expect(result).toBeGreaterThanOrEqual(0);
    });
  });

  test("a function of the kernel is known by its address", () => {
    const kernel = kernelOf();
    runProgram(kernel, function* (program) {
      const insns = (of: Kernel): (Insn | readonly Insn[])[] => [
        asm.wide(0, idOf(of, "func", "vfs_read"), 0, "BTF_ID"),
        asm.exit(),
      ];
      expect(yield* run(program, { ...SWITCH, insns })).toBe(kernel.text.image.addressOf("vfs_read"));
    });
  });

  test("a loop over numbers runs as often as it says", () => {
    const kernel = kernelOf();
    runProgram(kernel, function* (program) {
      const insns = (of: Kernel): (Insn | readonly Insn[])[] => [
        asm.movImm(6, 0),
        asm.movReg(1, 10),
        asm.aluImm("add", 1, -8),
        asm.movImm(2, 3),
        asm.movImm(3, 7),
        call(of, "bpf_iter_num_new"),
        asm.movReg(1, 10),
        asm.aluImm("add", 1, -8),
        call(of, "bpf_iter_num_next"),
        asm.jumpImm("jeq", 0, 0, 3),
        asm.load(4, 1, 0, 0),
        asm.aluReg("add", 6, 1),
        asm.goto(-7),
        asm.movReg(1, 10),
        asm.aluImm("add", 1, -8),
        call(of, "bpf_iter_num_destroy"),
        asm.movReg(0, 6),
        asm.exit(),
      ];
      expect(yield* run(program, { insns, type: BPF_PROG_TYPE.KPROBE, attachType: 0 })).toBe(3 + 4 + 5 + 6);
    });
  });

  test("a task is found by its id, held, and given back", () => {
    const kernel = kernelOf();
    runProgram(kernel, function* (program) {
      const { task } = program.cx;
      const insns = (of: Kernel): (Insn | readonly Insn[])[] => [
        asm.movImm(1, task.pid),
        call(of, "bpf_task_from_pid"),
        asm.jumpImm("jne", 0, 0, 1),
        asm.exit(),
        asm.movReg(6, 0),
        asm.load(4, 7, 0, layout.offset(task_struct, "rcu_users")),
        asm.movReg(1, 6),
        call(of, "bpf_task_release"),
        asm.movReg(0, 7),
        asm.exit(),
      ];
      expect(yield* run(program, { ...SWITCH, insns })).toBe(2);
      expect(task.t.rcu_users.refs).toBe(1);
    });
  });

  test("casts, sections and preemption leave numbers as they are", () => {
    const kernel = kernelOf();
    runProgram(kernel, function* (program) {
      const { task } = program.cx;
      const insns = (of: Kernel): (Insn | readonly Insn[])[] => [
        asm.load(8, 6, 1, 8),
        call(of, "bpf_rcu_read_lock"),
        call(of, "bpf_preempt_disable"),
        asm.movReg(1, 6),
        asm.movImm(2, idOf(of, "struct", "task_struct")),
        call(of, "bpf_rdonly_cast"),
        asm.load(4, 6, 0, layout.offset(task_struct, "tgid")),
        call(of, "bpf_preempt_enable"),
        call(of, "bpf_rcu_read_unlock"),
        asm.movReg(0, 6),
        asm.exit(),
      ];
      expect(yield* run(program, { ...SWITCH, insns }, [0, task.addr])).toBe(task.tgid);
      expect(task.t.thread_info.preempt_count).toBe(0);
    });
  });
});

const nothing = { insns: () => [asm.movImm(0, 0), asm.exit()] };
const calls = (name: string) => ({ insns: (of: Kernel) => [call(of, name), asm.movImm(0, 0), asm.exit()] });

describe("what is refused, and the log", () => {
  test.each<[string, Load, number, string]>([
    ["no target", nothing, EINVAL.number, "Tracing programs must provide btf_id\n"],
    [
      "what loaders ask for to know whether there are such programs",
      { ...nothing, target: 1, attachType: TRACE_FENTRY },
      EINVAL.number,
      "attach_btf_id 1 is not a function\n",
    ],
    ["an id that is none", { ...nothing, target: 99_999 }, EINVAL.number, "attach_btf_id 99999 is invalid\n"],
    [
      "a tracepoint that is no typedef",
      { ...nothing, target: ["func", "vfs_read"] },
      EINVAL.number,
      "attach_btf_id {func vfs_read} is not a typedef\n",
    ],
    [
      "a typedef of something else",
      { ...nothing, target: ["typedef", "loff_t"] },
      EINVAL.number,
      "attach_btf_id {typedef loff_t} points to wrong type name loff_t\n",
    ],
    [
      "a function that is a structure",
      { ...nothing, target: ["struct", "file"], attachType: TRACE_FENTRY },
      EINVAL.number,
      "attach_btf_id {struct file} is not a function\n",
    ],
    [
      "a result that may not be changed",
      { ...nothing, target: ["func", "vfs_read"], attachType: MODIFY_RETURN },
      EINVAL.number,
      "vfs_read() is not modifiable\n",
    ],
    [
      "a function in which programs may not sleep",
      { ...nothing, target: ["func", "vfs_read"], attachType: TRACE_FENTRY, flags: SLEEPABLE },
      EINVAL.number,
      "vfs_read is not sleepable\n",
    ],
    [
      "the end of a function that has none",
      { ...nothing, target: ["func", "do_exit"], attachType: TRACE_FEXIT },
      EINVAL.number,
      "Attaching fexit/fmod_ret to __noreturn function 'do_exit' is rejected.\n",
    ],
    ["an iterator", { ...nothing, target: ["func", "vfs_read"], attachType: TRACE_ITER }, EINVAL.number, ""],
    ["a target of a kprobe", { ...nothing, type: 2, attachType: 0, target: 1 }, EINVAL.number, ""],
    ["an fd that is not open", { ...nothing, target: 1, attachFd: 99 }, EINVAL.number, ""],
    [
      "a function that programs may not call",
      { ...calls("vfs_read"), ...SWITCH },
      EACCES.number,
      "calling kernel function vfs_read is not allowed\n",
    ],
    [
      "a function that programs of the type may not call",
      { ...calls("bpf_task_from_pid"), type: BPF_PROG_TYPE.KPROBE, attachType: 0 },
      EACCES.number,
      "calling kernel function bpf_task_from_pid is not allowed\n",
    ],
    [
      "a call of no function",
      { ...SWITCH, insns: (of) => [asm.callKfunc(idOf(of, "struct", "file")), asm.exit()] },
      EINVAL.number,
      "kernel btf_id {struct file} is not a function\n",
    ],
  ])("%s", (_, given, errno, message) => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (program) {
      const { result, log } = yield* load(program, given);
      const expected = message.replaceAll(/\{(\w+) (\w+)\}/g, (_all, kind: "func", name: string) =>
        String(idOf(kernel, kind, name)),
      );
      expect([result, log]).toEqual([-errno, expect.stringContaining(expected)]);
    });
  });

  test.each([
    ["a system call's result", { attachType: MODIFY_RETURN }],
    ["a sleepable program at a system call", { attachType: TRACE_FENTRY, flags: SLEEPABLE }],
    ["the end of a function", { attachType: TRACE_FEXIT }],
  ])("%s is not", (_, given) => {
    runProgram(ipcKernel(), function* (program) {
      const { result, log } = yield* load(program, {
        ...nothing,
        ...given,
        target: ["func", "__riscv_sys_read"],
      });
      expect(log).toMatch(/^processed 2 insns/);
      expect(result).toBeGreaterThanOrEqual(0);
    });
  });
});

const demo_state = struct("demo_state", { count: s32 });
const demo_add = kernelFn(
  "demo_add",
  [
    ["a", s32],
    ["b", s32],
  ],
  s32,
  (_cx, a, b) => (a + b) | 0,
  { kfunc: [] },
);

test("a package from outside adds a structure and a function that programs call", () => {
  const kernel = ipcKernel({ text: [{ demo_add, demo_state }] });
  expect(kernel.btf.btf.members(idOf(kernel, "struct", "demo_state"))).toMatchObject([{ name: "count" }]);
  runProgram(kernel, function* (program) {
    const insns = (of: Kernel): Insn[] => [
      asm.movImm(1, 40),
      asm.movImm(2, 2),
      call(of, "demo_add"),
      asm.exit(),
    ];
    expect(yield* run(program, { insns, type: BPF_PROG_TYPE.KPROBE, attachType: 0 })).toBe(42);
  });
});

test("programs that have nothing to do with types are loaded without them", () => {
  const kernel = ipcKernel();
  runProgram(kernel, function* (program) {
    expect((yield* load(program, { ...nothing, type: BPF_PROG_TYPE.KPROBE, attachType: 0 })).result).toBe(0);
    expect(kernel.mem.u8[kernel.btf.start]).toBe(0);
    yield* load(program, { ...nothing, target: 1 });
    expect(kernel.mem.u8[kernel.btf.start]).toBe(0x9f);
  });
});

test("attaching fails, and the kernel log says so", () => {
  const kernel = ipcKernel();
  runProgram(kernel, function* (program) {
    const { result } = yield* load(program, {
      ...nothing,
      target: ["func", "vfs_read"],
      attachType: TRACE_FENTRY,
    });
    const attr = (fields: Readonly<Record<string, number>>): number => {
      const view = new DataView(new ArrayBuffer(24));
      for (const [name, value] of Object.entries(fields))
        view.setUint32(kernel.layout.offset(bpf_attr_raw_tracepoint, name), value, true);
      return program.put(new Uint8Array(view.buffer));
    };
    const open = (fields: Readonly<Record<string, number>>): Blocking<number> =>
      program.call(NR.bpf, BPF_CMD.RAW_TRACEPOINT_OPEN, attr(fields), 24);
    expect(yield* open({ prog_fd: result })).toBe(-ENOTSUPP.number);
    expect(yield* open({ prog_fd: result, name: 4096 })).toBe(-EINVAL.number);
    expect(yield* open({ prog_fd: 99 })).toBe(-EBADF.number);
  });
  expect(kernel.log.from(0).at(-1)?.text).toMatch(
    /^bpf: program \d+ cannot be attached to vfs_read: no trampolines$/,
  );
});

test.each([1, 2, 3])("whatever a loader names, the answer is an errno or a program, seed %i", (seed) => {
  const kernel = ipcKernel({ seed });
  const below = (most: number): number => kernel.prng.u32() % most;
  const pick = <T>(from: readonly T[]): T => from[below(from.length)]!;
  const loadAny = function* (program: Program): Blocking<void> {
    const { result } = yield* load(program, {
      insns: () => [
        asm.callKfunc(below(1000)),
        asm.load(8, 0, 1, 8 * below(4)),
        asm.movImm(0, 0),
        asm.exit(),
      ],
      type: pick([2, 5, 26, 26, 26, 27, 28, 29]),
      attachType: below(60),
      target: pick([0, below(1000), below(1000), kernel.prng.u32()]),
      attachFd: pick([0, 0, 1, 0xffff_ffff]),
      flags: pick([0, SLEEPABLE]),
    });
    expect(result).toBeGreaterThan(-600);
  };
  for (let i = 0; i < 100; i++) {
    // A program of the test has memory for a few.
    runProgram(kernel, function* (program) {
      for (let j = 0; j < 5; j++) yield* loadAny(program);
    });
  }
  expect(kernel.bpf.engine.programs.size).toBe(0);
});
