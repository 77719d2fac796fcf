/**
 * The kernel log for readers that take lines away: /proc/kmsg and syslog(2) share one place in it (Linux: kernel/printk/printk.c).
 * A read sleeps until there is a line; a line that did not fit goes on in the next read.
 */
import { CAP, EAGAIN, EFAULT, EPERM, isErr, POLL, type Result } from "@alien-ts/abi";
import { capable } from "../../core/cred.ts";
import type { Kernel } from "../../core/kernel.ts";
import { type LogLine, timestamp } from "../../core/printk.ts";
import type { Blocking } from "../../core/row.ts";
import { WaitQueue, waitEvent, wakeUpAll } from "../../sched/wait.ts";
import { bytesOf } from "../../vfs/dentry.ts";
import type { FileOperations } from "../../vfs/file.ts";
import type { Kiocb } from "../../vfs/kiocb.ts";
import type { IovIter } from "../../mm/iov-iter.ts";
import type { Cx } from "../../core/cx.ts";
import { interruptCx } from "../../ipc/tty/tty.ts";
import { bytesText } from "./format.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    syslog: SyslogReader;
  }
}

/** "<6>[    0.000000] text\n", as syslog(2) gives a record. A byte string. */
export const syslogLine = ({ level, timeNs, text }: LogLine): string =>
  `<${level}>${timestamp(timeNs)}${bytesText(text)}\n`;

/** The reading position of syslog(2) and /proc/kmsg. */
export class SyslogReader {
  readonly queue = new WaitQueue();
  readonly #kernel: Kernel;
  #sequence = 0;
  /** What is left of a line that was begun. */
  #partial = "";

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  get hasText(): boolean {
    return this.#partial !== "" || this.#kernel.log.nextSequence > this.#sequence;
  }

  /** Unread bytes (SYSLOG_ACTION_SIZE_UNREAD). */
  get unreadBytes(): number {
    return this.#kernel.log
      .from(this.#sequence)
      .reduce((sum, line) => sum + syslogLine(line).length, this.#partial.length);
  }

  /** Takes up to `limit` bytes of text. */
  take(limit: number): string {
    let text = "";
    while (text.length < limit) {
      if (this.#partial === "") {
        const line = this.#kernel.log.from(this.#sequence)[0];
        if (line === undefined) break;
        this.#sequence = line.sequence + 1;
        this.#partial = syslogLine(line);
        // Whole lines, but for one that is longer than the buffer.
        if (text !== "" && text.length + this.#partial.length > limit) break;
      }
      const part = this.#partial.slice(0, limit - text.length);
      text += part;
      this.#partial = this.#partial.slice(part.length);
    }
    return text;
  }
}

/** Behind the scheduler's init: log lines wake readers. Whoever listened before goes on to. */
export function initSyslog(kernel: Kernel): void {
  kernel.syslog = new SyslogReader(kernel);
  const { log } = kernel;
  const before = log.onLine;
  log.onLine = () => {
    before?.();
    wakeUpAll(interruptCx(kernel), kernel.syslog.queue, POLL.IN | POLL.RDNORM);
  };
}

function* readLines(cx: Cx, iocb: Kiocb, to: IovIter): Blocking<Result<number>> {
  const { syslog } = cx.kernel;
  for (;;) {
    if (!syslog.hasText && iocb.isNonBlocking) return EAGAIN;
    const woken = yield* waitEvent(cx, syslog.queue, () => syslog.hasText);
    if (isErr(woken)) return woken;
    const text = syslog.take(to.count);
    if (text === "") continue;
    const copied = to.copyBytesTo(bytesOf(text));
    return copied === 0 ? EFAULT : copied;
  }
}

/** Opening needs CAP_SYSLOG: EPERM. */
export const kmsg_operations: FileOperations = {
  name: "kmsg_proc_ops",
  open: (cx) => (capable(cx, CAP.SYSLOG) ? 0 : EPERM),
  read_iter: (cx, iocb, to) => (to.count === 0 ? 0 : readLines(cx, iocb, to)),
  poll(cx, _file, register) {
    register?.(cx.kernel.syslog.queue);
    return cx.kernel.syslog.hasText ? POLL.IN | POLL.RDNORM : 0;
  },
};
