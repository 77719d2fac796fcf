/**
 * The trace buffer: lines of trace events, trace_marker and bpf_trace_printk, shown by `trace` and consumed by trace_pipe.
 * Linux: kernel/trace/ring_buffer.c and trace_output.c, of which this keeps the behaviour that readers see: a bounded buffer
 * that loses its oldest records.
 *
 * Lines are byte strings. Readers sleep on `readers`.
 *
 * Differs from Linux: readers are woken READER_DELAY_NS after the first record that they wait for, not at once (irq_work). A
 * reader of sched_switch would otherwise be woken by the record of its own going to sleep, for ever and without a pause.
 */
import { POLL } from "@alien-ts/abi";
import type { Cpu } from "../core/cpu.ts";
import type { Cx } from "../core/cx.ts";
import type { Kernel } from "../core/kernel.ts";
import type { Task } from "../core/task.ts";
import { HrTimer } from "../sched/timers.ts";
import { WaitQueue, wakeUpAll } from "../sched/wait.ts";

declare module "../core/kernel.ts" {
  interface Kernel {
    traceBuffer: TraceBuffer;
  }
}

/** include/linux/trace_events.h, trace_flag_type. */
export const TRACE_FLAG = { IRQS_OFF: 0x01, NEED_RESCHED: 0x04, HARDIRQ: 0x08, SOFTIRQ: 0x10 } as const;

/** Where a record was made. */
export interface TraceOrigin {
  readonly cx: Cx;
  readonly task: Task;
  readonly cpu: Cpu;
  /** TRACE_FLAG.*. */
  readonly flags: number;
  readonly preemptCount: number;
}

/** The place of a record that the running task makes with interrupts on. */
export const originOf = (cx: Cx): TraceOrigin => ({
  cx,
  task: cx.task,
  cpu: cx.cpu,
  flags: 0,
  preemptCount: 0,
});

const CAPACITY_RECORDS = 4096;
const READER_DELAY_NS = 1_000_000;

export class TraceBuffer {
  readonly readers = new WaitQueue();
  /** tracing_on: while false nothing is recorded. */
  isOn = true;
  /** Records that were overwritten before they were read. */
  overruns = 0;
  #lines: string[] = [];
  readonly #wakeTimer = new HrTimer((cx) => wakeUpAll(cx, this.readers, POLL.IN | POLL.RDNORM));

  /** Adds a record of `event` by the task that runs now, as `trace` prints it. */
  append(cx: Cx, event: string, text: string): void {
    this.appendFrom(originOf(cx), event, text);
  }

  /** Adds a record made at `origin`. */
  appendFrom(origin: TraceOrigin, event: string, text: string): void {
    if (!this.isOn) return;
    const { kernel } = origin.cx;
    this.#lines.push(`${lineStart(origin, kernel.clock.nowNs())}${event}: ${text.replace(/\n$/, "")}\n`);
    if (this.#lines.length > CAPACITY_RECORDS) {
      this.#lines.shift();
      this.overruns += 1;
    }
    if (!this.readers.isEmpty && !this.#wakeTimer.isActive)
      kernel.sched.timers.start(this.#wakeTimer, kernel.clock.nowNs() + READER_DELAY_NS);
  }

  /** The oldest record, which stays. */
  get oldest(): string | undefined {
    return this.#lines[0];
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
    this.overruns = 0;
  }
}

/** "              sh-42      [001] d..2.     1.234567: ". Linux: trace_print_context(). */
function lineStart({ task, cpu, flags, preemptCount }: TraceOrigin, nowNs: number): string {
  const microseconds = Math.round(nowNs / 1000);
  const seconds = String(Math.floor(microseconds / 1e6)).padStart(5);
  const fraction = String(microseconds % 1e6).padStart(6, "0");
  const who = `${task.t.comm.padStart(16)}-${String(task.pid).padEnd(7)}`;
  const where = `[${String(cpu.id).padStart(3, "0")}] ${latencyFlags(flags, preemptCount)}`;
  return `${who} ${where} ${seconds}.${fraction}: `;
}

/** Linux: trace_print_lat_fmt(). The last column, migrate-disable depth, is always 0 here. */
function latencyFlags(flags: number, preemptCount: number): string {
  const irqs = (flags & TRACE_FLAG.IRQS_OFF) === 0 ? "." : "d";
  const resched = (flags & TRACE_FLAG.NEED_RESCHED) === 0 ? "." : "N";
  const isHard = (flags & TRACE_FLAG.HARDIRQ) !== 0;
  const isSoft = (flags & TRACE_FLAG.SOFTIRQ) !== 0;
  const context = isHard ? (isSoft ? "H" : "h") : isSoft ? "s" : ".";
  return `${irqs}${resched}${context}${preemptCount === 0 ? "." : preemptCount.toString(16)}.`;
}

export function initTraceBuffer(kernel: Kernel): void {
  kernel.traceBuffer = new TraceBuffer();
}
