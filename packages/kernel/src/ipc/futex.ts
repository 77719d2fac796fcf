/**
 * Futexes: waiting on a word of user memory (Linux: kernel/futex; futex(2)), and the robust lists that a dying thread leaves.
 *
 * A futex is named by its *key*: the address space and the address, or for shared mappings the byte's place in memory, which
 * all mappings of the page share. Waiters of one key wait in order; a wake takes them from the front.
 */
import {
  EAGAIN,
  EFAULT,
  EINVAL,
  ENOSYS,
  ERESTART_RESTARTBLOCK,
  ERESTARTSYS,
  ETIMEDOUT,
  type Errno,
  FUTEX,
  isErr,
  ptr,
  type Result,
  s32,
  long,
  type UAddr,
  u32,
  userPtr,
} from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { type Blocking, blockingFn } from "../core/row.ts";
import type { Task } from "../core/task.ts";
import type { AddressSpace } from "../mm/address-space.ts";
import { ACCESS } from "../mm/fault.ts";
import { get_user_u32, get_user_u64, get_user_s64, put_user_u32 } from "../mm/uaccess.ts";
import { waitEvent, WaitQueue, wakeUp } from "../sched/wait.ts";
import { ktimeAt } from "./user-time.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    futexes: Futexes;
  }
}

/** FUTEX_BITSET_MATCH_ANY */
const MATCH_ANY = 0xffff_ffff;
const WORD_BYTES = 4;

interface Waiter {
  readonly queue: WaitQueue;
  readonly bitset: number;
  /** The list it waits in; undefined when it was woken. */
  bucket: Bucket | undefined;
}

class Bucket {
  waiters: Waiter[] = [];
}

interface Key {
  /** An address space, or the kernel's memory for shared pages. */
  readonly space: object;
  readonly at: number;
}

export class Futexes {
  readonly #spaces = new WeakMap<object, Map<number, Bucket>>();

  find({ space, at }: Key): Bucket | undefined {
    return this.#spaces.get(space)?.get(at);
  }

  make({ space, at }: Key): Bucket {
    const words = this.#spaces.get(space) ?? new Map<number, Bucket>();
    this.#spaces.set(space, words);
    const bucket = words.get(at) ?? new Bucket();
    words.set(at, bucket);
    return bucket;
  }

  /** Forgets a list that nobody waits in. */
  tidy({ space, at }: Key): void {
    const words = this.#spaces.get(space);
    if (words?.get(at)?.waiters.length === 0) words.delete(at);
  }
}

export function initFutexes(kernel: Kernel): void {
  kernel.futexes = new Futexes();
  kernel.futexWakeAddress = (cx, task, addr, count) => {
    if (task.mm !== null) futex_wake(cx, { mm: task.mm, uaddr: addr, isShared: true }, count, MATCH_ANY);
  };
  kernel.taskHooks.push({ name: "futex", exit: (cx, task) => exit_robust_list(cx, task) });
}

interface Word {
  readonly mm: AddressSpace;
  readonly uaddr: UAddr;
  /** FUTEX_PRIVATE_FLAG is not set. */
  readonly isShared: boolean;
}

/** EINVAL unless aligned, EFAULT. Linux: get_futex_key(). */
function keyOf(kernel: Kernel, { mm, uaddr, isShared }: Word): Result<Key> {
  if (uaddr % WORD_BYTES !== 0) return EINVAL;
  const place = mm.translate(uaddr, ACCESS.READ);
  if (place < 0) return EFAULT;
  const vma = isShared ? mm.vmas.containing(uaddr) : undefined;
  return vma?.isShared === true ? { space: kernel.mem, at: place } : { space: mm, at: uaddr };
}

