/**
 * Files of terminals: open, read, write, poll, close (Linux: drivers/tty/tty_io.c, n_tty.c). A file remembers the terminal's
 * generation: after a hangup it reads end-of-file, writes EIO and polls HUP for ever, also when the terminal is opened anew.
 */
import {
  CAP,
  EAGAIN,
  EBUSY,
  EFAULT,
  EIO,
  ENOMEM,
  ENXIO,
  type Errno,
  ERESTARTSYS,
  isErr,
  LFLAG,
  O,
  POLL,
  ptr,
  type Result,
  s32,
  SIG,
  size_t,
  ssize_t,
  ulong,
  VCC,
} from "@alien-ts/abi";
import { capable } from "../../core/cred.ts";
import type { Cx } from "../../core/cx.ts";
import { kernelFn, sleepingFn } from "../../core/row.ts";
import { waitEvent, type WaitQueue } from "../../sched/wait.ts";
import { type File, type FileOperations, filep, iov_iterp, nonseekable_open } from "../../vfs/file.ts";
import { inodep } from "../../vfs/inode.ts";
import { kiocbp } from "../../vfs/kiocb.ts";
import { ttyIoctl } from "./ioctl.ts";
import { __tty_check_change, acquire } from "./job-control.ts";
import { N_TTY_BUF_SIZE } from "./line-discipline.ts";
import { controllingTty, type Tty, ttyp } from "./tty.ts";

/** Bytes that one step of a write processes (tty->write_buf). */
const WRITE_CHUNK = 2048;
const TENTH_OF_SECOND_NS = 100_000_000;
const ALL_EVENTS = POLL.IN | POLL.OUT | POLL.ERR | POLL.HUP | POLL.RDNORM | POLL.WRNORM;

/** private_data of a terminal's file (struct tty_file_private). */
export class TtyFile {
  readonly tty: Tty;
  readonly generation: number;
  constructor(tty: Tty) {
    this.tty = tty;
    this.generation = tty.generation;
  }
  get isHungUp(): boolean {
    return this.generation !== this.tty.generation;
  }
}

export const ttyOf = (file: File): Tty => (file.private_data as TtyFile).tty;
const isHungUp = (file: File): boolean => (file.private_data as TtyFile).isHungUp;

export const tty_fops: FileOperations = {
  name: "tty_fops",
  open: (cx, _inode, file) => openDevice(cx, file),
  read_iter: (cx, iocb, to) => tty_read(cx, iocb, to),
  write_iter: (cx, iocb, from) => tty_write(cx, iocb, from),
  poll: ttyPoll,
  unlocked_ioctl: (cx, file, cmd, arg) => (isHungUp(file) ? EIO : ttyIoctl(cx, file, ttyOf(file), cmd, arg)),
  release(cx, inode, file) {
    tty_release(cx, inode, file);
  },
};

/** /dev/tty, or the terminal with the node's number. */
function openDevice(cx: Cx, file: File): Result<0> {
  const { rdev } = file.inode;
  if (rdev === cx.kernel.ttyDevice) {
    const own = controllingTty(cx.task.process);
    return own === undefined ? ENXIO : attachFile(cx, file, own);
  }
  const tty = [...cx.kernel.ttys].find((candidate) => candidate.device === rdev && !candidate.isMaster);
  return tty === undefined ? ENXIO : attachFile(cx, file, tty);
}

declare module "../../core/kernel.ts" {
  interface Kernel {
    /** dev_t of /dev/tty. */
    ttyDevice: number;
  }
}

/** Makes `file` one of the terminal's; a session leader without a terminal gets it, unless O_NOCTTY. Linux: tty_open(). */
export function attachFile(cx: Cx, file: File, tty: Tty, noctty = false): Result<0> {
  if (tty.isExclusive && !capable(cx, CAP.SYS_ADMIN)) return EBUSY;
  const opened = tty.driver.opened?.(cx, tty) ?? 0;
  if (isErr(opened)) return opened;
  tty.t.count += 1;
  file.private_data = new TtyFile(tty);
  nonseekable_open(file);
  const { process } = cx.task;
  const wantsIt = !noctty && (file.flags & O.NOCTTY) === 0 && !tty.isMaster && file.canRead;
  if (wantsIt && process.sid === process.pid && process.sid > 0 && tty.session === 0)
    if (controllingTty(process) === undefined) acquire(cx, tty);
  return 0;
}

