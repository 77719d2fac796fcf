/**
 * Pipes: `struct pipe_inode_info`, its ring of page buffers, reading and writing (Linux: fs/pipe.c; pipe(7)).
 *
 * A `Pipe` is what both ends' files keep in private_data; `createPipe` makes one, `putPipe` drops a file's hold. `pipe_read` and
 * `pipe_write` sleep where Linux does. Writes of up to PIPE_BUF bytes are atomic: they go into one buffer.
 *
 * Invariants: buffers [tail, head) of the ring hold bytes, each at least one; each has a page of its own; head and tail grow
 * without bound and are masked by the ring's size, a power of two.
 */
import {
  EAGAIN,
  EFAULT,
  ENOMEM,
  EPIPE,
  ERESTARTSYS,
  type Errno,
  isErr,
  type KAddr,
  O,
  PAGE_SIZE,
  POLL,
  ptr,
  type Result,
  SI,
  SIG,
  bool,
  ssize_t,
  struct,
  u32,
  ulong,
  type ViewOf,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { type Owned, ownerPtr } from "../core/owner.ts";
import { type Blocking, sleepingFn } from "../core/row.ts";
import type { IovIter } from "../mm/iov-iter.ts";
import { waitEvent, WaitQueue, wakeUp, wakeUpAll } from "../sched/wait.ts";
import { sendToTask, siginfo } from "../task/signal.ts";
import { iov_iterp } from "../vfs/file.ts";
import { kiocbp } from "../vfs/kiocb.ts";

export const pipe_buffer = struct("pipe_buffer", {
  page: ptr("page"),
  offset: u32,
  len: u32,
  ops: ptr("pipe_buf_operations"),
  flags: u32,
  private: ulong,
});

/** include/linux/pipe_fs_i.h */
export const pipe_inode_info = struct("pipe_inode_info", {
  head: u32,
  tail: u32,
  max_usage: u32,
  ring_size: u32,
  nr_accounted: u32,
  readers: u32,
  writers: u32,
  files: u32,
  r_counter: u32,
  w_counter: u32,
  poll_usage: bool,
  bufs: ptr("pipe_buffer"),
});

export const pipep = ownerPtr<Pipe>("pipe_inode_info");

/** Buffers of a new pipe: 64 KiB. */
export const PIPE_DEF_BUFFERS = 16;
/** sysctl fs.pipe-max-size. */
export const PIPE_MAX_SIZE = 1024 * 1024;

const PIPE_BUF_FLAG_PACKET = 0x08;
const PIPE_BUF_FLAG_CAN_MERGE = 0x10;

const READABLE = POLL.IN | POLL.RDNORM;
const WRITABLE = POLL.OUT | POLL.WRNORM;

export class Pipe implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof pipe_inode_info>;
  readonly readWait = new WaitQueue();
  readonly writeWait = new WaitQueue();
  /** One view per buffer of the ring. */
  buffers: ViewOf<typeof pipe_buffer>[] = [];
  /** FIFO readers opened without a writer: the value of w_counter then, so that poll tells "not yet" from HUP. */
  readonly openedAt = new WeakMap<object, number>();
  /** 0, or the pages of one drained buffer kept for the next (tmp_page): what a steady stream reuses. */
  #sparePage: KAddr = 0;

  constructor(kernel: Kernel, addr: KAddr) {
    this.kernel = kernel;
    this.addr = addr;
    this.t = new (kernel.layout.view(pipe_inode_info))(kernel.mem, addr);
  }

  get isEmpty(): boolean {
    return this.t.head === this.t.tail;
  }
  get used(): number {
    return (this.t.head - this.t.tail) >>> 0;
  }
  get isFull(): boolean {
    return this.used >= this.t.max_usage;
  }
  /** The buffer at position `at` of the ring. */
  at(at: number): ViewOf<typeof pipe_buffer> {
    return this.buffers[at & (this.t.ring_size - 1)]!;
  }
  /** Bytes in the pipe: FIONREAD. */
  get bytes(): number {
    let sum = 0;
    for (let at = this.t.tail; at !== this.t.head; at = (at + 1) >>> 0) sum += this.at(at).len;
    return sum;
  }

  takePage(): KAddr | 0 {
    const spare = this.#sparePage;
    if (spare === 0) return this.kernel.pages.alloc(1, "pipe page", false);
    this.#sparePage = 0;
    return spare;
  }

  givePage(page: KAddr): void {
    if (this.#sparePage === 0) this.#sparePage = page;
    else this.kernel.pages.put(page);
  }

  /** Drops the buffer at the tail. */
  release(): void {
    const buffer = this.at(this.t.tail);
    this.givePage(buffer.page);
    buffer.page = 0;
    buffer.ops = 0;
    this.t.tail = (this.t.tail + 1) >>> 0;
  }

  /** Gives the ring `slots` buffers, a power of two that holds what is in it. ENOMEM. Linux: pipe_resize_ring(). */
  resize(slots: number): Result<0> {
    const { kernel } = this;
    const size = kernel.layout.size(pipe_buffer);
    const addr = kernel.kmalloc.kzalloc(size * slots, "pipe buffers");
    if (addr === 0) return ENOMEM;
    const View = kernel.layout.view(pipe_buffer);
    const fresh = Array.from({ length: slots }, (_, i) => new View(kernel.mem, addr + i * size));
    const { used } = this;
    for (let i = 0; i < used; i++)
      kernel.mem.u8.copyWithin(
        fresh[i]!.addr,
        this.at(this.t.tail + i).addr,
        this.at(this.t.tail + i).addr + size,
      );
    kernel.kmalloc.kfree(this.t.bufs);
    this.buffers = fresh;
    this.t.bufs = addr;
    this.t.tail = 0;
    this.t.head = used;
    this.t.ring_size = slots;
    this.t.max_usage = slots;
    this.t.nr_accounted = slots;
    return 0;
  }

  free(): void {
    const { kernel } = this;
    while (!this.isEmpty) this.release();
    if (this.#sparePage !== 0) kernel.pages.put(this.#sparePage);
    kernel.kmalloc.kfree(this.t.bufs);
    kernel.kmalloc.kfree(this.addr);
  }
}

/** An empty pipe without users. ENOMEM. Linux: alloc_pipe_info(). */
export function createPipe(kernel: Kernel): Result<Pipe> {
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(pipe_inode_info), "pipe_inode_info");
  if (addr === 0) return ENOMEM;
  const pipe = new Pipe(kernel, addr);
  kernel.kmalloc.setOwner(addr, pipe);
  pipe.t.r_counter = 1;
  pipe.t.w_counter = 1;
  const sized = pipe.resize(PIPE_DEF_BUFFERS);
  if (!isErr(sized)) return pipe;
  kernel.kmalloc.kfree(addr);
  return sized;
}

/** One end's file is gone: the other end is woken when it was the last of its kind (pipe_release). */
export function releaseEnd(cx: Cx, pipe: Pipe, isReader: boolean, isWriter: boolean): void {
  if (isReader) pipe.t.readers -= 1;
  if (isWriter) pipe.t.writers -= 1;
  if ((pipe.t.readers === 0) !== (pipe.t.writers === 0)) {
    wakeUpAll(cx, pipe.readWait, READABLE | POLL.ERR | POLL.HUP);
    wakeUpAll(cx, pipe.writeWait, WRITABLE | POLL.ERR | POLL.HUP);
  }
}

export const pipe_read = sleepingFn(
  "pipe_read",
  [
    ["iocb", kiocbp],
    ["to", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, to) {
    if (to.count === 0) return 0;
    const pipe = iocb.file.private_data as Pipe;
    let done = 0;
    let wakeWriter = false;
    let failure: Errno | undefined;
    for (;;) {
      const step = drain(pipe, to);
      done += step.copied;
      wakeWriter ||= step.madeRoom;
      failure = step.failure;
      if (failure !== undefined || step.isOver || pipe.t.writers === 0 || done > 0) break;
      if (iocb.isNonBlocking) {
        failure = EAGAIN;
        break;
      }
      const woken = yield* waitEvent(cx, pipe.readWait, () => !pipe.isEmpty || pipe.t.writers === 0);
      if (isErr(woken)) return woken;
    }
    if (wakeWriter) wakeUp(cx, pipe.writeWait, WRITABLE);
    return done > 0 || failure === undefined ? done : failure;
  },
  {
    local: true,
    doc: "Reads from a pipe; sleeps while it is empty and has a writer.",
    aliases: ["anon_pipe_read"],
  },
);

interface DrainStep {
  readonly copied: number;
  readonly madeRoom: boolean;
  /** The caller has all that it asked for, or one packet. */
  readonly isOver: boolean;
  readonly failure: Errno | undefined;
}

function drain(pipe: Pipe, to: IovIter): DrainStep {
  let copied = 0;
  let madeRoom = false;
  while (!pipe.isEmpty) {
    const buffer = pipe.at(pipe.t.tail);
    const wanted = Math.min(buffer.len, to.count);
    const written = to.copy_to_iter(buffer.page + buffer.offset, wanted);
    if (written < wanted)
      return { copied, madeRoom, isOver: true, failure: copied === 0 ? EFAULT : undefined };
    copied += written;
    buffer.offset += written;
    buffer.len -= written;
    const isPacket = (buffer.flags & PIPE_BUF_FLAG_PACKET) !== 0;
    if (isPacket) buffer.len = 0;
    if (buffer.len === 0) {
      madeRoom ||= pipe.isFull;
      pipe.release();
    }
    if (isPacket || to.count === 0) return { copied, madeRoom, isOver: true, failure: undefined };
  }
  return { copied, madeRoom, isOver: false, failure: undefined };
}

export const pipe_write = sleepingFn(
  "pipe_write",
  [
    ["iocb", kiocbp],
    ["from", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, from) {
    if (from.count === 0) return 0;
    const pipe = iocb.file.private_data as Pipe;
    if (pipe.t.readers === 0) return brokenPipe(cx);
    let wasEmpty = pipe.isEmpty;
    const merged = wasEmpty ? 0 : merge(pipe, from);
    if (isErr(merged)) return merged;
    let done = merged;
    let failure: Errno | undefined;
    const isPacketized = (iocb.file.flags & O.DIRECT) !== 0;
    while (from.count > 0) {
      if (pipe.t.readers === 0) {
        failure = brokenPipe(cx);
        break;
      }
      if (!pipe.isFull) {
        const added = append(pipe, from, isPacketized);
        if (isErr(added)) {
          failure = added;
          break;
        }
        done += added;
        continue;
      }
      if (iocb.isNonBlocking) {
        failure = EAGAIN;
        break;
      }
      if (cx.task.hasPendingSignal) {
        failure = ERESTARTSYS;
        break;
      }
      if (wasEmpty) wakeUp(cx, pipe.readWait, READABLE);
      yield* waitForRoom(cx, pipe);
      wasEmpty = pipe.isEmpty;
    }
    if ((wasEmpty || pipe.t.poll_usage) && done > 0) wakeUp(cx, pipe.readWait, READABLE);
    return done > 0 || failure === undefined ? done : failure;
  },
  {
    local: true,
    doc: "Writes to a pipe; sleeps while it is full and has a reader.",
    aliases: ["anon_pipe_write"],
  },
);

const waitForRoom = (cx: Cx, pipe: Pipe): Blocking<Result<boolean>> =>
  waitEvent(cx, pipe.writeWait, () => !pipe.isFull || pipe.t.readers === 0);

/** Nobody can read: SIGPIPE to the writer. */
function brokenPipe(cx: Cx): Errno {
  sendToTask(cx, cx.task, { ...siginfo(SIG.PIPE, SI.USER), pid: cx.task.tgid, uid: cx.task.cred.uid });
  return EPIPE;
}

/** Puts the odd bytes of a write behind the last buffer's, when all of them fit there. */
function merge(pipe: Pipe, from: IovIter): Result<number> {
  const odd = from.count & (PAGE_SIZE - 1);
  const last = pipe.at(pipe.t.head - 1);
  const end = last.offset + last.len;
  if (odd === 0 || (last.flags & PIPE_BUF_FLAG_CAN_MERGE) === 0 || end + odd > PAGE_SIZE) return 0;
  const copied = from.copy_from_iter(last.page + end, odd);
  if (copied < odd) return EFAULT;
  last.len += copied;
  return copied;
}

/** Fills one more buffer. */
function append(pipe: Pipe, from: IovIter, isPacketized: boolean): Result<number> {
  const page = pipe.takePage();
  if (page === 0) return ENOMEM;
  const copied = from.copy_from_iter(page, PAGE_SIZE);
  if (copied < PAGE_SIZE && from.count > 0) {
    pipe.givePage(page);
    return EFAULT;
  }
  const buffer = pipe.at(pipe.t.head);
  buffer.page = page;
  buffer.offset = 0;
  buffer.len = copied;
  buffer.ops = pipe.kernel.vfs.tableAddress("anon_pipe_buf_ops");
  buffer.flags = isPacketized ? PIPE_BUF_FLAG_PACKET : PIPE_BUF_FLAG_CAN_MERGE;
  pipe.t.head = (pipe.t.head + 1) >>> 0;
  return copied;
}
