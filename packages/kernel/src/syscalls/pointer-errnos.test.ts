import { readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { CLONE, MAP, NR, O, PROT, SIG } from "@alien-ts/abi";
import { expect, test } from "vitest";
import { bootPrograms, runMachine, type TestTask } from "../testing-programs.ts";

/** Recorded on Linux by fixtures/pointer-errnos.c. */
const RECORDED = readFileSync(new URL("../../fixtures/pointer-errnos.tsv", import.meta.url), "utf8")
  .trim()
  .split("\n");
const PAGE = 4096;

/** Where this kernel answers something else, and why. */
const DIFFERENCES: ReadonlyMap<string, string> = new Map([
  ["clone3 P 88 readonly", "a TypeScript program cannot fork"],
  ["futex P 1 1 0 0 0 readonly", "a shared futex in a read-only anonymous page is not refused"],
]);

interface Place {
  readonly valid: number;
  readonly fds: Readonly<Record<string, number>>;
  readonly kinds: Readonly<Record<string, number>>;
}

async function prepare(task: TestTask): Promise<Place> {
  const anonymous = MAP.PRIVATE | MAP.ANONYMOUS;
  const map = (size: number): Promise<number> =>
    task.call(NR.mmap, 0, size, PROT.READ | PROT.WRITE, anonymous, -1, 0);
  const pages = await map(3 * PAGE);
  const valid = await map(PAGE);
  await task.call(NR.munmap, pages + PAGE, PAGE);
  await task.call(NR.mprotect, pages + 2 * PAGE, PAGE, PROT.READ);
  const zero = await task.call(NR.openat, -100, task.string("/dev/zero"), O.RDWR, 0);
  const tmp = await task.call(NR.openat, -100, task.string("/tmp"), O.DIRECTORY, 0);
  const ends = task.alloc(8);
  await task.call(NR.pipe2, ends, O.NONBLOCK);
  await task.action(SIG.ALRM, async () => 0);
  await task.call(NR.setitimer, 0, task.words(1, 0, 1, 0), 0);
  return {
    valid,
    fds: { Z: zero, T: tmp, R: task.u32(ends), W: task.u32(ends + 4) },
    kinds: {
      null: 0,
      unmapped: pages + PAGE,
      readonly: pages + 2 * PAGE,
      crossing: pages + PAGE - 3,
      kernel: 2 ** 64 - 2 ** 38,
      high: 2 ** 63,
    },
  };
}

async function runCase(task: TestTask, line: string, kind: string): Promise<number> {
  const place = await prepare(task);
  const [name = "", ...words] = line.split(" ");
  const args = words.map((word) =>
    word === "P" ? place.kinds[kind]! : word === "V" ? place.valid : (place.fds[word] ?? Number(word)),
  );
  const result = await task.call((NR as Readonly<Record<string, number>>)[name]!, ...args);
  return result < 0 ? -result : 0;
}

test("bad pointers get the errno that Linux gives", async () => {
  const wrong: string[] = [];
  let cases = 0;
  let current = { line: "", kind: "" };
  let answer = -1;
  const { kernel, host } = bootPrograms({
    init: async (task) => {
      await task.call(NR.mount, task.string("devtmpfs"), task.string("/dev"), task.string("devtmpfs"), 0, 0);
      for (const row of RECORDED) {
        const [line = "", ...columns] = row.split("\t");
        for (const column of columns) {
          const [kind = "", errno] = column.split("=");
          current = { line, kind };
          await task.scoped(async () => {
            const pid = await task.clone(CLONE.VM | CLONE.VFORK | SIG.CHLD, async (child) => {
              await child.execve("/bin/case");
            });
            await task.call(NR.wait4, pid, 0, 0, 0);
          });
          cases += 1;
          const known = DIFFERENCES.has(`${line} ${kind}`);
          if (answer !== Number(errno) && !known) wrong.push(`${line} ${kind}: ${answer}, Linux ${errno}`);
          answer = -1;
        }
      }
    },
    case: async (task) => {
      answer = await runCase(task, current.line, current.kind);
    },
  });
  await runMachine(kernel, setImmediate);
  expect(host.errors).toEqual([]);
  expect(wrong).toEqual([]);
  expect(cases).toBe(RECORDED.length * 6);
});
