/**
 * Pseudo-terminals: /dev/ptmx makes a pair, /dev/pts/N opens its slave (Linux: drivers/tty/pty.c; pty(7)). What is written to
 * one side is input of the other; the slave has the line discipline's settings, the master is raw.
 *
 * devpts is a file system above: it gives `kernel.devpts`, the directory that shows the slaves.
 */
import {
  EIO,
  ENODEV,
  ENOIOCTLCMD,
  ENOSPC,
  ENOTTY,
  IOCTL,
  isErr,
  POLL,
  type Result,
  type UAddr,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import { type Kernel, KernelBug } from "../../core/kernel.ts";
import { get_user_s32, put_user_u32 } from "../../mm/uaccess.ts";
import { wakeUp, wakeUpAll } from "../../sched/wait.ts";
import { MKDEV, register_chrdev } from "../../vfs/char-dev.ts";
import { addFile } from "../../vfs/fd-table.ts";
import { type File, type FileOperations } from "../../vfs/file.ts";
import { userMm } from "../../vfs/user.ts";
import { TTYAUX_MAJOR } from "./console.ts";
import { setRawTermios } from "./structs.ts";
import { createTty, type Tty, type TtyDriver } from "./tty.ts";
import { attachFile, tty_fops } from "./tty-file.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    ptys: Ptys;
    /** Shows the slaves; undefined until devpts is mounted: /dev/ptmx then answers ENODEV. */
    devpts: PtyDirectory | undefined;
  }
}

/** What devpts offers to ptmx. */
export interface PtyDirectory {
  /** A slave node `index` with this device number, owned by the current task. */
  add(cx: Cx, index: number, device: number): void;
  remove(cx: Cx, index: number): void;
  /** Opens a slave for TIOCGPTPEER. */
  open(cx: Cx, index: number, flags: number): Result<File>;
}

const UNIX98_PTY_SLAVE_MAJOR = 136;
const PTMX_MINOR = 2;
/** sysctl kernel.pty.max on a small machine. */
const PTY_MAX = 1024;
/** Bytes of output that a side takes before its writer waits. */
const PTY_BUFFER_BYTES = 8192;
const PTY_EVENTS = POLL.IN | POLL.OUT | POLL.HUP | POLL.RDNORM | POLL.WRNORM;

/** State of a pair beyond its two terminals. */
interface Pair {
  readonly master: Tty;
  readonly slave: Tty;
  /** unlockpt(3) was not called yet. */
  isLocked: boolean;
}

export class Ptys {
  readonly pairs = new Map<number, Pair>();

  /** The lowest free index, or undefined. */
  freeIndex(): number | undefined {
    for (let index = 0; index < PTY_MAX; index++) if (!this.pairs.has(index)) return index;
    return undefined;
  }

  pairOf(tty: Tty): Pair | undefined {
    return this.pairs.get(tty.t.index);
  }
}

export function initPtys(kernel: Kernel): void {
  kernel.ptys = new Ptys();
  kernel.devpts = undefined;
  const registered = [
    register_chrdev(kernel, "/dev/ptmx", MKDEV(TTYAUX_MAJOR, PTMX_MINOR), 1, ptmx_fops),
    register_chrdev(kernel, "pts", MKDEV(UNIX98_PTY_SLAVE_MAJOR, 0), PTY_MAX, tty_fops),
  ];
  if (registered.some(isErr)) throw new KernelBug("the device numbers of ptys are taken");
}

/** What one side writes is the other's input. */
const common: Pick<TtyDriver, "write" | "room" | "drained" | "pending"> = {
  write(cx, tty, bytes) {
    tty.link?.input(cx, bytes);
  },
  room: (tty) => (tty.link === undefined ? 0 : Math.max(0, PTY_BUFFER_BYTES - tty.link.discipline.held)),
  drained(cx, tty) {
    const { link } = tty;
    if (link === undefined) return;
    link.flush(cx);
    wakeUp(cx, link.writeWait, POLL.OUT | POLL.WRNORM);
  },
  pending: (tty) => tty.link?.discipline.held ?? 0,
};

const masterDriver: TtyDriver = {
  ...common,
  ioctl: masterIoctl,
  /** The terminal goes with its master: the slave is hung up, and freed when its last file is closed. */
  closed(cx, master) {
    const { kernel } = master;
    const pair = kernel.ptys.pairOf(master);
    if (pair === undefined) return;
    const { slave } = pair;
    kernel.devpts?.remove(cx, master.t.index);
    kernel.ptys.pairs.delete(master.t.index);
    slave.link = undefined;
    slave.isOtherClosed = true;
    slave.hangUp(cx);
    master.link = undefined;
    master.free();
    if (slave.t.count === 0) slave.free();
  },
};

const slaveDriver: TtyDriver = {
  ...common,
  opened(_cx, slave) {
    const pair = slave.kernel.ptys.pairOf(slave);
    if (pair === undefined || pair.slave !== slave || pair.isLocked) return EIO;
    pair.master.isOtherClosed = false;
    return 0;
  },
  closed(cx, slave) {
    const { link } = slave;
    if (link === undefined) {
      slave.free();
      return;
    }
    link.isOtherClosed = true;
    wakeUpAll(cx, link.readWait, PTY_EVENTS);
    wakeUpAll(cx, link.writeWait, PTY_EVENTS);
  },
};

const ptmx_fops: FileOperations = {
  ...tty_fops,
  name: "ptmx_fops",
  open: (cx, _inode, file) => ptmxOpen(cx, file),
};

/** A new pair; the file is its master. ENOSPC, ENODEV, ENOMEM. Linux: ptmx_open(). */
function ptmxOpen(cx: Cx, file: File): Result<0> {
  const { kernel } = cx;
  const { ptys, devpts } = kernel;
  if (devpts === undefined) return ENODEV;
  const index = ptys.freeIndex();
  if (index === undefined) return ENOSPC;
  const device = MKDEV(UNIX98_PTY_SLAVE_MAJOR, index);
  const master = createTty(kernel, { name: "ptmx", index, device, driver: masterDriver, isMaster: true });
  if (isErr(master)) return master;
  const slave = createTty(kernel, { name: `pts/${index}`, index, device, driver: slaveDriver });
  if (isErr(slave)) {
    master.free();
    return slave;
  }
  setRawTermios(master.termios);
  join(master, slave);
  ptys.pairs.set(index, { master, slave, isLocked: true });
  devpts.add(cx, index, device);
  return attachFile(cx, file, master, true);
}

function join(master: Tty, slave: Tty): void {
  master.link = slave;
  slave.link = master;
  master.t.link = slave.addr;
  slave.t.link = master.addr;
}

function masterIoctl(cx: Cx, _file: File, master: Tty, cmd: number, arg: UAddr): Result<number> {
  const pair = cx.kernel.ptys.pairOf(master);
  if (pair === undefined) return ENOTTY;
  switch (cmd) {
    case IOCTL.TIOCGPTN:
      return put_user_u32(userMm(cx), arg, master.t.index);
    case IOCTL.TIOCSPTLCK: {
      const value = get_user_s32(userMm(cx), arg);
      if (isErr(value)) return value;
      pair.isLocked = value !== 0;
      return 0;
    }
    case IOCTL.TIOCGPTPEER: {
      const file = cx.kernel.devpts?.open(cx, master.t.index, arg) ?? EIO;
      return isErr(file) ? file : addFile(cx, file, (arg & 0x8_0000) !== 0);
    }
    default:
      return ENOIOCTLCMD;
  }
}
