/**
 * Programs for the kernel's own tests: a `ProgramHost` of a few dozen lines whose programs are async functions over the trap
 * port, and executables for them. Not part of the package's interface.
 *
 * `bootPrograms` boots a whole kernel whose init is one of the programs, and `runMachine` runs it until it halts or nothing
 * can run any more.
 */
import {
  NR,
  PENDING,
  type ProgramHost,
  type ProgramImage,
  S,
  type TrapOutcome,
  type TrapPort,
  utf8Encode,
} from "@alien-ts/abi";
import {
  buildElf,
  EM_RISCV,
  ET_EXEC,
  PF_R,
  PF_X,
  PT_LOAD,
  PT_NOTE,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHT_NOTE,
  writeNotes,
} from "@alien-ts/elf";
import { boot, type BootOptions } from "./boot.ts";
import { type Kernel, KernelBug } from "./core/kernel.ts";
import type { RootFile } from "./init.ts";
import { testVariant } from "./testing-variant.ts";

export const TEXT_BASE = 0x1_0000;
const FUNCTION_BYTES = 16;
/** addi sp,-16; host call; addi sp,16; ret */
const FUNCTION = [0xff01_0113, 0x0000_000b, 0x0101_0113, 0x0000_8067];
const SLOTS = 32;

type Body = (task: TestTask, ...args: number[]) => Promise<number | void>;
export type TestProgram = (task: TestTask) => Promise<number | void>;

/** An executable that names `program`. */
export function testImage(program: string, options: { readonly hasNote?: boolean } = {}): Uint8Array {
  const text = new DataView(new ArrayBuffer(SLOTS * FUNCTION_BYTES));
  for (let i = 0; i < SLOTS; i++)
    FUNCTION.forEach((word, j) => text.setUint32(i * FUNCTION_BYTES + j * 4, word, true));
  const note = writeNotes([{ name: "alien", type: 1, desc: utf8Encode(`${program}\0`) }], true);
  const hasNote = options.hasNote ?? true;
  return buildElf({
    machine: EM_RISCV,
    type: ET_EXEC,
    entry: TEXT_BASE,
    sections: [
      {
        name: ".text",
        data: new Uint8Array(text.buffer),
        flags: SHF_ALLOC | SHF_EXECINSTR,
        addr: TEXT_BASE,
        align: FUNCTION_BYTES,
      },
      {
        name: ".note.alien",
        data: note,
        type: SHT_NOTE,
        flags: SHF_ALLOC,
        addr: TEXT_BASE + SLOTS * FUNCTION_BYTES,
        align: 4,
      },
    ],
    symbols: [],
    segments: [
      { type: PT_LOAD, flags: PF_R | PF_X, sections: [".text", ".note.alien"], align: 4096 },
      ...(hasNote ? [{ type: PT_NOTE, flags: PF_R, sections: [".note.alien"], align: 4 }] : []),
    ],
  });
}

/** A task's code as the tests write it. */
export class TestTask {
  readonly port: TrapPort;
  readonly host: TestHost;
  /** Functions that have an address, shared by the tasks of one space. */
  readonly functions: Map<number, Body>;
  #scratch: number;
  #resolve: ((outcome: TrapOutcome) => void) | undefined;

  constructor(host: TestHost, port: TrapPort, functions: Map<number, Body>) {
    this.host = host;
    this.port = port;
    this.functions = functions;
    // Far below what signal frames take.
    this.#scratch = port.sp - 65_536;
    port.onResume = (outcome) => {
      const resolve = this.#resolve;
      this.#resolve = undefined;
      resolve?.(outcome);
    };
  }

