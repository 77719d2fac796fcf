import {
  EAGAIN,
  EBADF,
  EDEADLK,
  EINVAL,
  type Errno,
  F,
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
  flock,
  O,
  SEEK,
} from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { isBlocking } from "../core/row.ts";
import { fileKernel, fileTask, FileTask, ok } from "../file-testing.ts";
import { sys_dup, sys_fcntl, sys_flock } from "../syscalls/fd.ts";
import { settle as settleAll, startTask } from "../testing.ts";
import { settle } from "./blocking.ts";
import { getStruct } from "./user.ts";

const no = (errno: Errno): number => -errno.number;
const [LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN] = [1, 2, 4, 8] as const;

function lockAt(
  task: FileTask,
  type: number,
  start: number,
  length: number,
  whence: number = SEEK.SET,
): number {
  const { layout } = task.kernel;
  const bytes = new Uint8Array(layout.size(flock));
  const view = new DataView(bytes.buffer);
  view.setInt16(layout.offset(flock, "l_type"), type, true);
  view.setInt16(layout.offset(flock, "l_whence"), whence, true);
  view.setBigInt64(layout.offset(flock, "l_start"), BigInt(start), true);
  view.setBigInt64(layout.offset(flock, "l_len"), BigInt(length), true);
  return task.put(bytes);
}

function readLock(task: FileTask, at: number): readonly number[] {
  const got = getStruct(task.cx, flock, at, (v) => [v.l_type, v.l_start, v.l_len, v.l_pid]);
  if (!Array.isArray(got)) throw new Error("flock");
  return got;
}

/** Two processes with the same file open. */
function two(): readonly [FileTask, number, FileTask, number] {
  const kernel = fileKernel();
  const a = fileTask(kernel);
  const b = fileTask(kernel);
  a.writeFile("/f", "x".repeat(100));
  return [a, a.open("/f", O.RDWR), b, b.open("/f", O.RDWR)];
}

/** Makes a call in a thread of `process`, which may sleep, and notes its result. */
function inThread(
  process: FileTask,
  call: (thread: FileTask) => unknown,
  done: (result: unknown) => void,
): void {
  startTask(process.kernel, "thread", function* (cx) {
    const thread = new FileTask(cx.task);
    thread.useFiles(process.task.files.share());
    const step = call(thread);
    done(isBlocking(step) ? yield* settle(step) : step);
  });
}

