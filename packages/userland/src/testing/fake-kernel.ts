/**
 * A small kernel behind `TrapPort`, for tests of userland alone: flat memory per address space, a tree of files, pipes,
 * processes, signals, virtual time. Test-only: behaviour is Linux's where the tests look, and ENOSYS elsewhere.
 *
 * A trap that has to wait registers an attempt; every change of state tries the waiting ones again.
 */
import {
  EBADF,
  ENOSYS,
  ESRCH,
  NR,
  PENDING,
  type ProgramHost,
  S,
  SIG,
  type TrapOutcome,
  type TrapPort,
  UserFault,
  type UserMemory,
} from "@alien-ts/abi";
import type { ImageFile } from "../image.ts";
import { fromBytes, toBytes } from "../libc/text.ts";
import { type FakeFile, type FakeNode, isDir, makeNode, walk } from "./fake-files.ts";
import { SYSCALLS } from "./fake-syscalls.ts";

export const FAKE_MEMORY_BYTES = 0x80_0000;
const STACK_TOP = 0x40_0000;
const BRK_START = 0x10_0000;

const NAMES: readonly (string | undefined)[] = (() => {
  const names: (string | undefined)[] = [];
  for (const [name, number] of Object.entries(NR)) names[number] = name;
  return names;
})();

export class FakeMemory implements UserMemory {
  readonly bytes = new Uint8Array(FAKE_MEMORY_BYTES);
  readonly #dv = new DataView(this.bytes.buffer);
  brk = BRK_START;
  mapped = STACK_TOP;

  #check(addr: number, length: number): void {
    if (addr < 4096 || addr + length > FAKE_MEMORY_BYTES) throw new UserFault(addr);
  }
  read(addr: number, length: number): Uint8Array {
    this.#check(addr, length);
    return this.bytes.slice(addr, addr + length);
  }
  write(addr: number, bytes: Uint8Array): void {
    this.#check(addr, bytes.length);
    this.bytes.set(bytes, addr);
  }
  readU8(addr: number): number {
    this.#check(addr, 1);
    return this.bytes[addr]!;
  }
  readU32(addr: number): number {
    this.#check(addr, 4);
    return this.#dv.getUint32(addr, true);
  }
  writeU32(addr: number, value: number): void {
    this.#check(addr, 4);
    this.#dv.setUint32(addr, value, true);
  }
  readU64(addr: number): number {
    return this.readU32(addr) + this.readU32(addr + 4) * 2 ** 32;
  }
  writeU64(addr: number, value: number): void {
    this.writeU32(addr, value >>> 0);
    this.writeU32(addr + 4, Math.floor(value / 2 ** 32) >>> 0);
  }
  readCString(addr: number): Uint8Array {
    this.#check(addr, 1);
    return this.bytes.slice(addr, this.bytes.indexOf(0, addr));
  }
  view(addr: number, length: number): DataView {
    return new DataView(this.bytes.buffer, addr, length);
  }
}

export interface Descriptor {
  file: FakeFile;
  cloexec: boolean;
}

export class FakeTask {
  readonly pid: number;
  parent: FakeTask | undefined;
  memory: FakeMemory;
  fds = new Map<number, Descriptor>();
  cwd = "/";
  umask = 0o022;
  group: number;
  actions = new Map<number, { handler: number; flags: number }>();
  masked = new Set<number>();
  readonly pending: number[] = [];
  /** Results of the traps that signal handlers interrupt. */
  readonly saved: number[] = [];
  port: TrapPort | undefined;
  /** The trap that waits: tried again on every change. */
  attempt: (() => TrapOutcome | undefined) | undefined;
  /** wait(2)'s word once the task is over. */
  status: number | undefined;
  /** Wakes the parent of a vfork. */
  vforkDone = true;
  argv: readonly string[] = [];
  /** Virtual time at which a sleep ends. */
  wakeAt: number | undefined;

  constructor(pid: number, parent: FakeTask | undefined, memory: FakeMemory) {
    this.pid = pid;
    this.parent = parent;
    this.memory = memory;
    this.group = parent?.group ?? pid;
  }
}

export class FakeKernel {
  readonly root = makeNode(S.IFDIR | 0o755);
  readonly tasks = new Map<number, FakeTask>();
  readonly host: ProgramHost;
  /** System calls made, by name, for tests that look at them. */
  readonly log: string[] = [];
  /** Bytes that one read or write moves at most; with it, every other one is interrupted by a signal first. */
  transferLimit: number | undefined;
  #transfers = 0;
  nowNs = 1_000_000_000_000_000_000;
  #lastPid = 0;
  #settling = false;

