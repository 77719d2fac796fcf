/** Ioctls of terminals (Linux: drivers/tty/tty_io.c, tty_ioctl.c, n_tty.c; ioctl_tty(2)). */
import {
  CAP,
  EFAULT,
  EINVAL,
  ENOIOCTLCMD,
  EPERM,
  type Errno,
  ERESTARTSYS,
  IOCTL,
  isErr,
  POLL,
  type Result,
  SIG,
  termios as termiosStruct,
  type UAddr,
} from "@alien-ts/abi";
import { capable } from "../../core/cred.ts";
import type { Cx } from "../../core/cx.ts";
import type { Blocking } from "../../core/row.ts";
import { get_user_s32, put_user_u32, readUserBytes, writeUserBytes } from "../../mm/uaccess.ts";
import { waitEvent, wakeUp } from "../../sched/wait.ts";
import type { MaybeBlocking } from "../../vfs/blocking.ts";
import type { File } from "../../vfs/file.ts";
import { userMm } from "../../vfs/user.ts";
import {
  __tty_check_change,
  foregroundGroup,
  renounce,
  sessionOf,
  setControlling,
  setForegroundGroup,
} from "./job-control.ts";
import type { Tty } from "./tty.ts";

/** What tcflow(3), tcflush(3) take (include/uapi/asm-generic/termbits.h). */
const TC = { OOFF: 0, OON: 1, IOFF: 2, ION: 3, IFLUSH: 0, OFLUSH: 1, IOFLUSH: 2 } as const;
/** Requests that abi does not name (include/uapi/asm-generic/ioctls.h). */
const MORE = {
  TIOCSTI: 0x5412,
  TIOCSETD: 0x5423,
  TIOCGETD: 0x5424,
  TCSBRKP: 0x5425,
  TIOCVHANGUP: 0x5437,
  TIOCGEXCL: 0x8004_5440,
} as const;
const WINSIZE_BYTES = 8;

type Handler = (cx: Cx, file: File, tty: Tty, arg: UAddr) => MaybeBlocking<Result<number>>;

/** The terminal that settings are about: a pty's slave, from either end. */
const realTty = (tty: Tty): Tty => (tty.isMaster ? (tty.link ?? tty) : tty);

const putInt = (cx: Cx, arg: UAddr, value: Result<number>): Result<number> =>
  isErr(value) ? value : put_user_u32(userMm(cx), arg, value);

function withInt(cx: Cx, arg: UAddr, use: (value: number) => Result<number>): Result<number> {
  const value = get_user_s32(userMm(cx), arg);
  return isErr(value) ? value : use(value);
}

/** Changing a terminal from the background stops the group first (SIGTTOU). */
const changing =
  (handler: Handler): Handler =>
  (cx, file, tty, arg) => {
    const allowed = __tty_check_change(cx, tty, SIG.TTOU);
    return allowed === 0 ? handler(cx, file, tty, arg) : (allowed as Errno);
  };