  async call(nr: number, ...args: number[]): Promise<number> {
    const [a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0] = args;
    const made = this.port.trap(nr, a0, a1, a2, a3, a4, a5);
    const outcome =
      made === PENDING ? await new Promise<TrapOutcome>((resolve) => (this.#resolve = resolve)) : made;
    if (typeof outcome === "number") return outcome;
    const handler = this.functions.get(outcome.pc);
    if (handler === undefined) throw new Error(`no function at 0x${outcome.pc.toString(16)}`);
    await handler(this, outcome.a0, outcome.a1, outcome.a2);
    return this.call(NR.rt_sigreturn);
  }

  /** Memory of the test's own below the stack; never given back. */
  alloc(size: number): number {
    this.#scratch -= Math.ceil(size / 16) * 16;
    return this.#scratch;
  }

  /** Runs `body`, and gives the memory that it took back. */
  async scoped<T>(body: () => Promise<T>): Promise<T> {
    const scratch = this.#scratch;
    const result = await body();
    this.#scratch = scratch;
    return result;
  }

  bytes(bytes: Uint8Array): number {
    const at = this.alloc(bytes.length);
    this.port.memory.write(at, bytes);
    return at;
  }

  string(text: string): number {
    return this.bytes(utf8Encode(`${text}\0`));
  }

  words(...words: number[]): number {
    const at = this.alloc(words.length * 8);
    words.forEach((word, i) => this.port.memory.writeU64(at + i * 8, word));
    return at;
  }

  strings(texts: readonly string[]): number {
    return this.words(...texts.map((text) => this.string(text)), 0);
  }

  u32(addr: number): number {
    return this.port.memory.readU32(addr);
  }

  addressOf(body: Body): number {
    for (const [addr, known] of this.functions) if (known === body) return addr;
    const addr = TEXT_BASE + (this.functions.size + 1) * FUNCTION_BYTES;
    this.functions.set(addr, body);
    return addr;
  }

  execve(
    path: string,
    args: readonly string[] = [path],
    environment: readonly string[] = [],
  ): Promise<number> {
    return this.call(NR.execve, this.string(path), this.strings(args), this.strings(environment));
  }

  /** clone with a stack that runs `body`; its result is the exit status. */
  clone(flags: number, body: Body, ...rest: number[]): Promise<number> {
    const stack = this.alloc(128 * 1024) + 128 * 1024 - 16;
    this.port.memory.writeU64(stack, this.addressOf(body));
    this.port.memory.writeU64(stack + 8, 0);
    return this.call(NR.clone, flags, stack, ...rest);
  }

  /** rt_sigaction; a handler of undefined is the default, null ignores. */
  async action(signo: number, handler: Body | undefined | null, flags = 0, mask = 0n): Promise<number> {
    const address = handler === undefined ? 0 : handler === null ? 1 : this.addressOf(handler);
    const act = this.words(address, flags, 0);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, mask, true);
    this.port.memory.write(act + 16, bytes);
    return this.call(NR.rt_sigaction, signo, act, 0, 8);
  }

  /** argv, envp and the auxiliary vector of the initial stack. */
  start(): { readonly argv: string[]; readonly envp: string[]; readonly auxv: Map<number, number> } {
    const { memory, sp } = this.port;
    const text = (at: number): string => String.fromCharCode(...memory.readCString(at));
    const argc = memory.readU64(sp);
    let at = sp + 8;
    const take = (): string[] => {
      const list: string[] = [];
      for (; memory.readU64(at) !== 0; at += 8) list.push(text(memory.readU64(at)));
      at += 8;
      return list;
    };
    const argv = take();
    if (argv.length !== argc) throw new Error(`argc is ${argc}, argv has ${argv.length} entries`);
    const envp = take();
    const auxv = new Map<number, number>();
    for (; memory.readU64(at) !== 0; at += 16) auxv.set(memory.readU64(at), memory.readU64(at + 8));
    return { argv, envp, auxv };
  }
}

export class TestHost implements ProgramHost {
  readonly programs: Readonly<Record<string, TestProgram>>;
  readonly tasks = new Map<TrapPort, TestTask>();
  readonly images: ProgramImage[] = [];
  /** Errors that programs threw. */
  readonly errors: unknown[] = [];

  constructor(programs: Readonly<Record<string, TestProgram>>) {
    this.programs = programs;
  }

  has(program: string): boolean {
    return program in this.programs;
  }

  start(image: ProgramImage, port: TrapPort): void {
    this.images.push(image);
    const task = new TestTask(this, port, new Map());
    this.tasks.set(port, task);
    void this.#run(task, this.programs[image.program]!, NR.exit_group);
  }

  startThread(parent: TrapPort, port: TrapPort): void {
    const creator = this.tasks.get(parent);
    if (creator === undefined) throw new Error("the parent is gone");
    const task = new TestTask(this, port, creator.functions);
    this.tasks.set(port, task);
    const body = creator.functions.get(port.memory.readU64(port.sp));
    if (body === undefined) throw new Error("a thread has nothing to run");
    void this.#run(task, body, NR.exit);
  }

  exited(port: TrapPort): void {
    this.tasks.delete(port);
  }

  async #run(task: TestTask, body: TestProgram, exit: number): Promise<void> {
    await undefined;
    try {
      const status = await body(task);
      await task.call(exit, typeof status === "number" ? status : 0);
    } catch (error) {
      this.errors.push(error);
      if (error instanceof KernelBug) return;
      await task.call(NR.exit_group, 99);
    }
  }
}

/** A kernel whose /sbin/init is `programs.init`, with an executable in /bin for each of the others. */
export function bootPrograms(
  programs: Readonly<Record<string, TestProgram>>,
  options: BootOptions = {},
): { readonly kernel: Kernel; readonly host: TestHost } {
  const host = new TestHost(programs);
  const executable = (path: string, bytes: Uint8Array): RootFile => ({ path, mode: S.IFREG | 0o755, bytes });
  const directory = (path: string): RootFile => ({ path, mode: S.IFDIR | 0o755, bytes: new Uint8Array(0) });
  const files = [
    ...["/sbin", "/bin", "/etc", "/tmp"].map(directory),
    executable("/sbin/init", testImage("init")),
    ...Object.keys(programs)
      .filter((name) => name !== "init")
      .map((name) => executable(`/bin/${name}`, testImage(name))),
    ...(options.files ?? []),
  ];
  const kernel = boot({
    memory: new ArrayBuffer(32 * 1024 * 1024),
    debugAllocations: true,
    ...testVariant(),
    programHost: host,
    init: ["/sbin/init", "--once"],
    ...options,
    files,
  });
  return { kernel, host };
}

/** Turns that a test may take before it gives up. */
const TURNS_MAX = 200_000;
/** Turns in a row without work: a program may still come back from something foreign. */
const IDLE_TURNS_MAX = 20;

/**
 * Runs the machine; gives its exit status, or undefined when it is idle for ever.
 *
 * @param macrotask resolves in the host's next macrotask, when all microtasks of the programs have run: setImmediate.
 */
export async function runMachine(
  kernel: Kernel,
  macrotask: () => Promise<unknown>,
): Promise<number | undefined> {
  let idle = 0;
  for (let i = 0; i < TURNS_MAX; i++) {
    const status = kernel.sched.turn();
    if (status.state === "halted") return status.status;
    const isIdle = status.state === "idle" && status.wakeInNs === undefined;
    idle = isIdle ? idle + 1 : 0;
    if (idle === IDLE_TURNS_MAX) return undefined;
    await macrotask();
  }
  throw new Error("the machine did not end");
}
