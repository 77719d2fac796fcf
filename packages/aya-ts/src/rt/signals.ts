/**
 * Signals as futures. The handler remembers the signal and writes a byte to a socket pair, whose other end epoll watches, as
 * tokio does: nothing else is safe inside a handler. A handler stays installed once it has been asked for.
 */
import { AF, NR, SA, SIG, sigaction, SOCK } from "@alien-ts/abi";
import type { UAddr } from "@alien-ts/abi";
import { closeFd } from "../sys/files.ts";
import { makeRecord } from "../sys/record.ts";
import { withParts } from "../sys/sys.ts";
import type { SerialSys, SignalHandler } from "../sys/sys.ts";
import { Future } from "./future.ts";
import type { Scheduler } from "./future.ts";
import { check } from "./reactor.ts";
import type { Reactor } from "./reactor.ts";

const DRAIN_BYTES = 128;
const SIGSET_BYTES = 8;

export class Signals {
  readonly #sys: SerialSys;
  readonly #scheduler: Scheduler;
  readonly #readFd: number;
  readonly #writeFd: number;
  /** A byte to send and room to drain: a handler must not allocate. */
  readonly #buffer: UAddr;
  readonly #installed = new Set<number>();
  readonly #pending = new Set<number>();
  readonly #waiting = new Map<number, Set<Future<void>>>();
  readonly #handler: SignalHandler = (signal) => this.#onSignal(signal);
  #handlerAddress: UAddr | undefined;
  #token = 0;

  private constructor(context: SignalContext, [readFd, writeFd]: readonly [number, number], buffer: UAddr) {
    this.#sys = context.sys;
    this.#scheduler = context.scheduler;
    this.#readFd = readFd;
    this.#writeFd = writeFd;
    this.#buffer = buffer;
  }

  static async open(context: SignalContext): Promise<Signals> {
    const { sys, reactor } = context;
    const fds = await withParts(sys, [8], async ([at = 0]) => {
      const type = SOCK.STREAM | SOCK.CLOEXEC | SOCK.NONBLOCK;
      check("socketpair", await sys.trap(NR.socketpair, AF.UNIX, type, 0, at));
      return [sys.memory.readU32(at), sys.memory.readU32(at + 4)] as const;
    });
    const buffer = await sys.alloc(8 + DRAIN_BYTES);
    sys.memory.write(buffer, Uint8Array.of(1));
    const signals = new Signals(context, fds, buffer);
    signals.#token = await reactor.add(fds[0], { readable: true }, () =>
      context.spawn(() => signals.#drain()),
    );
    return signals;
  }

  async close(reactor: Reactor): Promise<void> {
    await reactor.remove(this.#readFd, this.#token);
    await closeFd(this.#sys, this.#readFd);
    await closeFd(this.#sys, this.#writeFd);
    await this.#sys.free(this.#buffer);
  }

  /** The next SIGINT. */
  ctrlC(): Future<void> {
    return this.next(SIG.INT);
  }

  /** The next arrival of `signal` after this call; its default action is gone from now on. */
  next(signal: number): Future<void> {
    const waiting = this.#waiting.get(signal) ?? new Set();
    this.#waiting.set(signal, waiting);
    const future: Future<void> = new Future<void>(this.#scheduler, () => waiting.delete(future));
    waiting.add(future);
    this.#install(signal).catch((error: unknown) => future.fail(error));
    return future;
  }

  async #install(signal: number): Promise<void> {
    if (this.#installed.has(signal)) return;
    const { view, bytes } = makeRecord(sigaction);
    view.sa_handler = this.#handlerAddress ??= this.#sys.handlerAddress(this.#handler);
    view.sa_flags = SA.RESTART | SA.SIGINFO;
    await withParts(this.#sys, [bytes], async ([at = 0]) => {
      check("rt_sigaction", await this.#sys.trap(NR.rt_sigaction, signal, at, 0, SIGSET_BYTES));
    });
    this.#installed.add(signal);
  }

  /** Runs inside the trap that the signal interrupted. A full pipe is fine: the reader has not been there yet. */
  async #onSignal(signal: number): Promise<void> {
    this.#pending.add(signal);
    await this.#sys.trapNow(NR.write, this.#writeFd, this.#buffer, 1);
  }

  async #drain(): Promise<void> {
    let count = 1;
    while (count > 0) count = await this.#sys.trap(NR.read, this.#readFd, this.#buffer + 8, DRAIN_BYTES);
    const signals = Array.from(this.#pending);
    this.#pending.clear();
    for (const signal of signals) {
      const waiting = this.#waiting.get(signal);
      this.#waiting.delete(signal);
      for (const future of waiting ?? []) future.complete();
    }
  }
}

export interface SignalContext {
  readonly sys: SerialSys;
  readonly scheduler: Scheduler;
  readonly reactor: Reactor;
  /** Runs a task of the executor. */
  readonly spawn: (body: () => Promise<void>) => void;
}
