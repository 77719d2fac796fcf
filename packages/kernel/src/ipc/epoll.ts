/**
 * epoll: a file that collects ready files (Linux: fs/eventpoll.c; epoll(7)).
 *
 * An `EventPoll` watches (file, fd) pairs, its *items*. Each item has a callback in the wait queues of its file; a wake-up whose
 * key has one of the item's events puts it at the end of the ready list. `epoll_wait` takes items from the front, asks each
 * file again, and reports those that are ready; a level-triggered item goes back to the end, an edge-triggered one waits for
 * the next wake-up, a one-shot one is disabled until EPOLL_CTL_MOD.
 *
 * `initEpoll` lets the VFS tell of closed files. An item holds no reference to its file.
 */
import {
  EBADF,
  EEXIST,
  EFAULT,
  EINTR,
  EINVAL,
  ELOOP,
  ENOENT,
  ENOMEM,
  EPERM,
  EPOLL,
  epoll_event,
  bool,
  isErr,
  type KAddr,
  nested,
  O,
  POLL,
  ptr,
  type Result,
  s32,
  struct,
  type UAddr,
  userPtr,
  type ViewOf,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { Owned } from "../core/owner.ts";
import { type Blocking, kernelFn, sleepingFn } from "../core/row.ts";
import { access_ok, copy_to_user } from "../mm/uaccess.ts";
import { waitEvent, type WaitEntry, WaitQueue, wakeUp } from "../sched/wait.ts";
import { anon_inode_getfile } from "../vfs/anon-inodes.ts";
import { addFile } from "../vfs/fd-table.ts";
import { type File, type FileOperations, fput, get_file, vfs_poll } from "../vfs/file.ts";
import { stackAlloc } from "../vfs/path.ts";
import { userMm } from "../vfs/user.ts";
import { deadlineAt } from "./user-time.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    /** Items by the file that they watch. */
    epollWatches: Map<File, Set<EpItem>>;
  }
}

export const epoll_filefd = struct("epoll_filefd", { file: ptr("file"), fd: s32 });
export const epitem = struct("epitem", {
  ffd: nested(epoll_filefd),
  dying: bool,
  ep: ptr("eventpoll"),
  event: nested(epoll_event),
});
export const eventpoll = struct("eventpoll", { file: ptr("file"), loop_check_depth: s32 });

/** Bits that say how an item is watched, not what for. */
const EP_PRIVATE_BITS = EPOLL.WAKEUP | EPOLL.ONESHOT | EPOLL.ET | EPOLL.EXCLUSIVE;
const EPOLLINOUT_BITS = POLL.IN | POLL.OUT;
const EPOLLEXCLUSIVE_OK_BITS =
  EPOLLINOUT_BITS | POLL.ERR | POLL.HUP | EPOLL.WAKEUP | EPOLL.ET | EPOLL.EXCLUSIVE;
/** Depth of epoll files that watch epoll files. */
const EP_MAX_NESTS = 4;
const EVENT_BYTES = 16;
const EP_MAX_EVENTS = Math.floor(0x7fff_ffff / EVENT_BYTES);

export class EpItem {
  readonly addr: KAddr;
  readonly ep: EventPoll;
  readonly file: File;
  readonly fd: number;
  /** The struct's event. */
  readonly event: ViewOf<typeof epoll_event>;
  readonly queues: WaitQueue[] = [];
  readonly entry: WaitEntry;

  constructor(ep: EventPoll, file: File, fd: number, addr: KAddr, isExclusive: boolean) {
    const { kernel } = ep;
    this.addr = addr;
    this.ep = ep;
    this.file = file;
    this.fd = fd;
    const t = new (kernel.layout.view(epitem))(kernel.mem, addr);
    t.ep = ep.addr;
    t.ffd.file = file.addr;
    t.ffd.fd = fd;
    this.event = t.event;
    this.entry = { exclusive: isExclusive, wake: (cx, key) => ep_poll_callback(cx, this, key) };
  }

  /** Events it is watched for; 0 once a one-shot item was reported. */
  get wanted(): number {
    return this.event.events & ~EP_PRIVATE_BITS;
  }
  has(flag: number): boolean {
    return (this.event.events & flag) !== 0;
  }
}

