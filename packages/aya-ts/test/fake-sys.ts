/**
 * A system for tests: memory, virtual time, files, descriptors with epoll, signals, and bpf(2) as a function that a test gives.
 *
 * It refuses a second trap while one is outstanding, counts what is allocated, and keeps the list of all calls.
 */
import {
  BPF_CMD,
  CLOCK,
  EAGAIN,
  EBADF,
  EINTR,
  EINVAL,
  ENOENT,
  ENOSYS,
  EPOLL,
  NR,
  POLL,
  UserFault,
  utf8Decode,
  utf8Encode,
} from "@alien-ts/abi";
import type { UAddr, UserMemory } from "@alien-ts/abi";
import type { SignalHandler, Sys } from "../src/sys/sys.ts";

const NAMES = new Map<number, string>(Object.entries(NR).map(([name, number]) => [number, name]));
const COMMANDS = new Map<number, string>(Object.entries(BPF_CMD).map(([name, number]) => [number, name]));
const MEMORY_BYTES = 4 * 1024 * 1024;

export class FakeMemory implements UserMemory {
  readonly bytes = new Uint8Array(MEMORY_BYTES);
  readonly #view = new DataView(this.bytes.buffer);

  read(addr: UAddr, length: number): Uint8Array {
    this.#check(addr, length);
    return this.bytes.slice(addr, addr + length);
  }
  write(addr: UAddr, bytes: Uint8Array): void {
    this.#check(addr, bytes.length);
    this.bytes.set(bytes, addr);
  }
  readU8(addr: UAddr): number {
    return this.#view.getUint8(addr);
  }
  readU32(addr: UAddr): number {
    return this.#view.getUint32(addr, true);
  }
  writeU32(addr: UAddr, value: number): void {
    this.#view.setUint32(addr, value, true);
  }
  readU64(addr: UAddr): number {
    return Number(this.#view.getBigUint64(addr, true));
  }
  writeU64(addr: UAddr, value: number): void {
    this.#view.setBigUint64(addr, BigInt.asUintN(64, BigInt(value)), true);
  }
  readCString(addr: UAddr): Uint8Array {
    return this.bytes.slice(addr, this.bytes.indexOf(0, addr));
  }
  view(addr: UAddr, length: number): DataView {
    this.#check(addr, length);
    return new DataView(this.bytes.buffer, addr, length);
  }
  #check(addr: UAddr, length: number): void {
    if (addr < 4096 || addr + length > MEMORY_BYTES) throw new UserFault(addr);
  }
}

type Args = readonly number[];
type Handler = (...args: number[]) => number;

interface FakeFile {
  readonly kind: string;
  /** Bytes that a read gives. */
  input: Uint8Array;
  peer?: number;
}

export class FakeSys implements Sys {
  readonly memory = new FakeMemory();
  /** Virtual nanoseconds. */
  nowNs = 1_000_300_000;
  readonly log: string[] = [];
  readonly files = new Map<string, string>();
  readonly fds = new Map<number, FakeFile>();
  /** Blocks that were not freed. */
  readonly blocks = new Set<UAddr>();
  /** bpf(2): a result, by command name and the address of the attribute. */
  bpf: (command: string, attr: DataView, self: FakeSys) => number = () => -EINVAL.number;
  /** Calls that a test replaces, by name. */
  readonly overrides = new Map<string, Handler>();
  /** Microtasks before a trap's result arrives; 0: at once. */
  delayHops: () => number = () => 0;
  #next = 8192;
  #nextFd = 3;
  #outstanding = false;
  readonly #watches = new Map<number, { events: number; token: number; isFresh: boolean }>();
  readonly #schedule: { at: number; run: () => void }[] = [];
  readonly #handlers = new Map<number, SignalHandler>();
  readonly #signalActions = new Map<number, number>();
  #raised: number[] = [];

  trap(nr: number, ...args: number[]): number | Promise<number> {
    if (this.#outstanding) throw new Error(`second trap ${NAMES.get(nr)} while one is outstanding`);
    const name = NAMES.get(nr) ?? String(nr);
    this.log.push(name === "bpf" ? `bpf ${COMMANDS.get(args[0] ?? -1)}` : name);
    const result = this.#call(name, args);
    const hops = this.delayHops();
    if (hops === 0 && this.#raised.length === 0) return result;
    this.#outstanding = true;
    return this.#later(result, hops);
  }

  alloc(bytes: number): UAddr {
    const at = this.#next;
    this.#next += Math.ceil(bytes / 16) * 16 + 16;
    this.blocks.add(at);
    this.memory.bytes.fill(0xaa, at, at + bytes);
    return at;
  }

  free(addr: UAddr): void {
    if (!this.blocks.delete(addr)) throw new Error(`free of ${addr}, which is not allocated`);
  }

  handlerAddress(handler: SignalHandler): UAddr {
    for (const [address, known] of this.#handlers) if (known === handler) return address;
    const address = 0x10_0000 + this.#handlers.size * 16;
    this.#handlers.set(address, handler);
    return address;
  }

  /** Runs `run` at a point of virtual time, while the program sleeps in epoll_pwait. */
  at(ms: number, run: () => void): void {
    this.#schedule.push({ at: this.nowNs + ms * 1e6, run });
    this.#schedule.sort((a, b) => a.at - b.at);
  }

  raise(signal: number): void {
    this.#raised.push(signal);
  }

  /** Makes `fd` readable with `text`: an edge. */
  feed(fd: number, text: string): void {
    const file = this.fds.get(fd)!;
    file.input = Uint8Array.of(...file.input, ...utf8Encode(text));
    this.#edge(fd);
  }

  openFd(kind: string, input: Uint8Array = new Uint8Array(0)): number {
    const fd = this.#nextFd++;
    this.fds.set(fd, { kind, input });
    return fd;
  }

  async #later(result: number, hops: number): Promise<number> {
    for (let hop = 0; hop < hops; hop++) await undefined;
    const signals = this.#raised;
    this.#raised = [];
    for (const signal of signals) {
      // The handler's own traps are nested in this one.
      this.#outstanding = false;
      await this.#handlers.get(this.#signalActions.get(signal) ?? 0)?.(signal);
    }
    this.#outstanding = false;
    return result;
  }

  #call(name: string, args: Args): number {
    const override = this.overrides.get(name);
    if (override !== undefined) return override(...args);
    const handler = this.#calls[name];
    return handler === undefined ? -ENOSYS.number : handler(...args);
  }

  #edge(fd: number): void {
    const watch = this.#watches.get(fd);
    if (watch !== undefined) watch.isFresh = true;
  }

