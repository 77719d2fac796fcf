/**
 * The console: where the app and the machine meet. `kernel.console` takes what the user types (`input`), gives what programs
 * write (`onOutput`), follows the window's size (`resize`) and the end of input (`hangup`).
 *
 * On a terminal it is a TTY (ttyS0, also /dev/console). When the app says that it is none (`isTerminal` false before the first
 * open: piped input, `-c`), /dev/console is a plain character stream: no line discipline, TCGETS gives ENOTTY, `hangup` is
 * end-of-file. Kernel log lines go to it too (`printLine`). Beside it stands /dev/hvc1, a second stream that init has as its
 * standard error, so that the app can keep errors apart (`onErrorOutput`).
 */
import {
  EAGAIN,
  EFAULT,
  ENOTTY,
  ENXIO,
  IOCTL,
  isErr,
  POLL,
  type Result,
  ssize_t,
  utf8Encode,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { type Kernel, KernelBug } from "../../core/kernel.ts";
import { timestamp } from "../../core/printk.ts";
import { sleepingFn } from "../../core/row.ts";
import { put_user_u32 } from "../../mm/uaccess.ts";
import { waitEvent, WaitQueue, wakeUp, wakeUpAll } from "../../sched/wait.ts";
import { MKDEV, register_chrdev } from "../../vfs/char-dev.ts";
import { type File, type FileOperations, iov_iterp, nonseekable_open } from "../../vfs/file.ts";
import { kiocbp } from "../../vfs/kiocb.ts";
import { userMm } from "../../vfs/user.ts";
import { createTty, interruptCx, type Tty, type TtyDriver } from "./tty.ts";
import { attachFile, tty_fops } from "./tty-file.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    console: Console;
  }
}

export const TTY_MAJOR = 4;
export const TTYAUX_MAJOR = 5;
const SERIAL_MINOR = 64;
/** Documentation/admin-guide/devices.txt: hypervisor consoles. */
export const HVC_MAJOR = 229;
export const ERROR_MINOR = 1;
const MAX_INPUT_STEP = 4096;
const NEWLINE = utf8Encode("\r\n");

export class Console {
  readonly kernel: Kernel;
  readonly tty: Tty;
  /** Set by the app before the machine starts: whether the user sits at a terminal. */
  isTerminal = true;
  /** Takes output. Set by the app. */
  onOutput: (bytes: Uint8Array) => void = () => {};
  /** Takes what is written to standard error where the console is no terminal; set by the app, else it is output. */
  onErrorOutput: ((bytes: Uint8Array) => void) | undefined;
  readonly #readWait = new WaitQueue();
  /** Input of the plain stream that nobody has read. */
  #waiting: Uint8Array[] = [];
  #hasEnded = false;

  constructor(kernel: Kernel, tty: Tty) {
    this.kernel = kernel;
    this.tty = tty;
  }