describe("record locks", () => {
  test("ranges conflict between processes, and F_GETLK says with whom", () => {
    const [a, fa, b, fb] = two();
    expect(a.call(sys_fcntl, fa, F.SETLK, lockAt(a, F_WRLCK, 10, 10))).toBe(0);
    expect(b.call(sys_fcntl, fb, F.SETLK, lockAt(b, F_RDLCK, 15, 1))).toBe(no(EAGAIN));
    expect(b.call(sys_fcntl, fb, F.SETLK, lockAt(b, F_RDLCK, 20, 0))).toBe(0);
    const at = lockAt(b, F_WRLCK, 0, 0);
    expect(b.call(sys_fcntl, fb, F.GETLK, at)).toBe(0);
    expect(readLock(b, at)).toEqual([F_WRLCK, 10, 10, a.task.tgid]);
    const free = lockAt(b, F_WRLCK, 0, 5);
    ok(b.call(sys_fcntl, fb, F.GETLK, free));
    expect(readLock(b, free)).toEqual([F_UNLCK, 0, 5, 0]);
  });

  test("setting a range splits and merges what its owner held", () => {
    const [a, fa] = two();
    ok(a.call(sys_fcntl, fa, F.SETLK, lockAt(a, F_WRLCK, 0, 100)));
    ok(a.call(sys_fcntl, fa, F.SETLK, lockAt(a, F_UNLCK, 40, 20)));
    ok(a.call(sys_fcntl, fa, F.SETLK, lockAt(a, F_RDLCK, 0, 10)));
    const records = (): unknown =>
      a.task.files.get(fa)!.inode.locks!.records.map((l) => [l.type, l.start, l.end]);
    expect(records()).toEqual([
      [F_RDLCK, 0, 9],
      [F_WRLCK, 10, 39],
      [F_WRLCK, 60, 99],
    ]);
    ok(a.call(sys_fcntl, fa, F.SETLK, lockAt(a, F_WRLCK, -60, 20, SEEK.END)));
    expect(records()).toEqual([
      [F_RDLCK, 0, 9],
      [F_WRLCK, 10, 99],
    ]);
  });

  test("closing any descriptor of the file drops the process's locks", () => {
    const [a, fa, b, fb] = two();
    ok(a.call(sys_fcntl, fa, F.SETLK, lockAt(a, F_WRLCK, 0, 0)));
    const other = a.open("/f", O.RDONLY);
    expect(b.call(sys_fcntl, fb, F.SETLK, lockAt(b, F_WRLCK, 0, 0))).toBe(no(EAGAIN));
    a.close(other);
    expect(b.call(sys_fcntl, fb, F.SETLK, lockAt(b, F_WRLCK, 0, 0))).toBe(0);
  });

  test("an open file description's locks stay until its last descriptor is closed", () => {
    const [a, fa, b, fb] = two();
    ok(a.call(sys_fcntl, fa, F.OFD_SETLK, lockAt(a, F_WRLCK, 0, 0)));
    const copy = ok(a.call(sys_dup, fa));
    a.close(fa);
    expect(b.call(sys_fcntl, fb, F.OFD_SETLK, lockAt(b, F_RDLCK, 0, 1))).toBe(no(EAGAIN));
    a.close(copy);
    expect(b.call(sys_fcntl, fb, F.OFD_SETLK, lockAt(b, F_RDLCK, 0, 1))).toBe(0);
  });

  test("F_SETLKW sleeps until the lock is free, and a cycle is EDEADLK", () => {
    const [a, fa, b, fb] = two();
    ok(a.call(sys_fcntl, fa, F.SETLK, lockAt(a, F_WRLCK, 0, 1)));
    ok(b.call(sys_fcntl, fb, F.SETLK, lockAt(b, F_WRLCK, 1, 1)));
    let result: unknown;
    inThread(
      b,
      (thread) => thread.start(sys_fcntl, fb, F.SETLKW, lockAt(thread, F_WRLCK, 0, 1)),
      (r) => (result = r),
    );
    settleAll(a.kernel);
    expect(result).toBe(undefined);
    expect(a.call(sys_fcntl, fa, F.SETLKW, lockAt(a, F_WRLCK, 1, 1))).toBe(no(EDEADLK));
    ok(a.call(sys_fcntl, fa, F.SETLK, lockAt(a, F_UNLCK, 0, 1)));
    settleAll(a.kernel);
    expect(result).toBe(0);
  });

  const refused: readonly [string, number, (task: FileTask) => number, Errno][] = [
    ["an unknown type", O.RDWR, (t) => lockAt(t, 9, 0, 0), EINVAL],
    ["an unknown whence", O.RDWR, (t) => lockAt(t, F_RDLCK, 0, 0, 7), EINVAL],
    ["a range before the file", O.RDWR, (t) => lockAt(t, F_RDLCK, -1, 0), EINVAL],
    ["a write lock of a reader", O.RDONLY, (t) => lockAt(t, F_WRLCK, 0, 0), EBADF],
    ["a read lock of a writer", O.WRONLY, (t) => lockAt(t, F_RDLCK, 0, 0), EBADF],
  ];
  test.each(refused)("%s is refused", (_name, flags, at, errno) => {
    const [task] = two();
    const fd = task.open("/f", flags);
    expect(task.call(sys_fcntl, fd, F.SETLK, at(task))).toBe(no(errno));
  });
});

describe("flock", () => {
  test("locks belong to the open file, shared ones agree, and an upgrade waits its turn", () => {
    const [a, fa, b, fb] = two();
    expect(a.call(sys_flock, fa, LOCK_SH)).toBe(0);
    expect(b.call(sys_flock, fb, LOCK_SH)).toBe(0);
    expect(b.call(sys_flock, fb, LOCK_EX | LOCK_NB)).toBe(no(EAGAIN));
    ok(a.call(sys_flock, fa, LOCK_UN));
    expect(b.call(sys_flock, fb, LOCK_EX | LOCK_NB)).toBe(0);
    const again = b.open("/f", O.RDONLY);
    expect(b.call(sys_flock, again, LOCK_SH | LOCK_NB)).toBe(no(EAGAIN));
    b.close(fb);
    expect(b.call(sys_flock, again, LOCK_EX | LOCK_NB)).toBe(0);
    expect(b.call(sys_flock, again, 3)).toBe(no(EINVAL));
    expect(b.call(sys_flock, 77, LOCK_EX)).toBe(no(EBADF));
  });
});
