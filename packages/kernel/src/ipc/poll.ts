/**
 * poll and select: waiting for events on many files (Linux: fs/select.c).
 *
 * A `PollWaiters` puts one callback into each wait queue that the files name, for the time of one call. A wake-up whose key has
 * none of the wanted events is ignored; any other makes the caller ask all files again. The descriptor sets lie in kernel
 * memory (`struct poll_list`, `fd_set_bits`), as Linux copies them.
 */
import {
  EBADF,
  EFAULT,
  EINVAL,
  ENOMEM,
  ERESTARTNOHAND,
  isErr,
  type KAddr,
  POLL,
  pollfd,
  ptr,
  type Result,
  s32,
  struct,
  u32,
  type UAddr,
  userPtr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import { type Blocking, sleepingFn } from "../core/row.ts";
import { copy_from_user, copy_to_user, put_user_u16 } from "../mm/uaccess.ts";
import { waitEvent, type WaitEntry, WaitQueue, wakeUp } from "../sched/wait.ts";
import { openFilesLimit } from "../vfs/fd-table.ts";
import { fget_raw, FMODE, fput, type PollRegister, vfs_poll } from "../vfs/file.ts";
import { userMm } from "../vfs/user.ts";
import { deadlineAt } from "./user-time.ts";

export const poll_list = struct("poll_list", { next: ptr("poll_list"), len: u32 });
export const fd_set_bits = struct("fd_set_bits", {
  in: ptr("unsigned long"),
  out: ptr("unsigned long"),
  ex: ptr("unsigned long"),
  res_in: ptr("unsigned long"),
  res_out: ptr("unsigned long"),
  res_ex: ptr("unsigned long"),
});

/** One call's entries in the queues of its files (struct poll_wqueues). */
export class PollWaiters {
  readonly #queue = new WaitQueue();
  readonly #entries: { readonly queue: WaitQueue; readonly entry: WaitEntry }[] = [];
  #isTriggered = false;

  /** Registers for wake-ups with one of `events`. */
  register(events: number): PollRegister {
    const entry: WaitEntry = {
      exclusive: false,
      wake: (cx, key) => {
        if (key !== 0 && (key & events) === 0) return false;
        this.#isTriggered = true;
        wakeUp(cx, this.#queue);
        return true;
      },
    };
    return (queue) => {
      queue.add(entry);
      this.#entries.push({ queue, entry });
    };
  }

  /** Sleeps until a registered queue is woken: true; until the deadline: false; ERESTARTSYS. */
  *wait(cx: Cx, deadlineNs: number | undefined): Blocking<Result<boolean>> {
    const woken = yield* waitEvent(
      cx,
      this.#queue,
      () => this.#isTriggered,
      deadlineNs === undefined ? {} : { deadlineNs },
    );
    this.#isTriggered = false;
    return woken;
  }

  free(): void {
    for (const { queue, entry } of this.#entries) queue.remove(entry);
  }
}

/** Asks files once; counts those that are ready. `waiters` is given in the first round only. */
type Scan = (waiters: PollWaiters | undefined) => Result<number>;

/** Asks until a file is ready, the deadline passed (0), or a signal is pending (ERESTARTNOHAND). */
function* pollUntil(cx: Cx, scan: Scan, deadlineNs: number | undefined): Blocking<Result<number>> {
  const waiters = new PollWaiters();
  const mayWait = deadlineNs === undefined || deadlineNs > cx.kernel.clock.nowNs();
  let result = scan(mayWait ? waiters : undefined);
  let isOver = !mayWait;
  while (result === 0 && !isOver) {
    const woken = yield* waiters.wait(cx, deadlineNs);
    result = scan(undefined);
    if (result !== 0) break;
    if (isErr(woken)) result = ERESTARTNOHAND;
    isOver = woken === false;
  }
  waiters.free();
  return result;
}

const POLL_ALWAYS = POLL.ERR | POLL.HUP;

export const do_poll = sleepingFn(
  "do_poll",
  [
    ["list", ptr("poll_list")],
    ["wait", ptr("poll_wqueues")],
    ["end_time", ptr("timespec64")],
  ],
  s32,
  (cx, list, _wait, endTime) =>
    pollUntil(cx, (waiters) => scanPollList(cx, list, waiters), deadlineAt(cx, endTime)),
  {
    local: true,
    doc: "Waits until a file of the list has one of its events.",
    fidelity: { simplified: "the wait queue entries are no part of kernel memory: wait is NULL" },
  },
);

function scanPollList(cx: Cx, list: KAddr, waiters: PollWaiters | undefined): number {
  const { layout, mem } = cx.kernel;
  const { len } = new (layout.view(poll_list))(mem, list);
  const Entry = layout.view(pollfd);
  const size = layout.size(pollfd);
  const first = list + layout.size(poll_list);
  let count = 0;
  for (let i = 0; i < len; i++) {
    const entry = new Entry(mem, first + i * size);
    const revents = pollOne(cx, entry.fd, entry.events, count === 0 ? waiters : undefined);
    entry.revents = revents;
    if (revents !== 0) count += 1;
  }
  return count;
}

/** Linux: do_pollfd(). */
function pollOne(cx: Cx, fd: number, wanted: number, waiters: PollWaiters | undefined): number {
  if (fd < 0) return 0;
  const file = fget_raw(cx, fd);
  if (isErr(file) || (file.mode & FMODE.PATH) !== 0) {
    if (!isErr(file)) fput(cx, file);
    return POLL.NVAL;
  }
  const filter = (wanted & 0xffff) | POLL_ALWAYS;
  const mask = vfs_poll(cx, file, waiters?.register(filter)) & filter;
  fput(cx, file);
  return mask;
}

export const do_sys_poll = sleepingFn(
  "do_sys_poll",
  [
    ["ufds", userPtr("struct pollfd")],
    ["nfds", u32],
    ["end_time", ptr("timespec64")],
  ],
  s32,
  function* (cx, ufds, nfds, endTime) {
    if (nfds > openFilesLimit(cx)) return EINVAL;
    const { kernel } = cx;
    const { kmalloc, layout, mem } = kernel;
    const header = layout.size(poll_list);
    const entrySize = layout.size(pollfd);
    const list = kmalloc.kzalloc(header + nfds * entrySize, "poll_list");
    if (list === 0) return ENOMEM;
    new (layout.view(poll_list))(mem, list).len = nfds;
    let result: Result<number> = EFAULT;
    if (copy_from_user(userMm(cx), list + header, ufds, nfds * entrySize) === 0) {
      result = yield* do_poll(cx, list, 0, endTime);
      if (!writeRevents(cx, list + header, ufds, nfds)) result = EFAULT;
    }
    kmalloc.kfree(list);
    return result;
  },
  { local: true },
);

function writeRevents(cx: Cx, entries: KAddr, ufds: UAddr, nfds: number): boolean {
  const { layout, mem } = cx.kernel;
  const at = layout.offset(pollfd, "revents");
  const size = layout.size(pollfd);
  const mm = userMm(cx);
  for (let i = 0; i < nfds; i++)
    if (isErr(put_user_u16(mm, ufds + i * size + at, mem.dv.getUint16(entries + i * size + at, true))))
      return false;
  return true;
}

/** The events that each of select's sets stands for, in the order of fd_set_bits. */
const SELECT_SETS = [
  POLL.RDNORM | POLL.RDBAND | POLL.IN | POLL.HUP | POLL.ERR,
  POLL.WRBAND | POLL.WRNORM | POLL.OUT | POLL.ERR,
  POLL.PRI,
] as const;

export const do_select = sleepingFn(
  "do_select",
  [
    ["n", s32],
    ["fds", ptr("fd_set_bits")],
    ["end_time", ptr("timespec64")],
  ],
  s32,
  (cx, n, fds, endTime) => pollUntil(cx, (waiters) => scanSets(cx, n, fds, waiters), deadlineAt(cx, endTime)),
  { doc: "Waits until a descriptor of the three sets is ready." },
);

function scanSets(cx: Cx, n: number, fds: KAddr, waiters: PollWaiters | undefined): Result<number> {
  const { layout, mem } = cx.kernel;
  const sets = new (layout.view(fd_set_bits))(mem, fds);
  const wanted = [sets.in, sets.out, sets.ex];
  const results = [sets.res_in, sets.res_out, sets.res_ex];
  for (const set of results) mem.u8.fill(0, set, set + setBytes(n));
  let count = 0;
  for (let fd = 0; fd < n; fd++) {
    const isIn = wanted.map((set) => ((mem.u8[set + (fd >>> 3)]! >>> (fd & 7)) & 1) === 1);
    if (!isIn.includes(true)) continue;
    const file = fget_raw(cx, fd);
    if (isErr(file)) return EBADF;
    const events = SELECT_SETS.reduce<number>((sum, set, i) => (isIn[i]! ? sum | set : sum), 0);
    const mask = vfs_poll(cx, file, count === 0 ? waiters?.register(events) : undefined);
    fput(cx, file);
    for (const [i, set] of SELECT_SETS.entries()) {
      if (!isIn[i]! || (mask & set) === 0) continue;
      mem.u8[results[i]! + (fd >>> 3)]! |= 1 << (fd & 7);
      count += 1;
    }
  }
  return count;
}

/** Bytes of a set of `n` descriptors: whole unsigned longs. */
const setBytes = (n: number): number => Math.ceil(n / 64) * 8;

export const core_sys_select = sleepingFn(
  "core_sys_select",
  [
    ["n", s32],
    ["inp", userPtr("fd_set")],
    ["outp", userPtr("fd_set")],
    ["exp", userPtr("fd_set")],
    ["end_time", ptr("timespec64")],
  ],
  s32,
  function* (cx, n, inp, outp, exp, endTime) {
    if (n < 0) return EINVAL;
    const count = Math.min(n, cx.task.files.max);
    const { kmalloc, layout, mem } = cx.kernel;
    const bytes = setBytes(count);
    const header = layout.size(fd_set_bits);
    const fds = kmalloc.kzalloc(header + 6 * bytes, "fd_set_bits");
    if (fds === 0) return ENOMEM;
    const sets = new (layout.view(fd_set_bits))(mem, fds);
    const at = (index: number): KAddr => fds + header + index * bytes;
    [sets.in, sets.out, sets.ex, sets.res_in, sets.res_out, sets.res_ex] = [
      at(0),
      at(1),
      at(2),
      at(3),
      at(4),
      at(5),
    ];
    const users = [inp, outp, exp];
    const mm = userMm(cx);
    const areRead = users.every((user, i) => user === 0 || copy_from_user(mm, at(i), user, bytes) === 0);
    let result: Result<number> = areRead ? yield* do_select(cx, count, fds, endTime) : EFAULT;
    if (!isErr(result)) {
      const areWritten = users.every(
        (user, i) => user === 0 || copy_to_user(mm, user, at(3 + i), bytes) === 0,
      );
      if (!areWritten) result = EFAULT;
    }
    kmalloc.kfree(fds);
    return result;
  },
);
