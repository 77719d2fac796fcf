/**
 * The trace buffer: lines of bpf_trace_printk, read and consumed by trace_pipe. Linux: kernel/trace/ring_buffer.c, of which this
 * keeps the behaviour that readers see: a bounded buffer that loses its oldest records.
 */
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import { WaitQueue, wakeUpAll } from "../sched/wait.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    traceBuffer: TraceBuffer;
  }
}

const CAPACITY_RECORDS = 4096;

export class TraceBuffer {
  readonly readers = new WaitQueue();
  #lines: string[] = [];
  /** Records that were overwritten before they were read. */
  overruns = 0;

  /** Adds a record of `event` by the task that runs now, as `trace` prints it. */
  append(cx: Cx, event: string, text: string): void {
    const { task, cpu, kernel } = cx;
    const seconds = (kernel.clock.nowNs() / 1e9).toFixed(6).padStart(12);
    const who = `${task.t.comm.padStart(16)}-${String(task.pid).padEnd(7)}`;
    this.#lines.push(
      `${who} [${String(cpu.id).padStart(3, "0")}] .....${seconds}: ${event}: ${text.replace(/\n$/, "")}\n`,
    );
    if (this.#lines.length > CAPACITY_RECORDS) {
      this.#lines.shift();
      this.overruns += 1;
    }
    wakeUpAll(cx, this.readers);
  }

  /** Takes the oldest record off. */
  take(): string | undefined {
    return this.#lines.shift();
  }

  get isEmpty(): boolean {
    return this.#lines.length === 0;
  }

  /** All records, which stay (the `trace` file). */
  lines(): readonly string[] {
    return this.#lines;
  }

  clear(): void {
    this.#lines = [];
  }
}

export function initTraceBuffer(kernel: Kernel): void {
  kernel.traceBuffer = new TraceBuffer();
}