  /** The user typed. Call `turn` afterwards. */
  input(bytes: Uint8Array): void {
    const cx = interruptCx(this.kernel);
    if (!this.isTerminal) {
      if (bytes.length > 0) this.#waiting.push(bytes.slice());
      wakeUp(cx, this.#readWait, POLL.IN | POLL.RDNORM);
      return;
    }
    for (let at = 0; at < bytes.length; at += MAX_INPUT_STEP)
      this.tty.input(cx, bytes.subarray(at, at + MAX_INPUT_STEP));
  }

  /** The window has a new size. */
  resize(rows: number, columns: number): void {
    this.tty.resize(interruptCx(this.kernel), { rows, columns, xpixel: 0, ypixel: 0 });
  }

  /** Input has ended: SIGHUP on a terminal, end-of-file on a stream. */
  hangup(): void {
    const cx = interruptCx(this.kernel);
    if (this.isTerminal) {
      this.tty.hangUp(cx);
      return;
    }
    this.#hasEnded = true;
    wakeUpAll(cx, this.#readWait, POLL.IN | POLL.RDNORM | POLL.HUP);
  }

  /** Output of programs and of the kernel. */
  output(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.kernel.observer.console(bytes);
    this.onOutput(bytes);
  }

  /** Standard error of a console that is no terminal. */
  errorOutput(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.kernel.observer.console(bytes);
    (this.onErrorOutput ?? this.onOutput)(bytes);
  }

  /** A line of the kernel log, with its time stamp. */
  printLine(timeNs: number, text: string): void {
    this.output(utf8Encode(timestamp(timeNs) + text));
    this.output(this.isTerminal ? NEWLINE : NEWLINE.subarray(1));
  }

  get readWait(): WaitQueue {
    return this.#readWait;
  }
  get hasInput(): boolean {
    return this.#waiting.length > 0 || this.#hasEnded;
  }
  get waitingBytes(): number {
    return this.#waiting.reduce((sum, part) => sum + part.length, 0);
  }

  /** Up to `limit` bytes of the stream; empty at its end. */
  take(limit: number): Uint8Array {
    const first = this.#waiting[0];
    if (first === undefined) return new Uint8Array(0);
    if (first.length > limit) this.#waiting[0] = first.subarray(limit);
    else this.#waiting.shift();
    return first.subarray(0, limit);
  }
}

const consoleDriver: TtyDriver = {
  write(_cx, tty, bytes) {
    tty.kernel.console.output(bytes);
  },
  room: () => Number.POSITIVE_INFINITY,
};

/** Makes the console and registers /dev/console, /dev/tty and /dev/ttyS0. Called at boot. */
export function initConsole(kernel: Kernel): void {
  kernel.ttys = new Set();
  kernel.ttyDevice = MKDEV(TTYAUX_MAJOR, 0);
  const device = MKDEV(TTY_MAJOR, SERIAL_MINOR);
  const tty = createTty(kernel, { name: "ttyS0", index: 0, device, driver: consoleDriver });
  if (isErr(tty)) throw new KernelBug("no memory for the console");
  kernel.console = new Console(kernel, tty);
  const registered = [
    register_chrdev(kernel, "/dev/tty", kernel.ttyDevice, 1, tty_fops),
    register_chrdev(kernel, "/dev/console", MKDEV(TTYAUX_MAJOR, 1), 1, console_fops),
    register_chrdev(kernel, "ttyS", device, 1, serialFops),
    register_chrdev(kernel, "hvc", MKDEV(HVC_MAJOR, ERROR_MINOR), 1, error_fops),
  ];
  if (registered.some(isErr)) throw new KernelBug("the console's device numbers are taken");
}

/** ttyS0 is there on a terminal only. */
const serialFops: FileOperations = {
  ...tty_fops,
  open: (cx, _inode, file) =>
    cx.kernel.console.isTerminal ? attachFile(cx, file, cx.kernel.console.tty) : ENXIO,
};

/** /dev/console: the terminal, which it never makes anybody's controlling one by being opened; or the plain stream. */
export const console_fops: FileOperations = {
  name: "console_fops",
  open(cx, _inode, file): Result<0> {
    const { console } = cx.kernel;
    if (console.isTerminal) {
      file.f_op = tty_fops;
      return attachFile(cx, file, console.tty, true);
    }
    nonseekable_open(file);
    return 0;
  },
  read_iter: (cx, iocb, to) => console_stream_read(cx, iocb, to),
  write_iter(cx, _iocb, from) {
    const wanted = from.count;
    const bytes = from.take(wanted);
    if (bytes.length === 0 && wanted > 0) return EFAULT;
    cx.kernel.console.output(bytes);
    return bytes.length;
  },
  poll(cx, file, register) {
    const { console } = cx.kernel;
    register?.(console.readWait);
    const readable = file.canRead && console.hasInput ? POLL.IN | POLL.RDNORM : 0;
    return readable | POLL.OUT | POLL.WRNORM;
  },
  unlocked_ioctl(cx: Cx, _file: File, cmd, arg) {
    return cmd === IOCTL.FIONREAD ? put_user_u32(userMm(cx), arg, cx.kernel.console.waitingBytes) : ENOTTY;
  },
};

/** /dev/hvc1: the stream of errors, which nothing can be read from; no device where the console is a terminal. */
const error_fops: FileOperations = {
  name: "hvc_error_fops",
  open(cx, _inode, file): Result<0> {
    if (cx.kernel.console.isTerminal) return ENXIO;
    nonseekable_open(file);
    return 0;
  },
  read_iter: () => 0,
  write_iter(cx, _iocb, from) {
    const wanted = from.count;
    const bytes = from.take(wanted);
    if (bytes.length === 0 && wanted > 0) return EFAULT;
    cx.kernel.console.errorOutput(bytes);
    return bytes.length;
  },
};

export const console_stream_read = sleepingFn(
  "console_stream_read",
  [
    ["iocb", kiocbp],
    ["to", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, to) {
    if (to.count === 0) return 0;
    const { console } = cx.kernel;
    if (!console.hasInput) {
      if (iocb.isNonBlocking) return EAGAIN;
      const woken = yield* waitEvent(cx, console.readWait, () => console.hasInput);
      if (isErr(woken)) return woken;
    }
    const bytes = console.take(to.count);
    const copied = to.copyBytesTo(bytes);
    return copied < bytes.length ? EFAULT : copied;
  },
  { local: true, doc: "Reads from a console that is no terminal; sleeps until there is input or its end." },
);
