/**
 * The kernel's thread. It boots a machine, takes input from the command's thread, and writes output itself: synchronously, so
 * that nothing is lost or reordered at the end, and a slow reader slows the programs down.
 */
import { writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { Machine } from "./machine.ts";
import type { FromKernel, ToKernel, WorkerData } from "./messages.ts";
import { processOutput, refusedOutput, writeAll } from "./output.ts";
import { Progress } from "./progress.ts";

export { warmUp } from "./warm.ts";

const STDOUT = 1;
const STDERR = 2;

function runMachine(port: NonNullable<typeof parentPort>, data: WorkerData): void {
  const progress = new Progress(data.progress);
  const host = processOutput(() => progress.step());
  const encoder = new TextEncoder();
  let isRefused = false;
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
        if (isRefused) return;
        const refusal = writeAll(STDOUT, bytes, host);
        if (refusal === undefined) return;
        isRefused = true;
        const { status, text } = refusedOutput(refusal);
        writeAll(STDERR, encoder.encode(text), host);
        ended(status);
      },
      errorOutput: (bytes) => void writeAll(STDERR, bytes, host),
      log: (line) => void writeAll(STDERR, encoder.encode(`${line}\n`), host),
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
