/**
 * Terminals: `struct tty_struct` and its owner (Linux: drivers/tty/tty_io.c). A `Tty` joins a *driver* (what takes the output:
 * the console, the other end of a pty) with the line discipline, and knows whose controlling terminal it is.
 *
 * `input` is called by the driver with typed bytes, in interrupt context; `hangUp` when the line is gone. Files are in
 * tty-file.ts, job control in job-control.ts, ioctls in ioctl.ts.
 *
 * `session` is the id of the session whose controlling terminal this is, 0 for none: a process's controlling terminal is the one
 * with its session. `pgrp` is the foreground process group.
 */
import {
  ENOMEM,
  type KAddr,
  LFLAG,
  POLL,
  type Result,
  SI,
  SIG,
  type UAddr,
  type ViewOf,
  type winsize,
} from "@alien-ts/abi";
import type { Cx } from "../../core/cx.ts";
import type { Kernel } from "../../core/kernel.ts";
import { type Owned, ownerPtr } from "../../core/owner.ts";
import { WaitQueue, wakeUp, wakeUpAll } from "../../sched/wait.ts";
import type { Process } from "../../task/process.ts";
import { sendToGroup, sendToProcess, siginfo } from "../../task/signal.ts";
import type { File } from "../../vfs/file.ts";
import { LineDiscipline } from "./line-discipline.ts";
import { setStandardTermios, type Termios, tty_struct } from "./structs.ts";

declare module "../../core/kernel.ts" {
  interface Kernel {
    /** Terminals that exist, by address. */
    ttys: Set<Tty>;
  }
}

export const ttyp = ownerPtr<Tty>("tty_struct");

/** The device side of a terminal (struct tty_driver and tty_operations). */
export interface TtyDriver {
  /** Takes output, all of it. */
  write(cx: Cx, tty: Tty, bytes: Uint8Array): void;
  /** Bytes that it takes without overrunning the other side. */
  room(tty: Tty): number;
  /** Output that was taken but not shown is forgotten (TCOFLUSH). */
  flush?(cx: Cx, tty: Tty): void;
  /** A file was opened on it, or refused. */
  opened?(cx: Cx, tty: Tty): Result<0>;
  /** The last file is closed. The driver may free the terminal. */
  closed?(cx: Cx, tty: Tty): void;
  /** A read made room. */
  drained?(cx: Cx, tty: Tty): void;
  /** Requests of its own; ENOIOCTLCMD for others. */
  ioctl?(cx: Cx, file: File, tty: Tty, cmd: number, arg: UAddr): Result<number>;
  /** Bytes that a write put into the other side and nobody read (TIOCOUTQ). */
  pending?(tty: Tty): number;
}

export interface TtyOptions {
  readonly name: string;
  readonly index: number;
  /** dev_t of its node. */
  readonly device: number;
  readonly driver: TtyDriver;
  readonly isMaster?: boolean;
}

export class Tty implements Owned {
  readonly kernel: Kernel;
  readonly addr: KAddr;
  readonly t: ViewOf<typeof tty_struct>;
  readonly termios: Termios;
  readonly winsize: ViewOf<typeof winsize>;
  readonly driver: TtyDriver;
  readonly device: number;
  /** The ptmx side of a pty. */
  readonly isMaster: boolean;
  readonly discipline: LineDiscipline;
  readonly readWait = new WaitQueue();
  readonly writeWait = new WaitQueue();
  session = 0;
  pgrp = 0;
  /** Processes of the session that gave the terminal up (TIOCNOTTY). */
  renounced = new WeakSet<Process>();
  /** Grows with every hangup: files that were opened before are hung up. */
  generation = 0;
  /** The other side of a pty is closed: reads give EIO when the buffer is empty. */
  isOtherClosed = false;
  /** TIOCEXCL. */
  isExclusive = false;
  /** The other end of a pty. */
  link: Tty | undefined = undefined;

  constructor(kernel: Kernel, addr: KAddr, options: TtyOptions) {
    this.kernel = kernel;
    this.addr = addr;
    this.t = new (kernel.layout.view(tty_struct))(kernel.mem, addr);
    this.termios = this.t.termios;
    this.winsize = this.t.winsize;
    this.driver = options.driver;
    this.device = options.device;
    this.isMaster = options.isMaster ?? false;
    this.t.name = options.name;
    this.t.index = options.index;
    setStandardTermios(this.termios);
    this.discipline = new LineDiscipline(this.termios, {
      signal: (signo) => this.signalForeground(interruptCx(kernel), signo),
      setStopped: (isStopped) => this.setStopped(interruptCx(kernel), isStopped),
      isStopped: () => this.isStopped,
      flush: () => this.flush(interruptCx(kernel)),
    });
  }

