/** What a system call costs a TypeScript task: getppid beside an awaited call of a plain function. */
import { NR } from "@alien-ts/abi";
import { boot } from "@alien-ts/kernel";
import { createProgramHost, imageFiles, type Program } from "@alien-ts/userland";
import { printTable, SIDE_BY_SIDE_HEADER } from "./measure.ts";

const CALLS = 200_000;
const ROUNDS = 7;
const MEMORY_BYTES = 32 * 1024 * 1024;

interface Times {
  plain: number;
  call: number;
}

/** Measures itself, inside the machine. */
function benchProgram(times: Times): Program {
  return {
    name: "bench",
    path: "/sbin/init",
    main: async (task) => {
      const plain = (a: number): number | Promise<number> => a + 1;
      let sum = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const start = performance.now();
        for (let i = 0; i < CALLS; i++) sum += await plain(i);
        const middle = performance.now();
        for (let i = 0; i < CALLS; i++) sum += await task.trap(NR.getppid);
        const end = performance.now();
        times.plain = Math.min(times.plain, ((middle - start) * 1e6) / CALLS);
        times.call = Math.min(times.call, ((end - middle) * 1e6) / CALLS);
      }
      return sum > 0 ? 0 : 1;
    },
  };
}

export async function benchSyscall(): Promise<void> {
  const times: Times = { plain: Number.POSITIVE_INFINITY, call: Number.POSITIVE_INFINITY };
  const programs = [benchProgram(times)];
  const kernel = boot({
    memory: new ArrayBuffer(MEMORY_BYTES),
    programHost: createProgramHost(programs),
    files: imageFiles(programs),
    init: ["/sbin/init"],
  });
  await new Promise<void>((resolve, reject) => {
    const turn = (): void => {
      try {
        const { state } = kernel.sched.turn();
        if (state === "running") setImmediate(turn);
        else resolve();
      } catch (error) {
        // The end of the first process is the end of the machine.
        if (Number.isFinite(times.call)) resolve();
        else reject(error);
      }
    };
    turn();
  });
  printTable("A system call from a TypeScript task", SIDE_BY_SIDE_HEADER, [
    ["awaited plain call", times.plain.toFixed(0), "", "1.00x"],
    [
      "getppid",
      times.call.toFixed(0),
      `+${(times.call - times.plain).toFixed(0)}`,
      `${(times.call / times.plain).toFixed(2)}x`,
    ],
  ]);
}