export class EventPoll implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  /** Tasks in epoll_wait. */
  readonly wait = new WaitQueue();
  /** Those that poll the epoll file itself. */
  readonly pollWait = new WaitQueue();
  /** By file, then by descriptor. */
  readonly items = new Map<File, Map<number, EpItem>>();
  /** In the order in which they became ready. */
  ready = new Set<EpItem>();
  file!: File;

  constructor(kernel: Kernel, addr: KAddr) {
    this.kernel = kernel;
    this.addr = addr;
  }
}

export function initEpoll(kernel: Kernel): void {
  kernel.epollWatches = new Map();
  kernel.vfs.releaseHooks.push((_cx, file) => {
    const watching = kernel.epollWatches.get(file);
    if (watching !== undefined) for (const item of watching) removeItem(item);
  });
}

export const eventpoll_fops: FileOperations = {
  name: "eventpoll_fops",
  poll(cx, file, register) {
    const ep = file.private_data as EventPoll;
    register?.(ep.pollWait);
    return hasReadyItem(cx, ep) ? POLL.IN | POLL.RDNORM : 0;
  },
  release(cx, _inode, file) {
    const ep = file.private_data as EventPoll;
    for (const byFd of ep.items.values()) for (const item of byFd.values()) removeItem(item);
    cx.kernel.kmalloc.kfree(ep.addr);
  },
  show_fdinfo(_cx, file) {
    let text = "";
    for (const byFd of (file.private_data as EventPoll).items.values())
      for (const item of byFd.values()) text += itemLine(item);
    return text;
  },
};

function itemLine({ file, fd, event }: EpItem): string {
  const tfd = String(fd).padStart(8);
  const events = event.events.toString(16).padStart(8);
  const data = event.data.toString(16).padStart(16);
  const place = `pos:${file.pos} ino:${file.inode.ino.toString(16)} sdev:${file.inode.sb.dev.toString(16)}`;
  return `tfd: ${tfd} events: ${events} data: ${data}  ${place}\n`;
}

/** Whether an item of the ready list is ready still; those that are not leave it. Linux: __ep_eventpoll_poll(). */
function hasReadyItem(cx: Cx, ep: EventPoll): boolean {
  for (const item of ep.ready) {
    if (pollItem(cx, item) !== 0) return true;
    ep.ready.delete(item);
  }
  return false;
}

const pollItem = (cx: Cx, item: EpItem): number => vfs_poll(cx, item.file) & item.event.events;

/** A watched file was woken. Answers whether that counts as waking an exclusive waiter. */
function ep_poll_callback(cx: Cx, item: EpItem, key: number): boolean {
  const { ep } = item;
  let wokeExclusive = false;
  const isWanted = item.wanted !== 0 && (key === 0 || (key & item.event.events) !== 0);
  if (isWanted) {
    ep.ready.add(item);
    if (!ep.wait.isEmpty) {
      const inOut = key & EPOLLINOUT_BITS;
      wokeExclusive = inOut === 0 || (inOut !== EPOLLINOUT_BITS && (inOut & item.event.events) !== 0);
    }
    announce(cx, ep);
  }
  return item.has(EPOLL.EXCLUSIVE) ? wokeExclusive : true;
}

function announce(cx: Cx, ep: EventPoll): void {
  wakeUp(cx, ep.wait);
  wakeUp(cx, ep.pollWait, POLL.IN);
}

/** epoll_create1(2). EINVAL, EMFILE, ENFILE, ENOMEM. */
export const do_epoll_create = kernelFn(
  "do_epoll_create",
  [["flags", s32]],
  s32,
  (cx, flags) => {
    if ((flags & ~EPOLL.CLOEXEC) !== 0) return EINVAL;
    const { kernel } = cx;
    const addr = kernel.kmalloc.kzalloc(kernel.layout.size(eventpoll), "eventpoll");
    if (addr === 0) return ENOMEM;
    const ep = new EventPoll(kernel, addr);
    kernel.kmalloc.setOwner(addr, ep);
    const file = anon_inode_getfile(cx, "[eventpoll]", eventpoll_fops, ep, O.RDWR | (flags & O.CLOEXEC));
    if (isErr(file)) {
      kernel.kmalloc.kfree(addr);
      return file;
    }
    ep.file = file;
    new (kernel.layout.view(eventpoll))(kernel.mem, addr).file = file.addr;
    return addFile(cx, file, (flags & EPOLL.CLOEXEC) !== 0);
  },
  { local: true },
);

const isEpoll = (file: File): boolean => file.f_op === eventpoll_fops;