  constructor(host: ProgramHost, files: readonly ImageFile[] = []) {
    this.host = host;
    for (const { path, mode, bytes } of files) this.addFile(path, bytes, mode);
  }

  addFile(path: string, bytes: Uint8Array | string, mode: number = S.IFREG | 0o644): FakeNode {
    const found = walk(this.root, path, false);
    if (typeof found === "number") throw new Error(`no directory for ${path}`);
    const node = makeNode(mode, typeof bytes === "string" ? toBytes(bytes) : bytes);
    node.mtime = Math.floor(this.nowNs / 1e9);
    found.parent.children.set(found.name, node);
    return node;
  }

  /** The contents of a file; undefined where it does not exist. */
  contents(path: string): string | undefined {
    const found = walk(this.root, path, true);
    return typeof found === "number" || found.node === undefined ? undefined : fromBytes(found.node.bytes);
  }

  createTask(parent: FakeTask | undefined, memory: FakeMemory): FakeTask {
    this.#lastPid += 1;
    const task = new FakeTask(this.#lastPid, parent, memory);
    this.tasks.set(task.pid, task);
    return task;
  }

  /** Starts a program with the descriptors given; it runs in microtasks. */
  spawn(path: string, argv: readonly string[], env: readonly string[], files: readonly FakeFile[]): FakeTask {
    const task = this.createTask(undefined, new FakeMemory());
    files.forEach((file, fd) => task.fds.set(fd, { file, cloexec: false }));
    const result = this.execute(task, path, argv, env);
    if (result !== 0) throw new Error(`cannot execute ${path}: ${result}`);
    return task;
  }

  /** Replaces the task's image; 0 or a negated errno. */
  execute(task: FakeTask, path: string, argv: readonly string[], env: readonly string[], depth = 0): number {
    const found = walk(this.root, this.absolute(task, path), true);
    if (typeof found === "number") return found;
    if (found.node === undefined) return -2;
    if (isDir(found.node) || (found.node.mode & 0o111) === 0) return -13;
    const script = /^#! *(\S+)(?: +(\S+))?[^\n]*\n/.exec(fromBytes(found.node.bytes.subarray(0, 128)));
    if (script !== null && depth < 4) {
      const words = [script[1]!, ...(script[2] === undefined ? [] : [script[2]]), path, ...argv.slice(1)];
      return this.execute(task, script[1]!, words, env, depth + 1);
    }
    const name = programName(found.node.bytes);
    if (name === undefined || !this.host.has(name)) return -8;
    if (task.port !== undefined) this.host.exited(task.port);
    task.memory = new FakeMemory();
    task.argv = argv;
    for (const [fd, { cloexec }] of task.fds) if (cloexec) this.closeFd(task, fd);
    for (const [signal, action] of task.actions) if (action.handler > 1) task.actions.delete(signal);
    task.vforkDone = true;
    const sp = this.#pushVectors(task.memory, argv, env);
    task.port = this.#makePort(task, sp);
    this.host.start({ program: name, path, base: 0x1_0000 }, task.port);
    return 0;
  }

  startThread(parent: FakeTask, child: FakeTask, sp: number): void {
    child.port = this.#makePort(child, sp);
    this.host.startThread(parent.port!, child.port);
  }

  /** How much of `length` a read or write may move; undefined: it is interrupted. */
  transfer(length: number): number | undefined {
    if (this.transferLimit === undefined) return length;
    this.#transfers += 1;
    return this.#transfers % 2 === 0 ? undefined : Math.min(length, this.transferLimit);
  }

  absolute(task: FakeTask, path: string): string {
    return path.startsWith("/") ? path : `${task.cwd}/${path}`;
  }

  closeFd(task: FakeTask, fd: number): number {
    const descriptor = task.fds.get(fd);
    if (descriptor === undefined) return -EBADF.number;
    task.fds.delete(fd);
    descriptor.file.references -= 1;
    if (descriptor.file.references === 0) descriptor.file.release();
    return 0;
  }

  exit(task: FakeTask, status: number): void {
    if (task.status !== undefined) return;
    task.status = status;
    task.attempt = undefined;
    task.wakeAt = undefined;
    task.vforkDone = true;
    for (const fd of Array.from(task.fds.keys())) this.closeFd(task, fd);
    if (task.port !== undefined) this.host.exited(task.port);
    for (const child of this.tasks.values()) if (child.parent === task) child.parent = this.tasks.get(1);
    if (task.parent !== undefined) this.signal(task.parent, SIG.CHLD);
  }

  signal(task: FakeTask, signal: number): void {
    if (signal === 0 || task.status !== undefined) return;
    const handler = task.actions.get(signal)?.handler ?? 0;
    const ignoredByDefault = [SIG.CHLD, SIG.CONT, SIG.WINCH, SIG.URG].some((n) => n === signal);
    if (handler === 1 || (handler === 0 && ignoredByDefault)) return;
    if (task.masked.has(signal)) {
      task.pending.push(signal);
      return;
    }
    if (handler === 0) {
      this.exit(task, signal);
      return;
    }
    task.pending.push(signal);
  }

  killGroup(target: number, signal: number): number {
    const targets = [...this.tasks.values()].filter(
      (task) => task.status === undefined && (target > 0 ? task.pid === target : task.group === -target),
    );
    for (const task of targets) this.signal(task, signal);
    return targets.length > 0 ? 0 : -ESRCH.number;
  }

  #makePort(task: FakeTask, sp: number): TrapPort {
    return {
      memory: task.memory,
      sp,
      trap: (nr, ...args) => this.#trap(task, nr, args),
      onResume: () => {},
    };
  }

