/**
 * Output of the kernel's thread to the host's descriptors: synchronous, in order, and whole.
 *
 * Interface: `writeAll`. Waiting for a slow reader is no lack of progress. What the host refuses is a value: a full disk or a
 * reader that is gone is no bug of the kernel.
 */
import { writeSync } from "node:fs";

const RETRY_MS = 2;

const pause = new Int32Array(new SharedArrayBuffer(4));

export interface OutputHost {
  /** As `writeSync`: the number of bytes taken. */
  write(fd: number, bytes: Uint8Array, at: number): number;
  /** Called for every sign of life. */
  step(): void;
}

/** Writes all bytes. Undefined where they were taken; otherwise the host's error, and the rest is lost. */
export function writeAll(fd: number, bytes: Uint8Array, host: OutputHost): NodeJS.ErrnoException | undefined {
  for (let at = 0; at < bytes.length;) {
    try {
      at += host.write(fd, bytes, at);
      host.step();
    } catch (error) {
      const refusal = error as NodeJS.ErrnoException;
      if (refusal.code !== "EAGAIN") return refusal;
      host.step();
      Atomics.wait(pause, 0, 0, RETRY_MS);
    }
  }
  return undefined;
}

/** The descriptors of this process. */
export const processOutput = (step: () => void): OutputHost => ({ write: writeSync, step });

/** Exit status of a process that SIGPIPE ends. */
const STATUS_PIPE = 141;

/** The machine's status after its standard output refused bytes, and what to say of it on standard error. */
export function refusedOutput({ code, message }: NodeJS.ErrnoException): { status: number; text: string } {
  if (code === "EPIPE" || code === "EBADF") return { status: STATUS_PIPE, text: "" };
  return { status: 1, text: `alien: write error: ${message}\n` };
}
