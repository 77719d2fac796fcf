/**
 * The executor's way to the kernel: one epoll instance, edge-triggered; an eventfd that wakes it; tokens that find the owner
 * of an event. Authority: mio's epoll selector, epoll(7).
 *
 * `poll` makes exactly one epoll_pwait(2). EINTR is ignored: a signal's handler has written to the signal pipe by then.
 */
import { EFD, EINTR, EPOLL, epoll_event, NR, POLL } from "@alien-ts/abi";
import type { UAddr } from "@alien-ts/abi";
import { SyscallError } from "../errors.ts";
import { closeFd } from "../sys/files.ts";
import { fieldOffset, recordSize } from "../sys/record.ts";
import { failedWith, withParts } from "../sys/sys.ts";
import type { SerialSys } from "../sys/sys.ts";

/** What mio asks for at once. */
const EVENT_CAPACITY = 1024;
const EVENT_BYTES = recordSize(epoll_event);
const DATA_AT = fieldOffset(epoll_event, "data");
const SIGSET_BYTES = 8;
const WAKER_TOKEN = 0;

export interface Readiness {
  readonly readable: boolean;
  readonly writable: boolean;
}

export interface Interest {
  readonly readable?: boolean;
  readonly writable?: boolean;
}

export type OnReady = (readiness: Readiness) => void;

export class Reactor {
  readonly #sys: SerialSys;
  readonly #epollFd: number;
  readonly #wakerFd: number;
  readonly #events: UAddr;
  readonly #owners = new Map<number, OnReady>();
  #lastToken = WAKER_TOKEN;

  private constructor(
    sys: SerialSys,
    fds: { readonly epollFd: number; readonly wakerFd: number },
    events: UAddr,
  ) {
    this.#sys = sys;
    this.#epollFd = fds.epollFd;
    this.#wakerFd = fds.wakerFd;
    this.#events = events;
  }

  static async open(sys: SerialSys): Promise<Reactor> {
    const epollFd = check("epoll_create1", await sys.trap(NR.epoll_create1, EPOLL.CLOEXEC));
    const wakerFd = check("eventfd2", await sys.trap(NR.eventfd2, 0, EFD.CLOEXEC | EFD.NONBLOCK));
    const reactor = new Reactor(sys, { epollFd, wakerFd }, await sys.alloc(EVENT_CAPACITY * EVENT_BYTES));
    await reactor.#control(EPOLL.CTL_ADD, wakerFd, { readable: true }, WAKER_TOKEN);
    return reactor;
  }

  async close(): Promise<void> {
    await closeFd(this.#sys, this.#epollFd);
    await closeFd(this.#sys, this.#wakerFd);
    await this.#sys.free(this.#events);
  }

  /** Watches `fd`; edge-triggered. The token is for `remove`. Throws EPERM for a file that cannot be polled, EEXIST for a second registration. */
  async add(fd: number, interest: Interest, onReady: OnReady): Promise<number> {
    const token = ++this.#lastToken;
    this.#owners.set(token, onReady);
    try {
      await this.#control(EPOLL.CTL_ADD, fd, interest, token);
    } catch (error) {
      this.#owners.delete(token);
      throw error;
    }
    return token;
  }

  async remove(fd: number, token: number): Promise<void> {
    this.#owners.delete(token);
    check("epoll_ctl", await this.#sys.trap(NR.epoll_ctl, this.#epollFd, EPOLL.CTL_DEL, fd, 0));
  }

  /** Makes a `poll` that sleeps, now or next, return. */
  async wake(): Promise<void> {
    await withParts(this.#sys, [Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)], ([at = 0]) =>
      this.#sys.trapNow(NR.write, this.#wakerFd, at, 8),
    );
  }

  /** @param timeoutMs -1: until something happens. */
  async poll(timeoutMs: number): Promise<number> {
    const result = this.#sys.trap(
      NR.epoll_pwait,
      this.#epollFd,
      this.#events,
      EVENT_CAPACITY,
      timeoutMs,
      0,
      SIGSET_BYTES,
    );
    const count = typeof result === "number" ? result : await result;
    if (failedWith(count, EINTR)) return 0;
    check("epoll_pwait", count);
    for (let index = 0; index < count; index++) this.#dispatch(this.#events + index * EVENT_BYTES);
    return count;
  }

  #dispatch(at: UAddr): void {
    const events = this.#sys.memory.readU32(at);
    const owner = this.#owners.get(this.#sys.memory.readU64(at + DATA_AT));
    owner?.({
      readable: (events & (POLL.IN | POLL.RDHUP | POLL.HUP | POLL.ERR)) !== 0,
      writable: (events & (POLL.OUT | POLL.HUP | POLL.ERR)) !== 0,
    });
  }

  async #control(operation: number, fd: number, interest: Interest, token: number): Promise<void> {
    await withParts(this.#sys, [EVENT_BYTES], async ([at = 0]) => {
      const readable = interest.readable === true ? POLL.IN | POLL.RDHUP : 0;
      const writable = interest.writable === true ? POLL.OUT | POLL.RDHUP : 0;
      this.#sys.memory.writeU32(at, (readable | writable | EPOLL.ET) >>> 0);
      this.#sys.memory.writeU64(at + DATA_AT, token);
      check("epoll_ctl", await this.#sys.trap(NR.epoll_ctl, this.#epollFd, operation, fd, at));
    });
  }
}

export function check(call: string, result: number): number {
  if (result < 0) throw new SyscallError(call, -result);
  return result;
}
