/**
 * /dev/kmsg: the kernel log record by record (Linux: kernel/printk/printk.c; Documentation/ABI/testing/dev-kmsg). Each open file
 * has its own place; a read gives one record, "6,339,5140900,-;text". A write appends a line, with "<N>" as its level.
 */
import {
  EAGAIN,
  EFAULT,
  EINVAL,
  EPIPE,
  ESPIPE,
  isErr,
  POLL,
  type Result,
  SEEK,
  ssize_t,
  utf8Decode,
  utf8Encode,
} from "@alien-ts/abi";
import type { Kernel } from "../../core/kernel.ts";
import { KERN, type LogLevel, type LogLine } from "../../core/printk.ts";
import { kernelFn, sleepingFn } from "../../core/row.ts";
import { interruptCx } from "../../ipc/tty/tty.ts";
import { waitEvent, WaitQueue, wakeUpAll } from "../../sched/wait.ts";
import { type File, type FileOperations, iov_iterp } from "../../vfs/file.ts";
import { kiocbp } from "../../vfs/kiocb.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    /** Readers of /dev/kmsg. */
    kmsgWait: WaitQueue;
  }
}

/** PRINTKRB_RECORD_MAX */
const RECORD_MAX_BYTES = 1024;
/** Level and facility of a line without a prefix: user, warning. */
const DEFAULT_LEVEL: LogLevel = KERN.WARNING;
const LEVEL_MASK = 7;

class KmsgReader {
  sequence: number;
  constructor(sequence: number) {
    this.sequence = sequence;
  }
}

export function initKmsg(kernel: Kernel): void {
  kernel.kmsgWait = new WaitQueue();
  const next = kernel.log.onLine;
  kernel.log.onLine = () => {
    next?.();
    if (!kernel.kmsgWait.isEmpty) wakeUpAll(interruptCx(kernel), kernel.kmsgWait, POLL.IN | POLL.RDNORM);
  };
}

const readerOf = (file: File): KmsgReader => file.private_data as KmsgReader;
const firstLine = (kernel: Kernel): LogLine | undefined => kernel.log.from(0)[0];

export const kmsg_fops: FileOperations = {
  name: "kmsg_fops",
  open(cx, _inode, file) {
    file.private_data = new KmsgReader(firstLine(cx.kernel)?.sequence ?? 0);
    return 0;
  },
  read_iter: (cx, iocb, to) => devkmsg_read(cx, iocb, to),
  write_iter: (cx, iocb, from) => devkmsg_write(cx, iocb, from),
  /** SEEK_SET: the oldest record; SEEK_END: behind the newest; SEEK_DATA: behind what `dmesg -c` cleared. */
  llseek(cx, file, offset, whence) {
    if (offset !== 0) return ESPIPE;
    const reader = readerOf(file);
    const { log } = cx.kernel;
    if (whence === SEEK.SET || whence === SEEK.DATA) reader.sequence = firstLine(cx.kernel)?.sequence ?? 0;
    else if (whence === SEEK.END) reader.sequence = (log.from(0).at(-1)?.sequence ?? -1) + 1;
    else return EINVAL;
    return 0;
  },
  poll(cx, file, register) {
    register?.(cx.kernel.kmsgWait);
    const { sequence } = readerOf(file);
    if (cx.kernel.log.from(sequence).length === 0) return 0;
    const isLost = (firstLine(cx.kernel)?.sequence ?? 0) > sequence;
    return POLL.IN | POLL.RDNORM | (isLost ? POLL.ERR | POLL.PRI : 0);
  },
};

export const devkmsg_read = sleepingFn(
  "devkmsg_read",
  [
    ["iocb", kiocbp],
    ["to", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, to) {
    const { log } = cx.kernel;
    const reader = readerOf(iocb.file);
    if (log.from(reader.sequence).length === 0) {
      if (iocb.isNonBlocking) return EAGAIN;
      const woken = yield* waitEvent(cx, cx.kernel.kmsgWait, () => log.from(reader.sequence).length > 0);
      if (isErr(woken)) return woken;
    }
    const line = log.from(reader.sequence)[0]!;
    if (line.sequence > reader.sequence) {
      reader.sequence = line.sequence;
      return EPIPE;
    }
    const record = utf8Encode(formatRecord(line));
    if (record.length > to.count) return EINVAL;
    reader.sequence += 1;
    return to.copyBytesTo(record) === record.length ? record.length : EFAULT;
  },
  {
    local: true,
    doc: "Gives the next record of the kernel log; sleeps while there is none.",
    fidelity: { simplified: "takes a kiocb and an iterator" },
  },
);

/** "level,sequence,microseconds,-;text". */
function formatRecord({ level, sequence, timeNs, text }: LogLine): string {
  return `${level},${sequence},${Math.floor(timeNs / 1000)},-;${[...text].map(escaped).join("")}\n`;
}

/** Control characters and backslashes as \xNN. */
function escaped(character: string): string {
  const code = character.charCodeAt(0);
  if (code >= 0x20 && code !== 0x7f && character !== "\\") return character;
  return `\\x${code.toString(16).padStart(2, "0")}`;
}

export const devkmsg_write = kernelFn(
  "devkmsg_write",
  [
    ["iocb", kiocbp],
    ["from", iov_iterp],
  ],
  ssize_t,
  (cx, _iocb, from): Result<number> => {
    const length = from.count;
    if (length > RECORD_MAX_BYTES) return EINVAL;
    const bytes = from.take(length);
    if (bytes.length < length) return EFAULT;
    const text = utf8Decode(bytes);
    const prefix = /^<(\d+)>/.exec(text);
    const level = prefix === null ? DEFAULT_LEVEL : ((Number(prefix[1]) & LEVEL_MASK) as LogLevel);
    cx.kernel.log.printk(level, text.slice(prefix?.[0].length ?? 0).replace(/\n$/, ""));
    return length;
  },
  {
    local: true,
    doc: "Appends a line to the kernel log.",
    fidelity: { simplified: "the facility is not kept" },
  },
);