/** futex(2). `timeout` is a ktime_t with an absolute CLOCK_MONOTONIC time, or NULL. */
export const do_futex = blockingFn(
  "do_futex",
  [
    ["uaddr", userPtr("u32")],
    ["op", s32],
    ["val", u32],
    ["timeout", ptr("s64")],
    ["uaddr2", userPtr("u32")],
    ["val2", u32],
    ["val3", u32],
  ],
  long,
  (cx, uaddr, op, val, timeout, uaddr2, val2, val3): Result<number> | Blocking<Result<number>> => {
    const { mm } = cx.task;
    if (mm === null) return EFAULT;
    const isShared = (op & FUTEX.PRIVATE_FLAG) === 0;
    const word: Word = { mm, uaddr, isShared };
    const other: Word = { mm, uaddr: uaddr2, isShared };
    const command = op & FUTEX.CMD_MASK;
    if ((op & FUTEX.CLOCK_REALTIME) !== 0 && command !== FUTEX.WAIT_BITSET) return ENOSYS;
    switch (command) {
      case FUTEX.WAIT:
        return futex_wait(cx, word, { value: val, bitset: MATCH_ANY, deadlineNs: ktimeAt(cx, timeout) });
      case FUTEX.WAIT_BITSET:
        return futex_wait(cx, word, { value: val, bitset: val3, deadlineNs: ktimeAt(cx, timeout) });
      case FUTEX.WAKE:
        return futex_wake(cx, word, val | 0, MATCH_ANY);
      case FUTEX.WAKE_BITSET:
        return futex_wake(cx, word, val | 0, val3);
      case FUTEX.REQUEUE:
        return futex_requeue(cx, word, other, { wake: val | 0, requeue: val2 | 0, expected: undefined });
      case FUTEX.CMP_REQUEUE:
        return futex_requeue(cx, word, other, { wake: val | 0, requeue: val2 | 0, expected: val3 });
      case FUTEX.WAKE_OP:
        return futex_wake_op(cx, word, other, { wake: val | 0, wakeOther: val2 | 0, operation: val3 });
      default:
        return ENOSYS;
    }
  },
  {
    doc: "Waits on, or wakes waiters of, a word of user memory.",
    fidelity: { simplified: "no priority inheritance" },
  },
);

interface WaitRequest {
  readonly value: number;
  readonly bitset: number;
  readonly deadlineNs: number | undefined;
}

function* futex_wait(cx: Cx, word: Word, request: WaitRequest): Blocking<Result<number>> {
  if (request.bitset === 0) return EINVAL;
  const { futexes } = cx.kernel;
  const key = keyOf(cx.kernel, word);
  if (isErr(key)) return key;
  const value = get_user_u32(word.mm, word.uaddr);
  if (isErr(value)) return value;
  if (value !== request.value) return EAGAIN;
  const bucket = futexes.make(key);
  const waiter: Waiter = { queue: new WaitQueue(), bitset: request.bitset, bucket };
  bucket.waiters.push(waiter);
  const { deadlineNs } = request;
  const isWoken = (): boolean => waiter.bucket === undefined;
  const woken = yield* waitEvent(cx, waiter.queue, isWoken, deadlineNs === undefined ? {} : { deadlineNs });
  if (isWoken()) return 0;
  leave(waiter);
  futexes.tidy(key);
  if (!isErr(woken)) return ETIMEDOUT;
  if (deadlineNs === undefined) return ERESTARTSYS;
  cx.task.restartBlock = () => futex_wait(cx, word, request);
  return ERESTART_RESTARTBLOCK;
}

function leave(waiter: Waiter): void {
  const { bucket } = waiter;
  waiter.bucket = undefined;
  if (bucket !== undefined) bucket.waiters = bucket.waiters.filter((other) => other !== waiter);
}

/** Wakes up to `count` waiters of a bucket whose bits match; at least one, as Linux does for a count of 0. */
function wakeBucket(cx: Cx, bucket: Bucket | undefined, count: number, bitset: number): number {
  let woken = 0;
  for (const waiter of bucket?.waiters ?? []) {
    if ((waiter.bitset & bitset) === 0) continue;
    leave(waiter);
    wakeUp(cx, waiter.queue);
    woken += 1;
    if (woken >= count) break;
  }
  return woken;
}

export function futex_wake(cx: Cx, word: Word, count: number, bitset: number): Result<number> {
  if (bitset === 0) return EINVAL;
  const { futexes } = cx.kernel;
  const key = keyOf(cx.kernel, word);
  if (isErr(key)) return key;
  const woken = wakeBucket(cx, futexes.find(key), count, bitset);
  futexes.tidy(key);
  return woken;
}

interface Requeue {
  readonly wake: number;
  readonly requeue: number;
  /** CMP_REQUEUE: what the word must be. */
  readonly expected: number | undefined;
}

function futex_requeue(
  cx: Cx,
  word: Word,
  other: Word,
  { wake, requeue, expected }: Requeue,
): Result<number> {
  if (wake < 0 || requeue < 0) return EINVAL;
  const { futexes } = cx.kernel;
  const from = keyOf(cx.kernel, word);
  const to = keyOf(cx.kernel, other);
  if (isErr(from)) return from;
  if (isErr(to)) return to;
  if (expected !== undefined) {
    const value = get_user_u32(word.mm, word.uaddr);
    if (isErr(value)) return value;
    if (value !== expected) return EAGAIN;
  }
  const source = futexes.find(from);
  const target = futexes.make(to);
  let done = 0;
  for (const waiter of source?.waiters ?? []) {
    if (done - wake >= requeue) break;
    leave(waiter);
    done += 1;
    if (done <= wake) wakeUp(cx, waiter.queue);
    else {
      waiter.bucket = target;
      target.waiters.push(waiter);
    }
  }
  futexes.tidy(from);
  futexes.tidy(to);
  return done;
}