  #readyEvents(fd: number): number {
    const file = this.fds.get(fd);
    return file !== undefined && file.input.length > 0 ? POLL.IN : 0;
  }

  #epollWait(events: number, timeoutMs: number): number {
    const deadline = timeoutMs < 0 ? Infinity : this.nowNs + timeoutMs * 1e6;
    for (;;) {
      const count = this.#collect(events);
      if (count > 0) return count;
      if (this.#raised.length > 0) return -EINTR.number;
      const next = this.#schedule[0];
      if (next !== undefined && next.at <= deadline && timeoutMs !== 0) {
        this.#schedule.shift();
        this.nowNs = Math.max(this.nowNs, next.at);
        next.run();
        continue;
      }
      if (deadline === Infinity) throw new Error("epoll_pwait would sleep for ever");
      this.nowNs = Math.max(this.nowNs, deadline);
      return 0;
    }
  }

  #collect(at: number): number {
    let count = 0;
    for (const [fd, watch] of this.#watches) {
      const ready = this.#readyEvents(fd) & watch.events;
      if (!watch.isFresh || ready === 0) continue;
      watch.isFresh = false;
      this.memory.writeU32(at + count * 16, ready);
      this.memory.writeU64(at + count * 16 + 8, watch.token);
      count += 1;
    }
    return count;
  }

  readonly #calls: Readonly<Record<string, Handler>> = {
    clock_gettime: (clock = 0, at = 0) => {
      if (clock !== CLOCK.MONOTONIC) return -EINVAL.number;
      this.memory.writeU64(at, Math.floor(this.nowNs / 1e9));
      this.memory.writeU64(at + 8, this.nowNs % 1e9);
      return 0;
    },
    epoll_create1: () => this.openFd("epoll"),
    eventfd2: () => this.openFd("eventfd"),
    epoll_ctl: (_epoll = 0, operation = 0, fd = 0, at = 0) => {
      if (operation === EPOLL.CTL_DEL) return this.#watches.delete(fd) ? 0 : -ENOENT.number;
      const [events, token] = [this.memory.readU32(at), this.memory.readU64(at + 8)];
      this.#watches.set(fd, { events, token, isFresh: true });
      return 0;
    },
    epoll_pwait: (_epoll = 0, events = 0, _max = 0, timeoutMs = 0) => this.#epollWait(events, timeoutMs),
    socketpair: (_family = 0, _type = 0, _protocol = 0, at = 0) => {
      const [a, b] = [this.openFd("socket"), this.openFd("socket")];
      this.fds.get(b)!.peer = a;
      this.memory.writeU32(at, a);
      this.memory.writeU32(at + 4, b);
      return 0;
    },
    read: (fd = 0, at = 0, length = 0) => {
      const file = this.fds.get(fd);
      if (file === undefined) return -EBADF.number;
      if (file.input.length === 0) return file.kind === "file" ? 0 : -EAGAIN.number;
      const chunk = file.input.subarray(0, length);
      this.memory.write(at, chunk);
      file.input = file.input.slice(chunk.length);
      return chunk.length;
    },
    write: (fd = 0, at = 0, length = 0) => {
      const file = this.fds.get(fd);
      if (file === undefined) return -EBADF.number;
      const target = file.peer ?? fd;
      const into = this.fds.get(target)!;
      into.input = Uint8Array.of(...into.input, ...this.memory.read(at, length));
      this.#edge(target);
      return length;
    },
    rt_sigaction: (signal = 0, at = 0) => {
      this.#signalActions.set(signal, this.memory.readU64(at));
      return 0;
    },
    close: (fd = 0) => {
      this.#watches.delete(fd);
      return this.fds.delete(fd) ? 0 : -EBADF.number;
    },
    openat: (_folder = 0, path = 0) => {
      const text = this.files.get(utf8Decode(this.memory.readCString(path)));
      return text === undefined ? -ENOENT.number : this.openFd("file", utf8Encode(text));
    },
    uname: (at = 0) => {
      this.memory.write(at, new Uint8Array(390));
      this.memory.write(at + 130, utf8Encode("6.18.0-alien"));
      return 0;
    },
    munmap: () => 0,
    ioctl: () => 0,
    bpf: (command = 0, attr = 0, size = 0) =>
      this.bpf(COMMANDS.get(command) ?? "?", this.memory.view(attr, size), this),
  };
}