  get name(): string {
    return this.t.name;
  }
  get isStopped(): boolean {
    return this.t.flow.stopped;
  }

  /** Bytes from the device. */
  input(cx: Cx, bytes: Uint8Array): void {
    this.discipline.receive(bytes);
    this.flush(cx);
    if (this.discipline.hasInput()) wakeUp(cx, this.readWait, POLL.IN | POLL.RDNORM);
  }

  /** Gives processed output to the device, unless it is stopped. */
  flush(cx: Cx): void {
    const { output } = this.discipline;
    if (!this.isStopped && !output.isEmpty) this.driver.write(cx, this, output.takeOutput());
  }

  /** Ctrl-S, Ctrl-Q, tcflow(3). Linux: stop_tty(), start_tty(). */
  setStopped(cx: Cx, isStopped: boolean): void {
    this.t.flow.stopped = isStopped;
    if (isStopped) return;
    this.flush(cx);
    wakeUp(cx, this.writeWait, POLL.OUT | POLL.WRNORM);
  }

  /** Ctrl-C, Ctrl-\, Ctrl-Z: to the foreground group. */
  signalForeground(cx: Cx, signo: number): void {
    if (this.pgrp > 0) sendToGroup(cx, this.pgrp, siginfo(signo, SI.KERNEL));
    if ((this.termios.c_lflag & LFLAG.NOFLSH) === 0) this.driver.flush?.(cx, this);
  }

  /** A new size: SIGWINCH to the foreground group when it differs. Linux: tty_do_resize(). */
  resize(
    cx: Cx,
    size: {
      readonly rows: number;
      readonly columns: number;
      readonly xpixel: number;
      readonly ypixel: number;
    },
  ): void {
    const { winsize: w } = this;
    const isSame =
      w.ws_row === size.rows &&
      w.ws_col === size.columns &&
      w.ws_xpixel === size.xpixel &&
      w.ws_ypixel === size.ypixel;
    if (isSame) return;
    w.ws_row = size.rows;
    w.ws_col = size.columns;
    w.ws_xpixel = size.xpixel;
    w.ws_ypixel = size.ypixel;
    if (this.pgrp > 0) sendToGroup(cx, this.pgrp, siginfo(SIG.WINCH, SI.KERNEL));
  }

  /** The line is gone: every open file reads end-of-file and writes EIO; the session leader gets SIGHUP and SIGCONT. */
  hangUp(cx: Cx): void {
    const leader = this.session === 0 ? undefined : this.kernel.pids.process(this.session);
    this.generation += 1;
    this.discipline.flushInput();
    this.discipline.output.discard();
    this.release();
    if (leader !== undefined)
      for (const signo of [SIG.HUP, SIG.CONT]) sendToProcess(cx, leader, siginfo(signo, SI.KERNEL));
    this.wakeAll(cx);
  }

  wakeAll(cx: Cx): void {
    wakeUpAll(cx, this.readWait);
    wakeUpAll(cx, this.writeWait);
  }

  /** It is no longer anybody's controlling terminal. */
  release(): void {
    this.session = 0;
    this.pgrp = 0;
    this.renounced = new WeakSet();
  }

  free(): void {
    this.kernel.ttys.delete(this);
    this.kernel.kmalloc.kfree(this.addr);
  }
}

/** The context of a device's interrupt: whatever runs on the first CPU. */
export const interruptCx = (kernel: Kernel): Cx => kernel.cpus[0]?.current.cx ?? kernel.bootCx;

/** A terminal with the settings of a new one. ENOMEM. */
export function createTty(kernel: Kernel, options: TtyOptions): Result<Tty> {
  const addr = kernel.kmalloc.kzalloc(kernel.layout.size(tty_struct), "tty_struct");
  if (addr === 0) return ENOMEM;
  const tty = new Tty(kernel, addr, options);
  kernel.kmalloc.setOwner(addr, tty);
  kernel.ttys.add(tty);
  return tty;
}

/** The controlling terminal of a process. Linux: get_current_tty(). */
export function controllingTty(process: Process): Tty | undefined {
  const { kernel } = process.leader;
  if (process.sid === 0) return undefined;
  for (const tty of kernel.ttys) if (tty.session === process.sid && !tty.renounced.has(process)) return tty;
  return undefined;
}
