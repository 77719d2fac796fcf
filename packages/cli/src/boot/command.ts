/**
 * `alien boot`: the command's thread. It owns the terminal (raw mode, window size), reads standard input, starts the kernel's
 * thread and watches it.
 *
 * Interface: `runBoot`. The terminal is put back however the run ends.
 */
import { Worker } from "node:worker_threads";
import type { BootArguments } from "./arguments.ts";
import { type FromKernel, STATUS_BUG, type ToKernel, type WorkerData } from "./messages.ts";
import { Progress } from "./progress.ts";
import { Watchdog } from "./watchdog.ts";

const CHECK_MS = 1000;

/**
 * Runs a machine to its end, and resolves to its exit status.
 * @param script the kernel's thread: the bundle of thread.ts
 */
export async function runBoot(args: BootArguments, script: URL): Promise<number> {
  const { stdin, stdout } = process;
  const isTerminal = stdin.isTTY && stdout.isTTY;
  const progress = new Progress();
  const workerData: WorkerData = {
    arguments: args,
    isTerminal,
    rows: stdout.rows,
    columns: stdout.columns,
    progress: progress.buffer,
    startedNs: args.timing ? (globalThis as { alienStartedNs?: bigint }).alienStartedNs : undefined,
  };
  const worker = new Worker(script, { workerData });
  const tell = (message: ToKernel): void => worker.postMessage(message);
  const disconnect = connectTerminal(isTerminal, tell);
  const watching = watch(args, progress, (problem) => {
    process.stderr.write(`alien: watchdog: ${problem}\n`);
    void worker.terminate();
  });
  try {
    return await ending(worker);
  } finally {
    clearInterval(watching);
    disconnect();
    await worker.terminate();
  }
}

/** Passes standard input on, and the window's size. Gives the function that puts the terminal back. */
function connectTerminal(isTerminal: boolean, tell: (message: ToKernel) => void): () => void {
  const { stdin, stdout } = process;
  const onData = (bytes: Buffer): void => tell({ kind: "input", bytes: Uint8Array.from(bytes) });
  const onEnd = (): void => tell({ kind: "hangup" });
  const onResize = (): void => tell({ kind: "resize", rows: stdout.rows, columns: stdout.columns });
  if (isTerminal) {
    stdin.setRawMode(true);
    stdout.on("resize", onResize);
  }
  stdin.on("data", onData).on("end", onEnd).on("error", onEnd);
  return () => {
    stdin.off("data", onData).off("end", onEnd).off("error", onEnd);
    stdout.off("resize", onResize);
    if (isTerminal) stdin.setRawMode(false);
    stdin.pause();
  };
}

function watch(
  { watchdogSeconds }: BootArguments,
  progress: Progress,
  onStuck: (problem: string) => void,
): NodeJS.Timeout | undefined {
  if (watchdogSeconds === 0) return undefined;
  const watchdog = new Watchdog(progress, watchdogSeconds);
  const interval = setInterval(() => {
    const problem = watchdog.check();
    if (problem !== undefined) onStuck(problem);
  }, CHECK_MS);
  return interval.unref();
}

/** The machine's status; a thread that died without one had a bug, or was stopped. */
function ending(worker: Worker): Promise<number> {
  return new Promise((resolve) => {
    worker.on("message", ({ status }: FromKernel) => resolve(status));
    worker.on("error", (error) => {
      process.stderr.write(`alien: ${error.stack ?? error.message}\n`);
      resolve(STATUS_BUG);
    });
    worker.on("exit", () => resolve(STATUS_BUG));
  });
}
