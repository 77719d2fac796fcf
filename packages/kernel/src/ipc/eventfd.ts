/**
 * eventfd(2): a 64-bit counter as a file (Linux: fs/eventfd.c). Reads take it (all of it, or 1 with EFD_SEMAPHORE) and sleep
 * while it is 0; writes add to it and sleep while the sum would pass 2^64 − 2. Kernel code adds with `eventfd_signal`.
 */
import {
  EAGAIN,
  EBADF,
  EFAULT,
  EFD,
  EINVAL,
  ENOMEM,
  isErr,
  type KAddr,
  O,
  POLL,
  type Result,
  s32,
  ssize_t,
  struct,
  u32,
  u64,
  type ViewOf,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { type Owned, ownerPtr, voidType } from "../core/owner.ts";
import { kernelFn, sleepingFn } from "../core/row.ts";
import { waitEvent, WaitQueue, wakeUp } from "../sched/wait.ts";
import { anon_inode_getfile } from "../vfs/anon-inodes.ts";
import { addFile } from "../vfs/fd-table.ts";
import { type File, type FileOperations, iov_iterp } from "../vfs/file.ts";
import { kiocbp } from "../vfs/kiocb.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    nextEventfdId: number;
  }
}

export const eventfd_ctx = struct("eventfd_ctx", { count: u64, flags: u32, id: s32 });
export const eventfd_ctxp = ownerPtr<EventFd>("eventfd_ctx");

const U64_MAX = 0xffff_ffff_ffff_ffffn;
const WORD_BYTES = 8;

export class EventFd implements Owned {
  readonly addr: KAddr;
  readonly t: ViewOf<typeof eventfd_ctx>;
  readonly wait = new WaitQueue();

  constructor(kernel: Kernel, addr: KAddr) {
    this.addr = addr;
    this.t = new (kernel.layout.view(eventfd_ctx))(kernel.mem, addr);
  }

  get isSemaphore(): boolean {
    return (this.t.flags & EFD.SEMAPHORE) !== 0;
  }
}

export const eventfd_fops: FileOperations = {
  name: "eventfd_fops",
  read_iter: (cx, iocb, to) => eventfd_read(cx, iocb, to),
  write_iter: (cx, iocb, from) => eventfd_write(cx, iocb, from),
  poll(_cx, file, register) {
    const event = eventOf(file);
    register?.(event.wait);
    const { count } = event.t;
    let mask = count > 0n ? POLL.IN : 0;
    if (count === U64_MAX) mask |= POLL.ERR;
    if (count < U64_MAX - 1n) mask |= POLL.OUT;
    return mask;
  },
  release(cx, _inode, file) {
    cx.kernel.kmalloc.kfree(eventOf(file).addr);
  },
  show_fdinfo(_cx, file) {
    const { t, isSemaphore } = eventOf(file);
    const count = t.count.toString(16).padStart(16);
    return `eventfd-count: ${count}\neventfd-id: ${t.id}\neventfd-semaphore: ${isSemaphore ? 1 : 0}\n`;
  },
};

const eventOf = (file: File): EventFd => file.private_data as EventFd;

/** The counter behind a file: what perf, BPF and vhost signal. EINVAL for another kind of file. */
export const eventfd_ctx_fileget = (file: File): Result<EventFd> =>
  file.f_op === eventfd_fops ? eventOf(file) : EINVAL;

export const eventfd_read = sleepingFn(
  "eventfd_read",
  [
    ["iocb", kiocbp],
    ["to", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, to) {
    if (to.count < WORD_BYTES) return EINVAL;
    const event = eventOf(iocb.file);
    if (event.t.count === 0n) {
      if (iocb.isNonBlocking) return EAGAIN;
      const woken = yield* waitEvent(cx, event.wait, () => event.t.count > 0n);
      if (isErr(woken)) return woken;
    }
    const taken = event.isSemaphore ? 1n : event.t.count;
    event.t.count -= taken;
    wakeUp(cx, event.wait, POLL.OUT);
    return to.copyBytesTo(wordBytes(taken)) === WORD_BYTES ? WORD_BYTES : EFAULT;
  },
  { local: true, doc: "Takes an eventfd's counter; sleeps while it is 0." },
);

export const eventfd_write = sleepingFn(
  "eventfd_write",
  [
    ["iocb", kiocbp],
    ["from", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, from) {
    if (from.count < WORD_BYTES) return EINVAL;
    const bytes = from.take(WORD_BYTES);
    if (bytes.length < WORD_BYTES) return EFAULT;
    const added = wordOf(bytes);
    if (added === U64_MAX) return EINVAL;
    const event = eventOf(iocb.file);
    const hasRoom = (): boolean => U64_MAX - event.t.count > added;
    if (!hasRoom()) {
      if (iocb.isNonBlocking) return EAGAIN;
      const woken = yield* waitEvent(cx, event.wait, hasRoom);
      if (isErr(woken)) return woken;
    }
    event.t.count += added;
    wakeUp(cx, event.wait, POLL.IN);
    return WORD_BYTES;
  },
  {
    local: true,
    doc: "Adds to an eventfd's counter; sleeps while it would overflow.",
    fidelity: {
      simplified: "takes a kiocb and an iterator, where Linux takes file, buffer, count and position",
    },
  },
);

const wordBytes = (word: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(word).buffer);
const wordOf = (bytes: Uint8Array): bigint =>
  new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);

/** Adds 1 from the kernel; the counter stays at its largest value when it is there, which poll shows as ERR. */
export const eventfd_signal_mask = kernelFn(
  "eventfd_signal_mask",
  [
    ["ctx", eventfd_ctxp],
    ["mask", u32],
  ],
  voidType,
  (cx, ctx, mask) => {
    if (ctx.t.count < U64_MAX) ctx.t.count += 1n;
    wakeUp(cx, ctx.wait, POLL.IN | mask);
    return undefined;
  },
);

/** eventfd2(2). EINVAL for unknown flags, EMFILE, ENOMEM. */
export const do_eventfd = kernelFn(
  "do_eventfd",
  [
    ["count", u32],
    ["flags", s32],
  ],
  s32,
  (cx, count, flags) => {
    if ((flags & ~(EFD.CLOEXEC | EFD.NONBLOCK | EFD.SEMAPHORE)) !== 0) return EINVAL;
    const { kernel } = cx;
    const addr = kernel.kmalloc.kzalloc(kernel.layout.size(eventfd_ctx), "eventfd");
    if (addr === 0) return ENOMEM;
    const event = new EventFd(kernel, addr);
    kernel.kmalloc.setOwner(addr, event);
    event.t.count = BigInt(count);
    event.t.flags = flags;
    event.t.id = kernel.nextEventfdId++;
    const file = anon_inode_getfile(cx, "[eventfd]", eventfd_fops, event, O.RDWR | (flags & EFD.NONBLOCK));
    if (isErr(file)) {
      kernel.kmalloc.kfree(addr);
      return file;
    }
    return addFile(cx, file, (flags & EFD.CLOEXEC) !== 0);
  },
  { local: true },
);

/** The eventfd of a descriptor, for those that signal it. EBADF, EINVAL. */
export function eventfd_ctx_fdget(cx: Cx, fd: number): Result<EventFd> {
  const file = cx.task.files.get(fd);
  return file === undefined ? EBADF : eventfd_ctx_fileget(file);
}