/** An event on the kernel stack, for `do_epoll_ctl`. The caller restores cx.ksp. */
export function stackEvent(cx: Cx): KAddr {
  return stackAlloc(cx, cx.kernel.layout.size(epoll_event));
}

/** `epds` is a struct epoll_event in kernel memory; NULL for EPOLL_CTL_DEL. */
export const do_epoll_ctl = kernelFn(
  "do_epoll_ctl",
  [
    ["epfd", s32],
    ["op", s32],
    ["fd", s32],
    ["epds", ptr("epoll_event")],
    ["nonblock", bool],
  ],
  s32,
  (cx, epfd, op, fd, epds) => {
    const epFile = cx.task.files.get(epfd);
    const target = cx.task.files.get(fd);
    if (epFile === undefined || target === undefined) return EBADF;
    if (target.f_op.poll === undefined) return EPERM;
    if (epFile === target || !isEpoll(epFile)) return EINVAL;
    const ep = epFile.private_data as EventPoll;
    const event = epds === 0 ? undefined : new (cx.kernel.layout.view(epoll_event))(cx.kernel.mem, epds);
    if (event !== undefined && (event.events & EPOLL.EXCLUSIVE) !== 0) {
      if (op === EPOLL.CTL_MOD) return EINVAL;
      if (op === EPOLL.CTL_ADD && (isEpoll(target) || (event.events & ~EPOLLEXCLUSIVE_OK_BITS) !== 0))
        return EINVAL;
    }
    const item = ep.items.get(target)?.get(fd);
    switch (op) {
      case EPOLL.CTL_ADD:
        if (isEpoll(target) && !mayNest(ep, target.private_data as EventPoll)) return ELOOP;
        if (item !== undefined) return EEXIST;
        return event === undefined ? EFAULT : insertItem(cx, ep, target, fd, event);
      case EPOLL.CTL_DEL:
        if (item === undefined) return ENOENT;
        removeItem(item);
        return 0;
      case EPOLL.CTL_MOD:
        if (item === undefined) return ENOENT;
        if (event === undefined || item.has(EPOLL.EXCLUSIVE)) return EINVAL;
        modifyItem(cx, item, event);
        return 0;
      default:
        return EINVAL;
    }
  },
  { doc: "Adds, changes or removes what an epoll file watches." },
);

/** Linux: ep_insert(). */
function insertItem(
  cx: Cx,
  ep: EventPoll,
  file: File,
  fd: number,
  event: ViewOf<typeof epoll_event>,
): Result<0> {
  const { kernel } = cx;
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(epitem), "epitem");
  if (addr === 0) return ENOMEM;
  const item = new EpItem(ep, file, fd, addr, (event.events & EPOLL.EXCLUSIVE) !== 0);
  item.event.events = (event.events | POLL.ERR | POLL.HUP) >>> 0;
  item.event.data = event.data;
  const byFd = ep.items.get(file) ?? new Map<number, EpItem>();
  ep.items.set(file, byFd.set(fd, item));
  const watching = kernel.epollWatches.get(file) ?? new Set<EpItem>();
  kernel.epollWatches.set(file, watching.add(item));
  const events = vfs_poll(cx, file, (queue) => {
    queue.add(item.entry);
    item.queues.push(queue);
  });
  if ((events & item.event.events) !== 0) {
    ep.ready.add(item);
    announce(cx, ep);
  }
  return 0;
}

/** Linux: ep_modify(). */
function modifyItem(cx: Cx, item: EpItem, event: ViewOf<typeof epoll_event>): void {
  item.event.events = (event.events | POLL.ERR | POLL.HUP) >>> 0;
  item.event.data = event.data;
  if (pollItem(cx, item) === 0 || item.ep.ready.has(item)) return;
  item.ep.ready.add(item);
  announce(cx, item.ep);
}

/** Linux: ep_remove(). */
function removeItem(item: EpItem): void {
  const { ep, file, fd } = item;
  const { kernel } = ep;
  for (const queue of item.queues) queue.remove(item.entry);
  ep.ready.delete(item);
  const byFd = ep.items.get(file);
  byFd?.delete(fd);
  if (byFd?.size === 0) ep.items.delete(file);
  const watching = kernel.epollWatches.get(file);
  watching?.delete(item);
  if (watching?.size === 0) kernel.epollWatches.delete(file);
  kernel.kmalloc.kfree(item.addr);
}

