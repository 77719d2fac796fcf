/**
 * The kernel's thread. It boots a machine, takes input from the command's thread, and writes output itself: synchronously, so
 * that nothing is lost or reordered at the end, and a slow reader slows the programs down.
 */
import { writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { Machine } from "./machine.ts";
import type { FromKernel, ToKernel, WorkerData } from "./messages.ts";
import { Progress } from "./progress.ts";

export { warmUp } from "./warm.ts";

const STDOUT = 1;
const STDERR = 2;
/** Exit status of a process that SIGPIPE ends. */
const STATUS_PIPE = 141;
const RETRY_MS = 2;

const pause = new Int32Array(new SharedArrayBuffer(4));

/** Writes all bytes; false when the reader is gone. Waiting for a slow reader is no lack of progress. */
function writeAll(fd: number, bytes: Uint8Array, progress: Progress): boolean {
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
      progress.step();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE" || code === "EBADF") return false;
      if (code !== "EAGAIN") throw error;
      progress.step();
      Atomics.wait(pause, 0, 0, RETRY_MS);
    }
  }
  return true;
}

function runMachine(port: NonNullable<typeof parentPort>, data: WorkerData): void {
  const progress = new Progress(data.progress);
  const encoder = new TextEncoder();
  const ended = (status: number): void => port.postMessage({ kind: "ended", status } satisfies FromKernel);
  const { startedNs } = data;
  const machine = new Machine(
    {
      arguments: data.arguments,
      isTerminal: data.isTerminal,
      progress,
      ...(startedNs === undefined ? {} : { onShellReady: () => reportBoot(startedNs) }),
    },
    {
      output: (bytes) => {
        if (!writeAll(STDOUT, bytes, progress)) ended(STATUS_PIPE);
      },
      errorOutput: (bytes) => void writeAll(STDERR, bytes, progress),
      log: (line) => void writeAll(STDERR, encoder.encode(`${line}\n`), progress),
      ended,
    },
  );
  port.on("message", (message: ToKernel) => {
    if (message.kind === "input") machine.input(message.bytes);
    else if (message.kind === "resize") machine.resize(message.rows, message.columns);
    else machine.hangup();
  });
  if (data.isTerminal) machine.resize(data.rows, data.columns);
  machine.start();
}

function reportBoot(startedNs: bigint): void {
  const ms = Number(process.hrtime.bigint() - startedNs) / 1e6;
  writeSync(STDERR, `shell ready after ${ms.toFixed(1)} ms\n`);
}

if (parentPort !== null) runMachine(parentPort, workerData as WorkerData);
