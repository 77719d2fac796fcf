/** Futexes and System V shared memory. */
import { EAGAIN, EINVAL, EFAULT, ETIMEDOUT, FUTEX, NR } from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import type { Blocking } from "../core/row.ts";
import { setMm } from "../task/create.ts";
import { ipcKernel, leaksOf, type Program, runProgram, startProgram } from "../testing-program.ts";

const wait = (p: Program, at: number, value: number, timeout = 0): Blocking<number> =>
  p.call(NR.futex, at, FUTEX.WAIT | FUTEX.PRIVATE_FLAG, value, timeout, 0, 0);
const wake = (p: Program, at: number, count: number): Blocking<number> =>
  p.call(NR.futex, at, FUTEX.WAKE | FUTEX.PRIVATE_FLAG, count, 0, 0, 0);

/** A thread of `p`: the same memory. */
function thread(p: Program, name: string, body: (t: Program) => Blocking<void>): void {
  startProgram(p.cx.kernel, name, function* (t) {
    t.cx.task.mm!.put();
    p.cx.task.mm!.get();
    setMm(t.cx.task, p.cx.task.mm);
    yield* body(t);
  });
}

describe("futexes", () => {
  test("a wait with another value is EAGAIN; a bad address is EFAULT, an odd one EINVAL", () => {
    runProgram(ipcKernel(), function* (p) {
      const word = p.words(1);
      expect(yield* wait(p, word, 2)).toBe(-EAGAIN.number);
      expect(yield* wait(p, 8, 2)).toBe(-EFAULT.number);
      expect(yield* wait(p, word + 1, 2)).toBe(-EINVAL.number);
      expect(yield* wake(p, word, 1)).toBe(0);
    });
  });

  test("waiters are woken in order, as many as asked", () => {
    runProgram(ipcKernel(), function* (p) {
      const word = p.words(0);
      const woken: string[] = [];
      for (const name of ["a", "b", "c"])
        thread(p, name, function* (t) {
          expect(yield* wait(t, word, 0)).toBe(0);
          woken.push(name);
        });
      yield* pause(p);
      expect(yield* wake(p, word, 2)).toBe(2);
      yield* pause(p);
      expect([...woken].sort()).toHaveLength(2);
      expect(yield* wake(p, word, 9)).toBe(1);
      yield* pause(p);
      expect(woken).toHaveLength(3);
    });
  });

  test("a wait ends at its time", () => {
    const kernel = ipcKernel();
    runProgram(kernel, function* (p) {
      const before = kernel.clock.nowNs();
      expect(yield* wait(p, p.words(0), 0, p.words(0, 0, 3_000_000, 0))).toBe(-ETIMEDOUT.number);
      expect(kernel.clock.nowNs() - before).toBeGreaterThanOrEqual(3_000_000);
    });
  });

  test("requeued waiters are woken at their new word", () => {
    runProgram(ipcKernel(), function* (p) {
      const [from, to] = [p.words(0), p.words(0)];
      let woken = 0;
      for (let i = 0; i < 3; i++)
        thread(p, `w${i}`, function* (t) {
          yield* wait(t, from, 0);
          woken += 1;
        });
      yield* pause(p);
      const op = FUTEX.CMP_REQUEUE | FUTEX.PRIVATE_FLAG;
      expect(yield* p.call(NR.futex, from, op, 1, 9, to, 0)).toBe(3);
      yield* pause(p);
      expect(woken).toBe(1);
      expect(yield* wake(p, to, 9)).toBe(2);
      yield* pause(p);
    });
  });

  test("FUTEX_WAKE_OP changes the second word and wakes by its old value", () => {
    runProgram(ipcKernel(), function* (p) {
      const second = p.words(5);
      const add3IfGreater4 = (1 << 28) | (4 << 24) | (3 << 12) | 4;
      const op = FUTEX.WAKE_OP | FUTEX.PRIVATE_FLAG;
      expect(yield* p.call(NR.futex, p.words(0), op, 1, 1, second, add3IfGreater4)).toBe(0);
      expect(p.word(second)).toBe(8);
    });
  });

  test("a dying thread marks its robust futexes", () => {
    runProgram(ipcKernel(), function* (p) {
      const lock = p.words(0, 0, 0, 0);
      thread(p, "owner", function* (t) {
        const entry = lock + 8;
        const head = p.words(entry, Math.floor(entry / 2 ** 32), -8 >>> 0, 0xffff_ffff, 0, 0);
        p.write(entry, new Uint8Array(Uint32Array.of(head, Math.floor(head / 2 ** 32)).buffer));
        p.write(lock, new Uint8Array(Uint32Array.of(t.cx.task.pid).buffer));
        yield* t.call(NR.set_robust_list, head, 24);
      });
      yield* pause(p);
      expect(p.word(lock)).toBe(0x4000_0000);
    });
  });
});

/** Lets the others run. */
function* pause(p: Program): Blocking<void> {
  yield* wait(p, p.words(0), 0, p.words(0, 0, 1_000_000, 0));
}

test("a shared memory segment is seen by all who attach it, and freed after removal and the last detach", () => {
  const kernel = ipcKernel();
  const leaks = leaksOf(kernel, () =>
    runProgram(kernel, function* (p) {
      const id = yield* p.call(NR.shmget, 0x1234, 8192, 0o1600);
      expect(yield* p.call(NR.shmget, 0x1234, 8192, 0o3600)).toBe(-17);
      const [a, b] = [yield* p.call(NR.shmat, id, 0, 0), yield* p.call(NR.shmat, id, 0, 0)];
      p.write(a + 5000, Uint8Array.of(42));
      expect(p.read(b + 5000, 1)[0]).toBe(42);
      expect(yield* p.call(NR.shmctl, id, 0, 0)).toBe(0);
      expect(yield* p.call(NR.shmdt, a)).toBe(0);
      expect(p.read(b + 5000, 1)[0]).toBe(42);
      expect(yield* p.call(NR.shmdt, b)).toBe(0);
      expect(yield* p.call(NR.shmdt, b)).toBe(-EINVAL.number);
    }),
  );
  expect(leaks).toEqual(new Map());
});