/** Whether `ep` may watch `inner`: no circle, and no more than EP_MAX_NESTS on top of each other. Linux: ep_loop_check(). */
function mayNest(ep: EventPoll, inner: EventPoll): boolean {
  if (reaches(inner, ep)) return false;
  return depthBelow(inner) + 1 + depthAbove(ep) <= EP_MAX_NESTS;
}

function innerOf(ep: EventPoll): EventPoll[] {
  return [...ep.items.keys()].filter(isEpoll).map((file) => file.private_data as EventPoll);
}

function outerOf(ep: EventPoll): EventPoll[] {
  return [...(ep.kernel.epollWatches.get(ep.file) ?? [])].map((item) => item.ep);
}

function reaches(from: EventPoll, to: EventPoll): boolean {
  return from === to || innerOf(from).some((inner) => reaches(inner, to));
}

const depthBelow = (ep: EventPoll): number =>
  Math.max(0, ...innerOf(ep).map((inner) => 1 + depthBelow(inner)));
const depthAbove = (ep: EventPoll): number =>
  Math.max(0, ...outerOf(ep).map((outer) => 1 + depthAbove(outer)));

/** epoll_pwait(2) without its mask. EINVAL, EFAULT, EBADF; EINTR on a signal: it is never restarted. */
export const do_epoll_wait = sleepingFn(
  "do_epoll_wait",
  [
    ["epfd", s32],
    ["events", userPtr("struct epoll_event")],
    ["maxevents", s32],
    ["to", ptr("timespec64")],
  ],
  s32,
  function* (cx, epfd, events, maxevents, to) {
    if (maxevents <= 0 || maxevents > EP_MAX_EVENTS) return EINVAL;
    if (!access_ok(events, maxevents * EVENT_BYTES)) return EFAULT;
    const file = cx.task.files.get(epfd);
    if (file === undefined) return EBADF;
    if (!isEpoll(file)) return EINVAL;
    get_file(file);
    const deadlineNs = deadlineAt(cx, to);
    const result = yield* ep_poll(cx, file.private_data as EventPoll, { events, maxevents, deadlineNs });
    fput(cx, file);
    return result;
  },
  { doc: "Waits for events on an epoll file." },
);

interface EpollWait {
  readonly events: UAddr;
  readonly maxevents: number;
  readonly deadlineNs: number | undefined;
}

function* ep_poll(cx: Cx, ep: EventPoll, request: EpollWait): Blocking<Result<number>> {
  const { deadlineNs } = request;
  let isOver = deadlineNs !== undefined && deadlineNs <= cx.kernel.clock.nowNs();
  for (;;) {
    const sent = sendEvents(cx, ep, request);
    if (sent !== 0 || isOver) return sent;
    if (cx.task.hasPendingSignal) return EINTR;
    const woken = yield* waitEvent(
      cx,
      ep.wait,
      () => ep.ready.size > 0,
      deadlineNs === undefined ? { exclusive: true } : { deadlineNs, exclusive: true },
    );
    if (isErr(woken)) return EINTR;
    isOver = !woken;
  }
}

/** Linux: ep_send_events(). EFAULT when not even one event could be copied. */
function sendEvents(cx: Cx, ep: EventPoll, { events, maxevents }: EpollWait): Result<number> {
  const taken = [...ep.ready];
  ep.ready = new Set();
  let count = 0;
  let next = 0;
  for (; next < taken.length && count < maxevents; next++) {
    const item = taken[next]!;
    const revents = pollItem(cx, item);
    if (revents === 0) continue;
    if (!writeEvent(cx, item, revents, events + count * EVENT_BYTES)) break;
    count += 1;
    if (item.has(EPOLL.ONESHOT)) item.event.events = (item.event.events & EP_PRIVATE_BITS) >>> 0;
    else if (!item.has(EPOLL.ET)) ep.ready.add(item);
  }
  const isFault = next < taken.length && count < maxevents;
  if (next < taken.length) ep.ready = new Set([...taken.slice(next), ...ep.ready]);
  return isFault && count === 0 ? EFAULT : count;
}

function writeEvent(cx: Cx, item: EpItem, revents: number, to: UAddr): boolean {
  const { layout, mem } = cx.kernel;
  const { ksp } = cx;
  const addr = stackEvent(cx);
  const event = new (layout.view(epoll_event))(mem, addr);
  event.events = revents >>> 0;
  event.data = item.event.data;
  const isCopied = copy_to_user(userMm(cx), to, addr, EVENT_BYTES) === 0;
  cx.ksp = ksp;
  return isCopied;
}