  #trap(task: FakeTask, nr: number, args: readonly (number | undefined)[]): TrapOutcome | typeof PENDING {
    if (task.status !== undefined) return PENDING;
    const call = SYSCALLS[nr];
    this.log.push(NAMES[nr] ?? String(nr));
    if (call === undefined) return this.#finish(task, -ENOSYS.number);
    const full = [0, 1, 2, 3, 4, 5].map((i) => args[i] ?? 0);
    const attempt = (): number | undefined => call(this, task, full);
    const result = attempt();
    let outcome: TrapOutcome | typeof PENDING = PENDING;
    if (task.status === undefined && result !== undefined) outcome = this.#finish(task, result);
    else if (task.status === undefined) {
      task.attempt = () => {
        const later = attempt();
        return later === undefined ? undefined : this.#finish(task, later);
      };
    }
    return this.#settle(task) ?? outcome;
  }

  /** A trap's result, or the handler of a signal that is delivered at its end. */
  #finish(task: FakeTask, result: number): TrapOutcome {
    const index = task.pending.findIndex((signal) => !task.masked.has(signal));
    if (index < 0) return result;
    const [signal = 0] = task.pending.splice(index, 1);
    const action = task.actions.get(signal);
    if (action === undefined || action.handler < 2) {
      this.signal(task, signal);
      return result;
    }
    task.saved.push(result);
    return { pc: action.handler, a0: signal, a1: 0, a2: 0 };
  }

  /** Resumes every task whose trap can end now; when all sleep, time goes on to the first that wakes. */
  #settle(current: FakeTask): TrapOutcome | undefined {
    if (this.#settling) return undefined;
    this.#settling = true;
    let own: TrapOutcome | undefined;
    for (let changed = true; changed;) {
      changed = false;
      for (const task of Array.from(this.tasks.values())) {
        if (task.attempt === undefined) continue;
        const interrupted = task.pending.some((signal) => !task.masked.has(signal));
        const outcome = task.attempt() ?? (interrupted ? this.#finish(task, -4) : undefined);
        if (outcome === undefined) continue;
        task.attempt = undefined;
        changed = true;
        // The task whose trap this is has not got PENDING yet: it gets the outcome at once.
        if (task === current) own = outcome;
        else task.port?.onResume(outcome);
      }
      const running = [...this.tasks.values()].some(
        (task) => task.status === undefined && task.attempt === undefined,
      );
      const wakes = [...this.tasks.values()].flatMap(({ wakeAt }) => (wakeAt === undefined ? [] : [wakeAt]));
      if (!changed && !running && wakes.length > 0) {
        this.nowNs = Math.max(this.nowNs, Math.min(...wakes));
        changed = true;
      }
    }
    this.#settling = false;
    return own;
  }

  #pushVectors(memory: FakeMemory, argv: readonly string[], env: readonly string[]): number {
    let at = STACK_TOP;
    const push = (text: string): number => {
      const bytes = toBytes(`${text}\0`);
      at -= bytes.length;
      memory.write(at, bytes);
      return at;
    };
    const argvAt = argv.map((text) => push(text));
    const envAt = env.map((text) => push(text));
    const words = [argv.length, ...argvAt, 0, ...envAt, 0, 6, 4096, 0, 0];
    at = Math.floor((at - words.length * 8) / 16) * 16;
    words.forEach((word, i) => memory.writeU64(at + i * 8, word));
    return at;
  }
}

/** The name in an image's note: the NUL-terminated word after the owner. */
function programName(bytes: Uint8Array): string | undefined {
  return /alien\0{3}([^\0]+)\0/.exec(fromBytes(bytes))?.[1];
}