export const tty_release = kernelFn(
  "tty_release",
  [
    ["inode", inodep],
    ["filp", filep],
  ],
  s32,
  (cx, _inode, filp) => {
    const tty = ttyOf(filp);
    tty.t.count -= 1;
    if (tty.t.count === 0) tty.driver.closed?.(cx, tty);
    return 0;
  },
);

export const tty_read = sleepingFn(
  "tty_read",
  [
    ["iocb", kiocbp],
    ["to", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, to) {
    const { file } = iocb;
    if (isHungUp(file)) return 0;
    const tty = ttyOf(file);
    const size = Math.min(to.count, N_TTY_BUF_SIZE);
    if (size === 0) return 0;
    const buffer = cx.kernel.kmalloc.kmalloc(size, "tty read");
    if (buffer === 0) return ENOMEM;
    let result: number | Errno = yield* n_tty_read(cx, tty, file, buffer, size, 0, 0);
    if (!isErr(result) && result > 0 && to.copy_to_iter(buffer, result) < result) result = EFAULT;
    cx.kernel.kmalloc.kfree(buffer);
    return result;
  },
  { local: true, doc: "Reads from a terminal." },
);

export const n_tty_read = sleepingFn(
  "n_tty_read",
  [
    ["tty", ttyp],
    ["file", filep],
    ["kbuf", ptr("u8")],
    ["nr", size_t],
    ["cookie", ptr("void")],
    ["offset", ulong],
  ],
  ssize_t,
  function* (cx, tty, file, kbuf, nr) {
    const allowed = __tty_check_change(cx, tty, SIG.TTIN);
    if (allowed !== 0) return allowed;
    const pace = readPace(tty);
    const { discipline } = tty;
    let done = 0;
    let waitNs = pace.firstNs;
    for (;;) {
      if (!discipline.hasInput()) {
        if (isHungUp(file)) break;
        if (tty.isOtherClosed) return done > 0 ? done : EIO;
        if (waitNs === 0) break;
        if (file.isNonBlocking) return done > 0 ? done : EAGAIN;
        const woken = yield* waitForInput(cx, tty, file, waitNs);
        if (isErr(woken)) return done > 0 ? done : woken;
        if (!woken) break;
        continue;
      }
      const wasCanonical = discipline.isCanonical;
      const taken = discipline.take(nr - done);
      cx.kernel.mem.u8.set(taken, kbuf + done);
      done += taken.length;
      tty.flush(cx);
      tty.driver.drained?.(cx, tty);
      if (wasCanonical || done >= pace.minimum || done === nr) break;
      waitNs = pace.nextNs ?? waitNs;
    }
    return done;
  },
  {
    local: true,
    doc: "The line discipline's read: one line in canonical mode, VMIN and VTIME otherwise.",
    fidelity: { simplified: "gives all it has in one call: cookie and offset are 0" },
  },
);

function* waitForInput(
  cx: Cx,
  tty: Tty,
  file: File,
  waitNs: number | undefined,
): Generator<undefined, Result<boolean>, undefined> {
  const isOver = (): boolean => tty.discipline.hasInput() || isHungUp(file) || tty.isOtherClosed;
  const options = waitNs === undefined ? {} : { deadlineNs: cx.kernel.clock.nowNs() + waitNs };
  return yield* waitEvent(cx, tty.readWait, isOver, options);
}

interface ReadPace {
  /** Bytes that end the read. */
  readonly minimum: number;
  /** How long to wait for the first byte; undefined: for ever; 0: not at all. */
  readonly firstNs: number | undefined;
  /** How long to wait between bytes; undefined: as before. */
  readonly nextNs: number | undefined;
}

/** VMIN and VTIME (termios(3), noncanonical mode). */
function readPace(tty: Tty): ReadPace {
  if (tty.discipline.isCanonical) return { minimum: 1, firstNs: undefined, nextNs: undefined };
  const minimum = tty.termios.c_cc[VCC.MIN]!;
  const timeNs = tty.termios.c_cc[VCC.TIME]! * TENTH_OF_SECOND_NS;
  if (minimum === 0) return { minimum: 1, firstNs: timeNs, nextNs: undefined };
  return { minimum, firstNs: undefined, nextNs: timeNs === 0 ? undefined : timeNs };
}

export const tty_write = sleepingFn(
  "tty_write",
  [
    ["iocb", kiocbp],
    ["from", iov_iterp],
  ],
  ssize_t,
  function* (cx, iocb, from) {
    const { file } = iocb;
    if (isHungUp(file)) return EIO;
    const tty = ttyOf(file);
    const { kmalloc } = cx.kernel;
    const buffer = kmalloc.kmalloc(WRITE_CHUNK, "tty write");
    if (buffer === 0) return ENOMEM;
    let done = 0;
    let failure: Errno | undefined;
    while (from.count > 0 && failure === undefined) {
      const chunk = Math.min(from.count, WRITE_CHUNK);
      if (from.copy_from_iter(buffer, chunk) < chunk) failure = EFAULT;
      else {
        const written: number | Errno = yield* n_tty_write(cx, tty, file, buffer, chunk);
        if (isErr(written)) failure = written;
        else {
          done += written;
          if (written < chunk) break;
        }
      }
    }
    kmalloc.kfree(buffer);
    return done > 0 || failure === undefined ? done : failure;
  },
  { local: true, doc: "Writes to a terminal." },
);

export const n_tty_write = sleepingFn(
  "n_tty_write",
  [
    ["tty", ttyp],
    ["file", filep],
    ["buf", ptr("u8")],
    ["nr", size_t],
  ],
  ssize_t,
  function* (cx, tty, file, buf, nr) {
    if ((tty.termios.c_lflag & LFLAG.TOSTOP) !== 0) {
      const allowed = __tty_check_change(cx, tty, SIG.TTOU);
      if (allowed !== 0) return allowed;
    }
    const { u8 } = cx.kernel.mem;
    const { output } = tty.discipline;
    let done = 0;
    const canWrite = (): boolean => !tty.isStopped && tty.driver.room(tty) > 0;
    while (done < nr) {
      if (cx.task.hasPendingSignal) return done > 0 ? done : ERESTARTSYS;
      if (isHungUp(file) || (tty.isMaster && tty.isOtherClosed && tty.link === undefined))
        return done > 0 ? done : EIO;
      if (!canWrite()) {
        if (file.isNonBlocking) return done > 0 ? done : EAGAIN;
        const woken = yield* waitEvent(cx, tty.writeWait, () => canWrite() || isHungUp(file));
        if (isErr(woken)) return done > 0 ? done : woken;
        continue;
      }
      const step = Math.min(nr - done, tty.driver.room(tty));
      for (let i = 0; i < step; i++) output.put(u8[buf + done + i]!);
      done += step;
      tty.flush(cx);
    }
    return done;
  },
  { local: true, doc: "The line discipline's write: output processing, flow control." },
);

function ttyPoll(_cx: Cx, file: File, register: ((queue: WaitQueue) => void) | undefined): number {
  if (isHungUp(file)) return ALL_EVENTS;
  const tty = ttyOf(file);
  register?.(tty.readWait);
  register?.(tty.writeWait);
  const minimum = tty.termios.c_cc[VCC.MIN]!;
  const wanted = tty.termios.c_cc[VCC.TIME] === 0 && minimum > 0 ? minimum : 1;
  let mask = tty.discipline.hasInput(wanted) ? POLL.IN | POLL.RDNORM : 0;
  if (tty.isOtherClosed) mask |= POLL.HUP;
  if (!tty.isStopped && tty.driver.room(tty) > 0) mask |= POLL.OUT | POLL.WRNORM;
  return mask;
}