const HANDLERS = new Map<number, Handler>([
  [IOCTL.TCGETS, (cx, _file, tty, arg) => getTermios(cx, realTty(tty), arg)],
  [IOCTL.TCSETS, changing((cx, _file, tty, arg) => setTermios(cx, realTty(tty), arg))],
  [
    IOCTL.TCSETSW,
    changing((cx, _file, tty, arg) => afterDrain(cx, realTty(tty), () => setTermios(cx, realTty(tty), arg))),
  ],
  [
    IOCTL.TCSETSF,
    changing((cx, _file, tty, arg) =>
      afterDrain(cx, realTty(tty), () => {
        realTty(tty).discipline.flushInput();
        return setTermios(cx, realTty(tty), arg);
      }),
    ),
  ],
  [IOCTL.TCSBRK, changing((cx, _file, tty) => afterDrain(cx, tty, () => 0))],
  [MORE.TCSBRKP, changing((cx, _file, tty) => afterDrain(cx, tty, () => 0))],
  [IOCTL.TCXONC, changing((cx, _file, tty, arg) => controlFlow(cx, realTty(tty), arg))],
  [IOCTL.TCFLSH, changing((cx, _file, tty, arg) => flushQueues(cx, tty, arg))],
  [IOCTL.FIONREAD, (cx, _file, tty, arg) => putInt(cx, arg, tty.discipline.available)],
  [IOCTL.TIOCOUTQ, (cx, _file, tty, arg) => putInt(cx, arg, tty.driver.pending?.(tty) ?? 0)],
  [IOCTL.TIOCGWINSZ, (cx, _file, tty, arg) => getSize(cx, realTty(tty), arg)],
  [IOCTL.TIOCSWINSZ, (cx, _file, tty, arg) => setSize(cx, realTty(tty), arg)],
  [IOCTL.TIOCSCTTY, (cx, file, tty, arg) => setControlling(cx, realTty(tty), file.canRead, arg === 1)],
  [IOCTL.TIOCNOTTY, (cx, _file, tty) => renounce(cx, tty)],
  [
    IOCTL.TIOCGPGRP,
    (cx, _file, tty, arg) => putInt(cx, arg, foregroundGroup(cx, realTty(tty), !tty.isMaster)),
  ],
  [
    IOCTL.TIOCSPGRP,
    (cx, _file, tty, arg) => withInt(cx, arg, (pgid) => setForegroundGroup(cx, realTty(tty), pgid)),
  ],
  [IOCTL.TIOCGSID, (cx, _file, tty, arg) => putInt(cx, arg, sessionOf(cx, realTty(tty), !tty.isMaster))],
  [IOCTL.TIOCEXCL, (_cx, _file, tty) => setExclusive(tty, true)],
  [IOCTL.TIOCNXCL, (_cx, _file, tty) => setExclusive(tty, false)],
  [MORE.TIOCGEXCL, (cx, _file, tty, arg) => putInt(cx, arg, tty.isExclusive ? 1 : 0)],
  [MORE.TIOCGETD, (cx, _file, _tty, arg) => putInt(cx, arg, 0)],
  [
    MORE.TIOCSETD,
    changing((cx, _file, _tty, arg) => withInt(cx, arg, (discipline) => (discipline === 0 ? 0 : EINVAL))),
  ],
  [MORE.TIOCSTI, (cx, _file, tty, arg) => simulateInput(cx, tty, arg)],
  [
    MORE.TIOCVHANGUP,
    (cx, _file, tty) => {
      if (!capable(cx, CAP.SYS_ADMIN)) return EPERM;
      tty.hangUp(cx);
      return 0;
    },
  ],
]);

/** ENOIOCTLCMD for a request that no terminal knows; the driver's own are asked before. */
export function ttyIoctl(
  cx: Cx,
  file: File,
  tty: Tty,
  cmd: number,
  arg: UAddr,
): MaybeBlocking<Result<number>> {
  const own = tty.driver.ioctl?.(cx, file, tty, cmd, arg) ?? ENOIOCTLCMD;
  if (own !== ENOIOCTLCMD) return own;
  const handler = HANDLERS.get(cmd);
  return handler === undefined ? ENOIOCTLCMD : handler(cx, file, tty, arg);
}

/** struct termios is the first 36 bytes of struct ktermios in both; the kernel's may be laid out otherwise. */
function getTermios(cx: Cx, tty: Tty, arg: UAddr): Result<number> {
  const { layout } = cx.kernel;
  const bytes = new Uint8Array(layout.size(termiosStruct));
  const view = new DataView(bytes.buffer);
  for (const name of ["c_iflag", "c_oflag", "c_cflag", "c_lflag"] as const)
    view.setUint32(layout.offset(termiosStruct, name), tty.termios[name], true);
  bytes[layout.offset(termiosStruct, "c_line")] = tty.termios.c_line;
  bytes.set(tty.termios.c_cc, layout.offset(termiosStruct, "c_cc"));
  return writeUserBytes(userMm(cx), arg, bytes);
}

