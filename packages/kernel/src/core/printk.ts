/**
 * The kernel log: a ring of lines with level and time, read by dmesg (syslog(2)), /dev/kmsg and the console.
 * Linux: kernel/printk/printk.c. `printk` never sleeps and never fails; old lines fall out.
 */

export const KERN = {
  EMERG: 0,
  ALERT: 1,
  CRIT: 2,
  ERR: 3,
  WARNING: 4,
  NOTICE: 5,
  INFO: 6,
  DEBUG: 7,
} as const;
export type LogLevel = (typeof KERN)[keyof typeof KERN];

export interface LogLine {
  readonly sequence: number;
  readonly level: LogLevel;
  /** Nanoseconds since boot. */
  readonly timeNs: number;
  readonly text: string;
}

/** "[    0.000000] ", as the console shows it. */
export const timestamp = (ns: number): string =>
  `[${Math.floor(ns / 1e9)
    .toString()
    .padStart(5)}.${Math.floor((ns % 1e9) / 1000)
    .toString()
    .padStart(6, "0")}] `;

export class KernelLog {
  readonly #nowNs: () => number;
  readonly #capacity: number;
  #lines: LogLine[] = [];
  #next = 0;
  #cleared = 0;
  readonly #once = new Set<string>();
  /** Messages with a lower level than this go to the console (`loglevel=`, syslog(8)). */
  consoleLevel = 7;
  /** Where the console's lines go; none until a console is registered. */
  onConsoleLine: ((line: LogLine) => void) | undefined;
  /** Called after every line: wakes the readers of /dev/kmsg. */
  onLine: (() => void) | undefined;

  constructor(nowNs: () => number, capacityLines = 4096) {
    this.#nowNs = nowNs;
    this.#capacity = capacityLines;
  }

  printk(level: LogLevel, text: string): void {
    for (const part of text.split("\n")) {
      const line = { sequence: this.#next++, level, timeNs: this.#nowNs(), text: part };
      this.#lines.push(line);
      if (this.#lines.length > this.#capacity) this.#lines = this.#lines.slice(this.#capacity >> 2);
      if (level < this.consoleLevel) this.onConsoleLine?.(line);
    }
    this.onLine?.();
  }

  emerg(text: string): void {
    this.printk(KERN.EMERG, text);
  }
  err(text: string): void {
    this.printk(KERN.ERR, text);
  }
  warn(text: string): void {
    this.printk(KERN.WARNING, text);
  }
  info(text: string): void {
    this.printk(KERN.INFO, text);
  }
  debug(text: string): void {
    this.printk(KERN.DEBUG, text);
  }

  /** Linux: pr_info_once and its like; `key` says which message it is. */
  once(key: string, level: LogLevel, text: string): void {
    if (this.#once.has(key)) return;
    this.#once.add(key);
    this.printk(level, text);
  }

  /** Lines from `sequence` on that are still there. */
  from(sequence: number): readonly LogLine[] {
    const first = this.#lines[0]?.sequence ?? 0;
    return this.#lines.slice(Math.max(0, sequence - first));
  }

  /** What SYSLOG_ACTION_READ_ALL shows: lines since the last clear. */
  sinceClear(): readonly LogLine[] {
    return this.from(this.#cleared);
  }

  clear(): void {
    this.#cleared = this.#next;
  }

  get nextSequence(): number {
    return this.#next;
  }
}
