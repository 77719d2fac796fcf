/**
 * File locks (Linux: fs/locks.c): POSIX record locks (owned by a descriptor table), OFD locks (owned by an open file) and
 * flock(2) (owned by an open file). One `FileLocks` per inode that has any.
 *
 * POSIX and OFD locks are byte ranges of one list and conflict with each other; flock locks are a world of their own. Setting a
 * range splits, shrinks and merges what its owner held. A blocked request sleeps on `waiters` and tries again; a cycle of POSIX
 * owners is EDEADLK.
 */
import { EAGAIN, EDEADLK, F_RDLCK, F_UNLCK, F_WRLCK, isErr, type Result } from "@alien-ts/abi";
import type { Cx } from "../core/cx.ts";
import type { Blocking } from "../core/row.ts";
import { WaitQueue, waitEvent, wakeUpAll } from "../sched/wait.ts";
import type { FilesStruct } from "./fd-table.ts";
import type { File } from "./file.ts";

export type LockOwner = FilesStruct | File;

/** A byte range; `end` is the last byte, Infinity to the end of the file and beyond. */
export interface RecordLock {
  readonly owner: LockOwner;
  /** F_RDLCK or F_WRLCK. */
  readonly type: number;
  readonly start: number;
  readonly end: number;
  /** As F_GETLK reports it: −1 for OFD locks. */
  readonly pid: number;
}

export interface FlockLock {
  readonly owner: File;
  readonly isExclusive: boolean;
  readonly pid: number;
}

/** Who waits for whom, for deadlock detection; per kernel, in kernel.vfs. */
export type LockWaits = Map<LockOwner, RecordLock>;

const overlaps = (a: RecordLock, b: RecordLock): boolean => a.start <= b.end && b.start <= a.end;

const conflicts = (held: RecordLock, wanted: RecordLock): boolean =>
  held.owner !== wanted.owner && overlaps(held, wanted) && (held.type === F_WRLCK || wanted.type === F_WRLCK);

export class FileLocks {
  /** Sorted by start. */
  records: readonly RecordLock[] = [];
  flocks: readonly FlockLock[] = [];
  readonly waiters = new WaitQueue();

  /** The first lock that `wanted` conflicts with. */
  conflictOf(wanted: RecordLock): RecordLock | undefined {
    return this.records.find((held) => conflicts(held, wanted));
  }

  /** Sets, changes or (F_UNLCK) removes the owner's locks in a range. EAGAIN on a conflict. */
  set(cx: Cx, wanted: RecordLock): Result<0> {
    if (wanted.type !== F_UNLCK && this.conflictOf(wanted) !== undefined) return EAGAIN;
    this.records = merged(
      this.records.flatMap((held) => remainders(held, wanted)),
      wanted,
    );
    wakeUpAll(cx, this.waiters);
    return 0;
  }

  /** As set, sleeping while it conflicts (F_SETLKW). EDEADLK, ERESTARTSYS. */
  *setWait(cx: Cx, wanted: RecordLock): Blocking<Result<0>> {
    const { lockWaits } = cx.kernel.vfs;
    for (;;) {
      const result = this.set(cx, wanted);
      if (result !== EAGAIN) return result;
      if (this.#deadlocks(wanted, lockWaits)) return EDEADLK;
      lockWaits.set(wanted.owner, this.conflictOf(wanted)!);
      const woken = yield* waitEvent(cx, this.waiters, () => this.conflictOf(wanted) === undefined);
      lockWaits.delete(wanted.owner);
      if (isErr(woken)) return woken;
    }
  }

  /** Whether waiting for the conflicting owner leads back to the one who wants to wait (posix_locks_deadlock). */
  #deadlocks(wanted: RecordLock, waits: LockWaits): boolean {
    let at = this.conflictOf(wanted);
    for (let depth = 0; at !== undefined && depth < 10; depth++) {
      if (at.owner === wanted.owner) return true;
      at = waits.get(at.owner);
    }
    return false;
  }

  #flockConflicts(owner: File, isExclusive: boolean): boolean {
    return this.flocks.some((held) => held.owner !== owner && (isExclusive || held.isExclusive));
  }

  /** flock(2) without waiting. An upgrade gives the old lock up first, as Linux does. EAGAIN. */
  flock(cx: Cx, owner: File, isExclusive: boolean): Result<0> {
    const held = this.flocks.find((lock) => lock.owner === owner);
    if (held?.isExclusive === isExclusive) return 0;
    if (held !== undefined) this.funlock(cx, owner);
    if (this.#flockConflicts(owner, isExclusive)) return EAGAIN;
    this.flocks = [...this.flocks, { owner, isExclusive, pid: cx.task.tgid }];
    return 0;
  }

  *flockWait(cx: Cx, owner: File, isExclusive: boolean): Blocking<Result<0>> {
    for (;;) {
      const result = this.flock(cx, owner, isExclusive);
      if (result !== EAGAIN) return result;
      const woken = yield* waitEvent(cx, this.waiters, () => !this.#flockConflicts(owner, isExclusive));
      if (isErr(woken)) return woken;
    }
  }

  funlock(cx: Cx, owner: File): void {
    if (!this.flocks.some((lock) => lock.owner === owner)) return;
    this.flocks = this.flocks.filter((lock) => lock.owner !== owner);
    wakeUpAll(cx, this.waiters);
  }

  /** A descriptor of the inode was closed: its table's POSIX locks go (locks_remove_posix). */
  removePosix(cx: Cx, owner: FilesStruct): void {
    this.#removeRecords(cx, owner);
  }

  /** An open file is gone: its OFD and flock locks go. */
  releaseFile(cx: Cx, file: File): void {
    this.#removeRecords(cx, file);
    this.funlock(cx, file);
  }

  #removeRecords(cx: Cx, owner: LockOwner): void {
    if (!this.records.some((lock) => lock.owner === owner)) return;
    this.records = this.records.filter((lock) => lock.owner !== owner);
    wakeUpAll(cx, this.waiters);
  }
}

/** What stays of a held lock when its owner sets another range. */
function remainders(held: RecordLock, wanted: RecordLock): RecordLock[] {
  if (held.owner !== wanted.owner || !overlaps(held, wanted)) return [held];
  const parts: RecordLock[] = [];
  if (held.start < wanted.start) parts.push({ ...held, end: wanted.start - 1 });
  if (held.end > wanted.end) parts.push({ ...held, start: wanted.end + 1 });
  return parts;
}

/** Adds `wanted`, joined with neighbours of the same owner and type. */
function merged(records: readonly RecordLock[], wanted: RecordLock): readonly RecordLock[] {
  if (wanted.type === F_UNLCK) return records;
  let { start, end } = wanted;
  const others: RecordLock[] = [];
  for (const lock of records) {
    const touches = lock.start <= end + 1 && start <= lock.end + 1;
    if (lock.owner === wanted.owner && lock.type === wanted.type && touches) {
      start = Math.min(start, lock.start);
      end = Math.max(end, lock.end);
    } else others.push(lock);
  }
  others.push({ ...wanted, start, end });
  return others.sort((a, b) => a.start - b.start);
}

export const isLockType = (type: number): boolean => type === F_RDLCK || type === F_WRLCK || type === F_UNLCK;