function setTermios(cx: Cx, tty: Tty, arg: UAddr): Result<number> {
  const { layout } = cx.kernel;
  const bytes = readUserBytes(userMm(cx), arg, layout.size(termiosStruct));
  if (isErr(bytes)) return EFAULT;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const { termios } = tty;
  const old = termios.c_lflag;
  for (const name of ["c_iflag", "c_oflag", "c_cflag", "c_lflag"] as const)
    termios[name] = view.getUint32(layout.offset(termiosStruct, name), true);
  termios.c_line = bytes[layout.offset(termiosStruct, "c_line")]!;
  const cc = layout.offset(termiosStruct, "c_cc");
  termios.c_cc = bytes.subarray(cc, cc + termios.c_cc.length);
  tty.discipline.termiosChanged(old);
  tty.flush(cx);
  if (tty.discipline.hasInput()) wakeUp(cx, tty.readWait, POLL.IN | POLL.RDNORM);
  return 0;
}

/** Waits until stopped output has gone out (tty_wait_until_sent). */
function afterDrain(cx: Cx, tty: Tty, then: () => Result<number>): MaybeBlocking<Result<number>> {
  return tty.isStopped && !tty.discipline.output.isEmpty ? drainThen(cx, tty, then) : then();
}

function* drainThen(cx: Cx, tty: Tty, then: () => Result<number>): Blocking<Result<number>> {
  const woken = yield* waitEvent(cx, tty.writeWait, () => !tty.isStopped || tty.discipline.output.isEmpty);
  return isErr(woken) ? ERESTARTSYS : then();
}

function controlFlow(cx: Cx, tty: Tty, action: number): Result<number> {
  switch (action) {
    case TC.OOFF:
      tty.setStopped(cx, true);
      return 0;
    case TC.OON:
      tty.setStopped(cx, false);
      return 0;
    case TC.IOFF:
    case TC.ION:
      // The other side of a console or pty needs no XOFF: its input waits where it is.
      return 0;
    default:
      return EINVAL;
  }
}

function flushQueues(cx: Cx, tty: Tty, queue: number): Result<number> {
  if (queue !== TC.IFLUSH && queue !== TC.OFLUSH && queue !== TC.IOFLUSH) return EINVAL;
  if (queue !== TC.OFLUSH) {
    tty.discipline.flushInput();
    tty.driver.drained?.(cx, tty);
  }
  if (queue !== TC.IFLUSH) {
    tty.discipline.output.discard();
    tty.driver.flush?.(cx, tty);
    wakeUp(cx, tty.writeWait, POLL.OUT | POLL.WRNORM);
  }
  return 0;
}

function getSize(cx: Cx, tty: Tty, arg: UAddr): Result<number> {
  const { ws_row, ws_col, ws_xpixel, ws_ypixel } = tty.winsize;
  return writeUserBytes(
    userMm(cx),
    arg,
    new Uint8Array(Uint16Array.of(ws_row, ws_col, ws_xpixel, ws_ypixel).buffer),
  );
}

function setSize(cx: Cx, tty: Tty, arg: UAddr): Result<number> {
  const bytes = readUserBytes(userMm(cx), arg, WINSIZE_BYTES);
  if (isErr(bytes)) return EFAULT;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const at = (index: number): number => view.getUint16(index * 2, true);
  tty.resize(cx, { rows: at(0), columns: at(1), xpixel: at(2), ypixel: at(3) });
  return 0;
}

function setExclusive(tty: Tty, isExclusive: boolean): Result<number> {
  tty.isExclusive = isExclusive;
  return 0;
}

/** TIOCSTI: a byte as if typed. */
function simulateInput(cx: Cx, tty: Tty, arg: UAddr): Result<number> {
  if (!capable(cx, CAP.SYS_ADMIN)) return EPERM;
  const byte = readUserBytes(userMm(cx), arg, 1);
  if (isErr(byte)) return EFAULT;
  tty.input(cx, byte);
  return 0;
}