interface WakeOp {
  readonly wake: number;
  readonly wakeOther: number;
  /** FUTEX_OP(op, oparg, cmp, cmparg). */
  readonly operation: number;
}

function futex_wake_op(
  cx: Cx,
  word: Word,
  other: Word,
  { wake, wakeOther, operation }: WakeOp,
): Result<number> {
  const { futexes } = cx.kernel;
  const key = keyOf(cx.kernel, word);
  const otherKey = keyOf(cx.kernel, other);
  if (isErr(key)) return key;
  if (isErr(otherKey)) return otherKey;
  const holds = applyOperation(other, operation);
  if (isErr(holds)) return holds;
  let woken = wakeBucket(cx, futexes.find(key), wake, MATCH_ANY);
  if (holds) woken += wakeBucket(cx, futexes.find(otherKey), wakeOther, MATCH_ANY);
  futexes.tidy(key);
  futexes.tidy(otherKey);
  return woken;
}

const signed12 = (value: number): number => (value << 20) >> 20;

/** Changes the word as FUTEX_OP says; whether its old value compares. Linux: futex_atomic_op_inuser(). */
function applyOperation({ mm, uaddr }: Word, encoded: number): Result<boolean> {
  const isShift = (encoded & 0x8000_0000) !== 0;
  const raw = signed12(encoded >> 12);
  const argument = isShift ? 1 << (raw & 31) : raw;
  const old = get_user_u32(mm, uaddr);
  if (isErr(old)) return old;
  const results = [argument, old + argument, old | argument, old & ~argument, old ^ argument];
  const fresh = results[(encoded >>> 28) & 7];
  if (fresh === undefined) return ENOSYS;
  const written: Result<0> = put_user_u32(mm, uaddr, fresh);
  if (isErr(written)) return written;
  return compare((encoded >>> 24) & 15, old | 0, signed12(encoded));
}

function compare(operator: number, value: number, argument: number): boolean | Errno {
  const outcomes = [
    value === argument,
    value !== argument,
    value < argument,
    value <= argument,
    value > argument,
    value >= argument,
  ];
  return outcomes[operator] ?? ENOSYS;
}

const FUTEX_WAITERS = 0x8000_0000;
const FUTEX_OWNER_DIED = 0x4000_0000;
const FUTEX_TID_MASK = 0x3fff_ffff;
/** Entries that are walked at most: the list is user memory, and may be a circle. */
const ROBUST_LIST_LIMIT = 2048;

/** Marks the robust futexes that a dying thread holds, and wakes one waiter of each. Linux: exit_robust_list(). */
function exit_robust_list(cx: Cx, task: Task): void {
  const { mm, robustList } = task;
  if (mm === null || robustList.head === 0) return;
  const { head } = robustList;
  task.robustList = { head: 0, length: 0 };
  const offset = get_user_s64(mm, head + 8);
  const pending = get_user_u64(mm, head + 16);
  let entry = get_user_u64(mm, head);
  if (isErr(offset) || isErr(pending)) return;
  for (let i = 0; i < ROBUST_LIST_LIMIT && !isErr(entry) && entry !== head; i++) {
    const at = entry - (entry % 2);
    const next: Result<number> = get_user_u64(mm, at);
    if (at !== pending && !ownerDied(cx, task, at + offset)) return;
    entry = next;
  }
  if (pending !== 0) ownerDied(cx, task, pending - (pending % 2) + offset);
}

/** Linux: handle_futex_death(). False when the word cannot be reached. */
function ownerDied(cx: Cx, task: Task, uaddr: UAddr): boolean {
  const { mm } = task;
  if (mm === null) return false;
  const value = get_user_u32(mm, uaddr);
  if (isErr(value)) return false;
  if ((value & FUTEX_TID_MASK) !== task.pid) return true;
  if (isErr(put_user_u32(mm, uaddr, ((value & FUTEX_WAITERS) | FUTEX_OWNER_DIED) >>> 0))) return false;
  if ((value & FUTEX_WAITERS) !== 0) futex_wake(cx, { mm, uaddr, isShared: true }, 1, MATCH_ANY);
  return true;
}
